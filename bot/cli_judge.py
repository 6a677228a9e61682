"""The command with which people compare two versions without knowing which is which.

It reads the prompts, opens the app, lets one person answer, and tells what all of them found so
far. How a pair is shown is `bot.cli_judge_screen`'s, what is asked and kept `learning.judging`'s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli_options import config_option, data_option, examples, read_config, run
from bot.errors import DataError

if TYPE_CHECKING:
    from learning.judging.pairs import Plan
    from learning.judging.session import Judged, Sitting
    from learning.judging.tally import Comparison


@click.command(epilog=examples("rapport judge --adapters base v3",
                               "rapport judge --adapters v3 v7 --prompts mine.txt --judge ann",
                               "printf 'lrtt\\nL\\nq\\n' | rapport judge --adapters v3 v7"))
@config_option
@data_option
@click.option("--adapters", "versions", nargs=2, required=True, metavar="ONE OTHER",
              help="The two versions; base is the model without any.")
@click.option("--prompts", metavar="FILE",
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What both answer: a prompt a line, or JSONL with \"messages\" (default: the "
                   "gate's fixed prompts).")
@click.option("--judge", "name", metavar="NAME",
              help="Who judges, or PLATFORM/ID (default: you at the terminal).")
@click.option("--seed", default=0, show_default=True, metavar="N",
              type=click.IntRange(0, 2**63 - 1),
              help="Other replies and another order; with the same one a sitting goes on.")
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path),
              help="Write the figures and this sitting's replies here.")
def judge(
    config_file: Path | None, data: Path, versions: tuple[str, str], prompts: Path | None,
    name: str | None, seed: int, json_file: Path | None,
) -> None:
    """Which of two versions is better? A person decides.

    Both answer the same prompts with the same luck. You see the two replies side by side without
    knowing which is whose, and say of each pair which is better in relevance, diversity, fluency
    and interest: l, r or t for left, right and tie, capitals for all four at once, s to skip the
    pair, q to quit. Every answer is kept at once; start again with the same versions and seed to
    go on. Replies that are the same are ties without asking. Nothing is promoted or learned by
    this: `rapport adapters report` and `diff` show it. The bot must not be running.
    """
    config = read_config(config_file)
    from bot.app import open_app, person
    from bot.cli_judge_screen import screen
    from bot.commands import version_name
    from bot.platforms.console import NAME
    from learning.gate.canaries import CANARIES
    from learning.judging.pairs import Plan
    from learning.judging.session import compare
    from learning.judging.tally import comparison
    from learning.simulation.questions import read_questions

    one, other = map(version_name, versions)
    if one == other:
        raise DataError(f"{one} cannot be compared with itself; name two versions")
    if json_file is not None and not json_file.parent.is_dir():
        raise DataError(f"there is no folder {json_file.parent} for {json_file.name}")
    who = name or person()
    asked = tuple(found.messages for found in read_questions(prompts or CANARIES, least=1))

    async def ask() -> tuple[Plan, Sitting, Comparison]:
        async with open_app(config, data) as app, app.learning.holding((one, other)):
            sampling = config.sampling.settings(app.engine.template.encode)
            plan = Plan(one, other, asked, sampling, config.conversation.persona, seed)
            sitting = await compare(
                app.engine, app.store, plan, who if "/" in who else f"{NAME}/{who}", screen()
            )
            return plan, sitting, comparison(await app.store.judgements_of(one), one, other)

    click.echo("Opening the model …", err=True)
    plan, sitting, found = run(ask())
    _print(sitting, found)
    if json_file is not None:
        _write(json_file, _as_json(plan, sitting, found))


def _print(sitting: Sitting, found: Comparison) -> None:
    from bot.answers import Answer, Table
    from bot.platforms.console_render import Plain
    from learning.judging.tally import COLUMNS

    click.echo(f"\n{found.sentence()}")
    for line in found.lines():
        click.echo(line)
    if found.prompts:
        heads = ("", f"{found.one} better", "as good", f"{found.other} better", COLUMNS[-1])
        Plain().answer(Answer((Table("", heads, tuple(found.rows())),)))
    if sitting.before:
        click.echo(f"{sitting.before} prompts you had judged before; --seed draws other replies.")
    if sitting.too_long:
        click.echo(f"{sitting.too_long} prompts are left out: the model has no room for them.")


def _as_json(plan: Plan, sitting: Sitting, found: Comparison) -> dict[str, Any]:
    """The figures of all judgements so far, and what was said in this sitting."""
    return {
        **found.as_json(), "seed": plan.seed,
        "sitting": [_judged(plan, one) for one in sitting.judged],
    }  # fmt: skip


def _judged(plan: Plan, judged: Judged) -> dict[str, Any]:
    better = {1: plan.one, 0: "tie", -1: plan.other}
    return {
        "messages": [
            {"role": turn.role, "content": turn.content} for turn in judged.pair.messages
        ],
        "replies": {plan.one: judged.pair.one, plan.other: judged.pair.other},
        "left": plan.other if judged.pair.swapped else plan.one,
        "better": {question: better[value] for question, value in judged.values.items()},
    }


def _write(file: Path, found: dict[str, Any]) -> None:
    try:
        file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"The figures and the replies are in {file}.")
