"""``rapport``: the commands of the terminal.

Each command parses its flags, opens what it needs through `bot.app`, and prints; the work
is done in the rooms. Commands about learning are in `bot.cli_learning`, about versions in
`bot.cli_adapters` and `bot.cli_judge`, what is asked of the machine in `bot.doctor`.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from bot import __version__
from bot.cli_adapters import adapters
from bot.cli_judge import judge
from bot.cli_learning import pretrain, simulate, train, votes
from bot.cli_options import (
    RapportGroup,
    config_option,
    data_option,
    examples,
    read_config,
    run,
)


@click.group(
    cls=RapportGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("rapport demo", "rapport chat --data ./data", "rapport train",
                    "rapport doctor"),
)
@click.version_option(__version__, prog_name="rapport")
def rapport() -> None:
    """Rapport: a self-hosted chatbot that learns from the reactions it gets.

    Talk with it, rate its replies, let it learn: each version it makes of itself is judged
    before it serves, and can be rolled back.
    """


@rapport.command(
    epilog=examples("rapport demo", "rapport demo --port 0 --no-browser --data /tmp/try")
)
@config_option
@data_option
@click.option("--host", metavar="ADDRESS", help="Where to serve the pages (web.host).")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535),
              help="The port; 0 takes one that is free (web.port).")
@click.option("--no-browser", is_flag=True, help="Only say where the pages are.")
def demo(
    config_file: Path | None, data: Path, host: str | None, port: int | None, no_browser: bool
) -> None:
    """Try it in a browser: chat, rate replies, watch it learn.

    Talks with the built-in model: no token, no download, no GPU. What you say and rate
    stays in the data folder. Ctrl-C stops it.
    """
    config = read_config(config_file)
    given = {"host": host, "port": port}
    web = config.web.model_copy(update={k: v for k, v in given.items() if v is not None})
    click.echo("Opening the model …", err=True)
    from bot.app_web import demonstrate, open_browser

    def opened(address: str) -> None:
        click.echo(f"Rapport is at {address} (Ctrl-C stops it)")
        if not no_browser:
            open_browser(address)

    run(
        demonstrate(config.model_copy(update={"web": web}), data, opened),
        terminated=0, interrupted=0,
    )


@rapport.command(
    epilog=examples("rapport chat", "rapport chat --channel work",
                    "printf 'hello\\n/up\\n/learn retrain\\n' | rapport chat --json")
)
@config_option
@data_option
@click.option("--channel", default="main", show_default=True, metavar="NAME",
              help="Which conversation to go on with; each has its own history.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N",
              help="Make replies repeatable, for scripts.")
@click.option("--json", "as_json", is_flag=True,
              help="Print one JSON object a line instead of text.")
def chat(
    config_file: Path | None, data: Path, channel: str, seed: int | None, as_json: bool
) -> None:
    """Talk in the terminal.

    In a terminal the reply streams as it is made, notices of learning appear while you
    type, Ctrl-C stops a reply, and at the prompt leaves. /help lists the commands.

    With lines from a pipe each line is answered in turn. After the last one it waits for
    the runs that /learn retrain started, then exits with 0, or with 1 if a line could not
    be answered.

    With --json every line of the output is an object with the key "event":

    \b
      message  text, author                what is being answered
      delta    text, adapter               a piece of the reply
      reply    exchange, text, finish, adapter, note, timings
      stopped                              the reply was interrupted
      vote     exchange, value, rater      after /up, /down and /undo
      answer   blocks                      what a command said: texts and tables
      notice   kind, text, share           progress, verdict, swap, learning, problem
      error    text
    """
    _chat(config_file, data, channel, seed, as_json=as_json)


def _chat(
    config_file: Path | None, data: Path, channel: str, seed: int | None, *, as_json: bool
) -> None:
    config = read_config(config_file)
    from bot.app import chat_in_terminal

    if not run(chat_in_terminal(config, data, channel, seed, as_json=as_json), terminated=0):
        raise SystemExit(1)


@rapport.command(
    name="run",
    epilog=examples("DISCORD_BOT_TOKEN=… rapport run", "rapport run --config config.toml"),
)
@config_option
@data_option
def run_(config_file: Path | None, data: Path) -> None:
    """Talk on Discord and Slack.

    Starts every platform whose tokens are in the environment: DISCORD_BOT_TOKEN for
    Discord, SLACK_BOT_TOKEN with SLACK_APP_TOKEN for Slack (or SLACK_SIGNING_SECRET, where
    slack.mode is "http"). README.md says how to get them. Runs until Ctrl-C or SIGTERM;
    what was being said is kept.
    """
    config = read_config(config_file)
    from bot.app import run_platforms

    click.echo("Opening the model …", err=True)
    run(
        run_platforms(
            config, data, os.environ,
            lambda _: click.echo("Rapport is running; Ctrl-C stops it.", err=True),
        ),
        terminated=0,
    )


@rapport.command(
    epilog=examples("rapport slack-manifest > manifest.json",
                    "rapport slack-manifest --url https://bot.example.org/slack/events")
)
@config_option
@click.option("--url", default="", metavar="URL",
              help="Where Slack reaches the bot, for slack.mode = \"http\".")
def slack_manifest(config_file: Path | None, url: str) -> None:
    """Print the Slack app for Slack to make.

    It has the agent view if slack.agent_view is set.

    Paste it at https://api.slack.com/apps (Create New App, From a manifest). Then install
    the app for SLACK_BOT_TOKEN, and make an app-level token with the scope
    connections:write for SLACK_APP_TOKEN. Needs neither a token nor the model.
    """
    import json

    from bot.platforms.slack.manifest import manifest

    agent = read_config(config_file).slack.agent_view
    click.echo(json.dumps(manifest(url, agent=agent), indent=2))


@rapport.command(epilog=examples("rapport settings > config.toml", "rapport settings --table"))
@click.option("--table", is_flag=True, help="As a table in Markdown.")
def settings(table: bool) -> None:
    """Print every setting with its default and what it does.

    What is printed is a whole config.toml: delete what you do not change.
    """
    from bot.config.settings import as_markdown, as_toml

    click.echo(as_markdown() if table else as_toml(), nl=False)


@rapport.command(epilog=examples("rapport backup ~/rapport-monday.db"))
@config_option
@data_option
@click.argument("file", type=click.Path(path_type=Path))
def backup(config_file: Path | None, data: Path, file: Path) -> None:
    """Copy the database to FILE, also while the bot runs.

    FILE is whole, as of one moment; it must not exist yet. To restore, stop the bot and
    put it in the data folder as rapport.db. Adapters are files in the folder `adapters`;
    copy them beside it.
    """
    read_config(config_file)
    from bot.app import open_store

    async def copy() -> None:
        async with open_store(data) as store:
            await store.backup(file)

    run(copy())
    click.echo(f"The database is saved in {file} ({file.stat().st_size:,} bytes).")


@rapport.command(epilog=examples("rapport doctor", "rapport doctor --config config.toml"))
@config_option
@data_option
def doctor(config_file: Path | None, data: Path) -> None:
    """Check what Rapport needs.

    Looks at the configuration, the schedule, the data folder, the database, the disk, the
    model and the device, and says how to mend what is wrong. Exits with 1 if there is a problem.
    """
    from bot.doctor import examine
    from learning.schedule import next_run

    fine = True
    for finding in run(examine(config_file, data, next_run)):
        fine &= finding.fine
        mark = click.style("ok     ", fg="green") if finding.fine else click.style(
            "problem", fg="red")
        click.echo(f"{mark}  {finding.subject}: {finding.text}")
        if finding.mend:
            click.echo(f"         -> {finding.mend}")
    if not fine:
        raise SystemExit(1)


for _command in (train, adapters, judge, votes, simulate, pretrain):
    rapport.add_command(_command)


def main() -> None:
    """The entry point of ``rapport``."""
    rapport(prog_name="rapport")


if __name__ == "__main__":
    main()
