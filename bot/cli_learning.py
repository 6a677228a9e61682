"""The commands about learning: train, adapters, votes, simulate, pretrain.

They parse, open the app, and print what the learning room says; `bot.cli` gathers them.
Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli_options import config_option, data_option, examples, read_config, run
from bot.errors import DataError

if TYPE_CHECKING:
    from learning.pretrain import Progress
    from learning.simulate import SimulationProgress


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
                app.learning.listen(
                    lambda event: tell(event.progress, event.text)
                    if event.kind in ("stage", "progress") else None
                )
                outcome = await train_once(app.learning, app.store, lambda share: None)
            if outcome.verdict is None:
                raise NothingToLearn(outcome.reason)
            click.echo(f"{outcome.verdict}: {outcome.reason}")
            click.echo(f"serving: {await app.store.champion()}")

    run(learn())


@click.group()
def adapters() -> None:
    """The versions the bot has made of itself."""


@adapters.command("list", epilog=examples("rapport adapters list"))
@config_option
@data_option
def list_(config_file: Path | None, data: Path) -> None:
    """Every version, how it is liked, and what the gate said."""
    read_config(config_file)
    from bot.app import open_store
    from bot.commands import adapters_table
    from bot.platforms.console_render import Plain

    async def show() -> None:
        async with open_store(data) as store:
            Plain().answer(await adapters_table(await store.adapters(), store))
            click.echo(f"serving: {await store.champion()}")

    run(show())


@adapters.command(epilog=examples("rapport adapters show v3"))
@config_option
@data_option
@click.argument("version")
def show(config_file: Path | None, data: Path, version: str) -> None:
    """One version: its verdict with every check, and its manifest."""
    read_config(config_file)
    from bot.app import open_store, registry_in
    from bot.commands import version_name
    from bot.errors import AdapterError

    async def tell() -> None:
        name = version_name(version)
        async with open_store(data) as store:
            known = {adapter.name: adapter for adapter in await store.adapters()}
            if name not in known:
                raise AdapterError(f"there is no {name}; `rapport adapters list` shows them")
            click.echo(f"{name}: {known[name].status}, made {known[name].created:%Y-%m-%d %H:%M}")
            verdict = await store.verdict(name)
        if verdict:
            click.echo(f"{verdict['outcome']} against {verdict['champion']}: "
                       f"{verdict['sentence']}")
            for check in verdict["checks"]:
                mark = "passed" if check.get("passed") else "failed"
                click.echo(f"  {mark}  {check.get('name')}: {check.get('reason')}")
        manifest = registry_in(data).manifest(name)
        click.echo(f"trained on {len(manifest.exchanges)} exchanges, base {manifest.base[:12]}, "
                   f"snapshot {manifest.snapshot[:12]}, seed {manifest.seed}")
        for key, value in {**manifest.settings, **manifest.metrics}.items():
            click.echo(f"  {key}: {value}")

    run(tell())


@adapters.command(epilog=examples("rapport adapters promote v3"))
@config_option
@data_option
@click.argument("version")
def promote(config_file: Path | None, data: Path, version: str) -> None:
    """Let VERSION serve, whatever the gate said.

    It serves from the next start on; the bot must not be running.
    """
    read_config(config_file)
    from bot.app import promote_adapter
    from bot.commands import version_name

    name = version_name(version)
    run(promote_adapter(data, name))
    click.echo(f"{name} serves from the next start on.")


@adapters.command(epilog=examples("rapport adapters rollback", "rapport adapters rollback base"))
@config_option
@data_option
@click.argument("version", required=False)
def rollback(config_file: Path | None, data: Path, version: str | None) -> None:
    """Serve the version before this one again, or VERSION.

    The bot must not be running; in a running one, say /learn rollback.
    """
    config = read_config(config_file)
    from bot.app import open_app
    from bot.commands import version_name

    async def change() -> None:
        name = version_name(version) if version else None
        async with open_app(config, data) as app:
            click.echo(await app.learning.rollback(name))

    run(change())


@adapters.command(epilog=examples("rapport adapters prune --keep 3"))
@config_option
@data_option
@click.option("--keep", type=click.IntRange(1), metavar="N",
              help="How many to keep (default: learning.keep_versions).")
def prune(config_file: Path | None, data: Path, keep: int | None) -> None:
    """Remove old versions' files; what serves, the one before it and what channels try stay.

    Their verdicts and votes remain in the database. The bot must not be running.
    """
    config = read_config(config_file)
    from bot.app import prune_adapters

    removed = run(prune_adapters(config, data, keep))
    click.echo(f"Removed {', '.join(removed)}." if removed else "There is nothing to remove.")


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
    from learning.export import exported

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


@click.command(epilog=examples(
    "rapport simulate --rater learning/raters/short_replies.py --data /tmp/sim",
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
    from learning.crowd import parse_trolls
    from learning.simulate import SimulationSettings, config_for, plan
    from learning.simulate import simulate as simulated

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
    from learning.card import write_card
    from learning.pretrain import PretrainSettings
    from learning.pretrain import pretrain as pretrained

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
