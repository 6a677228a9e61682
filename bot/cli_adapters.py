"""The commands about versions: list, show, report, diff, promote, rollback, prune.

They read the database and the folder of adapters, and print; those that change what serves
go through `bot.app`. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli_options import config_option, data_option, examples, read_config, run
from bot.errors import DataError

if TYPE_CHECKING:
    from learning.reports.difference import Difference
    from learning.reports.record import Record


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
    """One version: its verdict, its replies, its settings.

    Of a version whose files are gone (`prune`, or forgotten words) it tells what the
    database still knows. `rapport adapters report` has the same as a document.
    """
    read_config(config_file)
    from bot.admission import without_controls
    from bot.answers import in_short

    (record,) = run(_records(data, version))
    click.echo(f"{record.name}: {record.status}, made {record.created:%Y-%m-%d %H:%M}")
    verdict = record.verdict
    if verdict is not None:
        click.echo(f"{verdict['outcome']} against {verdict['champion']}: {verdict['sentence']}")
        for check in verdict["checks"]:
            mark = "passed" if check.get("passed") else "failed"
            click.echo(f"  {mark}  {check.get('name')}: {check.get('reason')}")
        for sample in verdict["samples"]:
            for title, text in zip(("prompt", "before", "after"), sample, strict=True):
                click.echo(f"  {title}: {without_controls(in_short(text))}")
    manifest = record.manifest
    if manifest is None:
        click.echo(f"its files cannot be used ({record.missing}); it cannot serve again")
    else:
        click.echo(f"shown {len(manifest.exchanges)} exchanges, base {manifest.base[:12]}, "
                   f"snapshot {manifest.snapshot[:12]}, seed {manifest.seed}")
    for key, value in {**record.settings, **record.metrics}.items():
        click.echo(f"  {key}: {value}")


@adapters.command(epilog=examples("rapport adapters report v3",
                                  "rapport adapters report v3 --out v3.md",
                                  "rapport adapters report v3 --format png --out v3.png"))
@config_option
@data_option
@click.argument("version")
@click.option("--format", "form", type=click.Choice(["md", "json", "png"]),
              help="Markdown, JSON, or the picture of the loss and the checks (default: as FILE "
                   "is called, else md).")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Where to (default: the standard output); must not exist.")
def report(
    config_file: Path | None, data: Path, version: str, form: str | None, out: Path | None
) -> None:
    """A verdict as a document, in plain words.

    One sentence, every check with its reason, the figures, and replies before and after. It
    is made anew from the database each time and kept nowhere: words that were deleted are in
    no later report. The replies may repeat what people said: treat a file you write like
    their messages.
    """
    read_config(config_file)
    from bot.admission import without_controls
    from learning.reports.document import as_json, as_markdown
    from learning.reports.summary import picture_of

    (record,) = run(_records(data, version))
    suffix = out.suffix[1:] if out is not None and out.suffix in (".json", ".png") else "md"
    match form or suffix:
        case "png":
            content = picture_of(record.judged(), record.curve)
            if not content:
                raise DataError("a picture needs matplotlib: pip install matplotlib")
        case "json":
            content = as_json(record).encode()
        case _:
            content = without_controls(as_markdown(record)).encode()
    if out is not None:
        _write_new(out, content)
        click.echo(f"The report on {record.name} is in {out}.")
    elif (form or suffix) == "png" and sys.stdout.isatty():
        raise DataError("a picture is nothing for a terminal: say where to with --out FILE")
    else:
        click.echo(content, nl=False)


@adapters.command(epilog=examples("rapport adapters diff v3 v7",
                                  "rapport adapters diff v3 v7 --json"))
@config_option
@data_option
@click.argument("one")
@click.argument("other")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def diff(config_file: Path | None, data: Path, one: str, other: str, as_json: bool) -> None:
    """Two versions side by side.

    Their settings, what training was shown (as people rate it by now), their verdicts and
    figures, and their replies to the same fixed prompts.
    """
    read_config(config_file)
    import json
    from dataclasses import asdict

    from bot.answers import Answer, Table, Text, in_short
    from bot.app import open_store
    from bot.platforms.console_render import Colour, Plain
    from learning.reports.difference import difference, sections
    from learning.reports.document import plain

    async def compare() -> Difference:
        first, second = await _records(data, one, other)
        async with open_store(data) as store:
            return difference(first, second, await store.current_votes())

    found = run(compare())
    if as_json:
        click.echo(json.dumps(plain(asdict(found)), ensure_ascii=False, allow_nan=False))
        return
    blocks: list[Text | Table] = [Text(note, "dim") for note in found.notes]
    for section in sections(found):
        rows = tuple(tuple(in_short(cell) for cell in row) for row in section.rows)
        blocks.append(Table(section.title, section.columns, rows))
    renderer = Colour() if sys.stdout.isatty() else Plain()
    renderer.answer(Answer(tuple(blocks)))


async def _records(data: Path, *versions: str) -> list[Record]:
    from bot.app import open_store, registry_in
    from bot.commands import version_name
    from learning.reports.record import record_of

    async with open_store(data) as store:
        registry = registry_in(data)
        return [await record_of(store, registry, version_name(one)) for one in versions]


def _write_new(out: Path, content: bytes) -> None:
    try:
        with out.open("xb") as stream:
            stream.write(content)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}") from error


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
