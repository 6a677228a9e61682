"""The commands about learning: train, votes, simulate, pretrain.

They parse, open the app, and print what the learning room says; `bot.cli` gathers them, and
`bot.cli_adapters` has those about versions. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli_options import config_option, data_option, examples, read_config, run
from bot.errors import DataError

if TYPE_CHECKING:
    from learning.pretraining.pretrain import Progress
    from learning.simulation.simulate import SimulationProgress


@click.command(epilog=examples("rapport train", "rapport train --data /srv/rapport"))
@config_option
@data_option
def train(config_file: Path | None, data: Path) -> None:
    """Learn from the votes now.

    Makes a candidate from the base model and all votes, judges it against the version that
    serves, lets it serve if it is better, and says what came of it. The bot must not be
    running on the same data folder; in a running one, say /learn retrain.
    """
    config = read_config(config_file)
    from bot.app import open_app
    from bot.errors import NothingToLearn
    from bot.progress import progress_bar
    from learning.awaited import train_once

    async def learn() -> None:
        async with open_app(config, data) as app:
            with progress_bar("learning") as tell:
                outcome = await train_once(app.learning, app.store, tell)
            if outcome.verdict is None:
                raise NothingToLearn(outcome.reason)
            click.echo(f"{outcome.verdict}: {outcome.reason}")
            click.echo(f"serving: {await app.store.champion()}")

    run(learn())


@click.group()
def votes() -> None:
    """What people rated."""


@votes.command(epilog=examples("rapport votes export --format csv > votes.csv",
                               "rapport votes export --format dpo --out pairs.jsonl"))
@config_option
@data_option
@click.option("--format", "form", default="csv", show_default=True,
              type=click.Choice(["csv", "sft", "kto", "dpo"]),
              help="csv: every vote, for a spreadsheet; the others: JSON lines as TRL reads them.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Where to (default: the standard output); must not exist.")
def export(config_file: Path | None, data: Path, form: str, out: Path | None) -> None:
    """Write the votes out, for a spreadsheet or another trainer.

    Private channels are left out, and so are the words of people who do not consent.
    """
    config = read_config(config_file)
    from bot.app import open_store
    from learning.votes.export import exported

    async def gather() -> tuple[str, int]:
        async with open_store(data) as store:
            return await exported(store, config.learning, form)

    text, number = run(gather())
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}") from error
    click.echo(f"{number} rows in {out}.")


@votes.command("import", epilog=examples("rapport votes import votes.jsonl",
                                        "rapport votes import votes.jsonl --data /srv/rapport"))
@config_option
@data_option
@click.argument("file", type=click.Path(path_type=Path))
def import_(config_file: Path | None, data: Path, file: Path) -> None:
    """Take votes that were gathered elsewhere.

    FILE has a JSON object a line: "messages" (the last one the user's), "reply", "label" (true
    is liked), "user" (who rated), and if you know it "time". Nothing is kept of a file with a
    line that cannot be used; a line that is here already is not taken twice. That the people
    in it agree is for you to know. The bot must not be running on the same data folder.
    """
    config = read_config(config_file)
    from datetime import UTC, datetime

    from bot.app import open_app
    from bot.progress import progress_bar
    from learning.votes.imported import Imported, import_votes, read_votes

    try:
        with file.open(encoding="utf-8") as lines:
            given = list(read_votes(lines))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"cannot read {file}: {reason}") from error

    async def take() -> Imported:
        async with open_app(config, data) as app:
            with progress_bar("importing") as tell:
                return await import_votes(
                    app.store, app.engine, given, datetime.now(UTC),
                    lambda done: tell(done / len(given), f"{done} of {len(given)} lines"),
                )

    done = run(take())
    click.echo(f"{done.votes} votes on {done.replies} new replies and {done.known} known ones.")
    if done.too_long:
        click.echo(f"{done.too_long} lines are left out: the model has no room for them.")


@votes.command(epilog=examples("rapport votes explain 12",
                               "rapport votes explain 12 --data /srv/rapport"))
@config_option
@data_option
@click.argument("reply", type=click.IntRange(1, 2**63 - 1))
def explain(config_file: Path | None, data: Path, reply: int) -> None:
    """Why the votes on a reply count as they do.

    For each vote on REPLY (its number, as `rapport votes export` and /why show it): what it
    weighs, and by which rules of [learning.votes]. Then what the votes come to, and whether the
    reply is learned from, kept for judging, waits for an operator, or is left out and why.
    Repeats no words of anybody, and may be asked while the bot is running.
    """
    config = read_config(config_file)
    from bot.app import open_store
    from learning.votes.explain import explain as explained

    async def tell() -> None:
        async with open_store(data) as store:
            for line in (await explained(store, config, reply)).lines():
                click.echo(line)

    run(tell())


@click.command(epilog=examples(
    "rapport simulate --rater learning/simulation/raters/short_replies.py --data /tmp/sim",
    "rapport simulate --rater mine.py --votes 600 --every 100 --trolls 0.2:invert --plot out.png",
))
@config_option
@data_option
@click.option("--rater", required=True, metavar="FILE.py",
              type=click.Path(dir_okay=False, path_type=Path),
              help="A Python file that defines how people vote, or the name of one that ships: "
                   "short_replies, asks_back or noisy.")
@click.option("--prompts", metavar="FILE",
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What people say, one a line (default: the built-in everyday prompts).")
@click.option("--votes", "number", default=300, show_default=True, metavar="N",
              type=click.IntRange(1), help="Votes in all.")
@click.option("--every", default=60, show_default=True, metavar="N", type=click.IntRange(1),
              help="Votes before each learning run.")
@click.option("--raters", default=10, show_default=True, metavar="N", type=click.IntRange(1),
              help="How many people vote.")
@click.option("--trolls", multiple=True, metavar="SHARE:invert|down|up",
              help="A share of people who vote the other way round, always down or always up; "
                   "may be given again.")
@click.option("--seed", default=0, show_default=True, metavar="N", type=click.IntRange(0),
              help="The same seed gives the same simulation.")
@click.option("--held-out", default=200, show_default=True, metavar="N", type=click.IntRange(1),
              help="Held-out replies in each measurement, at least.")
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path),
              help="Write the figures here.")
@click.option("--plot", metavar="FILE.png", type=click.Path(path_type=Path),
              help="Draw the like-rate by votes here.")
def simulate(
    config_file: Path | None, data: Path, rater: Path, prompts: Path | None, number: int,
    every: int, raters: int, trolls: tuple[str, ...], seed: int, held_out: int,
    json_file: Path | None, plot: Path | None,
) -> None:
    """Does it learn? Try with scripted people.

    They have a taste and drive the whole loop: replies are asked for and rated, a version
    is trained, judged and perhaps promoted, again and again; after each round the like-rate
    on prompts held out is measured. Needs an empty data folder.
    """
    config = read_config(config_file)
    from bot.app import open_app
    from bot.progress import progress_bar
    from learning.simulation.crowd import parse_trolls
    from learning.simulation.simulate import SimulationSettings, config_for, plan
    from learning.simulation.simulate import simulate as simulated

    settings = SimulationSettings(
        rater, prompts, number, every, raters, tuple(map(parse_trolls, trolls)), seed, held_out,
        json_file, plot,
    )
    plan(settings)

    async def measure() -> dict[str, Any]:
        async with open_app(config_for(config), data) as app:
            with progress_bar("simulating") as tell:
                def report(progress: SimulationProgress) -> None:
                    rate = "" if progress.like_rate is None else f", liked {progress.like_rate:.0%}"
                    tell(progress.done / max(1, progress.total),
                         f"round {progress.round}/{progress.rounds} {progress.stage}{rate}")

                return await simulated(app, settings, report)

    _print_simulation(run(measure()))


def _print_simulation(result: dict[str, Any]) -> None:
    for one in result["rounds"]:
        low, high = one["ci"]
        click.echo(f"round {one['round']}: {one['votes']} votes, {one['adapter']} liked "
                   f"{one['like_rate']:.1%} ({low:.1%} to {high:.1%})"
                   + (f", {one['verdict']}" if one["verdict"] else ""))
    final = result["final"]
    click.echo(f"like-rate {final['base_like_rate']:.1%} -> {final['like_rate']:.1%}; "
               f"{final['promotions']} promoted, {final['rejections']} rejected, "
               f"{final['shadows']} with too few votes to judge by (shadow), "
               f"{final['rollbacks']} rolled back")


@click.command(epilog=examples("rapport pretrain --data corpora --out my-model --minutes 60"))
@config_option
@click.option("--data", "corpora", required=True, metavar="DIR",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of dialogues to learn from.")
@click.option("--out", required=True, metavar="DIR",
              type=click.Path(file_okay=False, path_type=Path),
              help="Where the model goes; a run that was stopped goes on from there.")
@click.option("--minutes", default=60.0, show_default=True, metavar="N",
              type=click.FloatRange(0.0, min_open=True), help="How long to train.")
@click.option("--seed", default=0, show_default=True, metavar="N", type=click.IntRange(0))
@click.option("--start", metavar="DIR",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="A model made by this command to go on with, instead of none.")
@click.option("--tensorboard", is_flag=True, help="Write curves to OUT/tensorboard.")
@click.option("--compile", "compiled", is_flag=True,
              help="Compile the model first (needs a C++ compiler; pays off in long runs).")
def pretrain(
    config_file: Path | None, corpora: Path, out: Path, minutes: float, seed: int,
    start: Path | None, tensorboard: bool, compiled: bool,
) -> None:
    """Make a small model from scratch.

    This is how the built-in one was made. Here --data is the folder of dialogues; set
    model.name to the folder that comes out. At the end the model is measured on dialogues it
    has not seen and its card is written (README.md), which needs the extra "card".
    """
    read_config(config_file)
    from bot.progress import progress_bar
    from learning.pretraining.card import write_card
    from learning.pretraining.pretrain import PretrainSettings
    from learning.pretraining.pretrain import pretrain as pretrained

    with_card = all(find_spec(name) for name in ("sacrebleu", "rouge_score"))
    if not with_card:
        click.echo("There will be no model card: that needs pip install 'rapport-bot[card]'.")
    settings = PretrainSettings(minutes=minutes, seed=seed, tensorboard=tensorboard,
                                compile=compiled, start=str(start or ""))
    with progress_bar("pretraining") as tell:
        def report(progress: Progress) -> None:
            tell(progress.minutes / progress.of_minutes,
                 f"step {progress.step}, loss {progress.loss:.3f}, "
                 f"{progress.tokens_per_second:,.0f} tokens/s")

        folder = pretrained(corpora, out, settings, report)
    click.echo(f"The model is in {folder}.")
    if with_card:
        click.echo(f"Its card is {write_card(folder, corpora)}.")
