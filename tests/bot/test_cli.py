"""The real command in a process of its own, as people and scripts use it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bot.cli import rapport
from bot.cli_learning import _print_simulation
from bot.lock import data_lock
from tests.bot.terminal import CONTROL_C, ROOT, Terminal

RUN = [sys.executable, "-m", "bot.cli"]


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[model]\nname = "{folder}"\ndevice = "cpu"\n'
        "[engine]\nrows = 2\nadapter_slots = 2\nadapter_rank = 4\n"
        "[learning.sft]\nrank = 4\ngauge = 4\n[learning.gate]\nanchors = 4\n"
        "[sampling]\ntemperature = 0.0\nmax_tokens = 8\n"
    )
    return file


def rapport_with(*words: object, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*RUN, *map(str, words)]
    return subprocess.run(command, input=said, capture_output=True, cwd=ROOT, timeout=300)


def one_line(*words: object) -> str:
    """The single line that a refused command writes; nothing else, and exit status 1."""
    result = CliRunner().invoke(rapport, list(map(str, words)))
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_script_is_answered_line_by_line_and_the_next_one_remembers(
    settings: Path, tmp_path: Path
) -> None:
    words = ("chat", "--config", settings, "--data", tmp_path / "data")
    script = b"hello\n\n/up\nodd \xff\xfe bytes\n/nonsense\n/learn retrain\n/status"
    first = rapport_with(*words, said=script)
    assert first.returncode == 0, first.stderr
    assert first.stderr == b""
    told = first.stdout.decode()
    for part in ("👍 on reply 1", "no /nonsense", "not enough to learn from", "serving"):
        assert part in told
    second = rapport_with(*words, "--json", said=b"again\n/why\n/up\n/quit\nnever")
    assert second.returncode == 0, second.stderr
    events = [json.loads(line) for line in second.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "message"
    assert kinds[-4:] == ["reply", "answer", "vote", "answer"]
    (reply,) = [event for event in events if event["event"] == "reply"]
    deltas = [event["text"] for event in events if event["event"] == "delta"]
    assert "".join(deltas) == reply["text"]
    seen = dict(events[-3]["blocks"][1]["rows"])
    assert seen["user"] == "again"
    contents = [content for _, content in events[-3]["blocks"][1]["rows"]]
    assert "odd \ufffd\ufffd bytes" in contents


@pytest.fixture
def terminal(settings: Path, tmp_path: Path) -> Iterator[Terminal]:
    slow = settings.read_text().replace("max_tokens = 8", "max_tokens = 2000")
    settings.write_text(slow)
    terminal = Terminal("chat", "--config", str(settings), "--data", str(tmp_path / "data"))
    yield terminal
    terminal.leave()


def test_control_c_stops_a_reply_and_at_the_prompt_leaves(terminal: Terminal) -> None:
    terminal.wait_for("you ›")
    terminal.type("hello\r")
    terminal.wait_for("base ")
    terminal.type(CONTROL_C)
    terminal.wait_for("[stopped]")
    terminal.wait_for("you ›")
    terminal.type("/why\r")
    terminal.wait_for("cancelled")
    terminal.wait_for("you ›")
    terminal.type(CONTROL_C)
    assert terminal.exit_status() == 0


def test_sigterm_closes_everything_in_order(settings: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [*RUN, "chat", "--config", str(settings), "--data", str(data)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"/help\n")
        process.stdin.flush()
        assert b"/up" in process.stdout.readline()
        refused = one_line("chat", "--config", settings, "--data", data)
        assert f"process {process.pid}" in refused
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == b""
    assert "bot.app: closed" in (data / "rapport.log").read_text()


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[sampling]\ntemprature = 1.0\n")
    line = one_line("chat", "--config", file, "--data", tmp_path)
    assert "did you mean sampling.temperature?" in line


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    assert "nowhere.toml" in one_line("chat", "--config", tmp_path / "nowhere.toml")


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[model]\nname = "{tmp_path}/nowhere"\n')
    assert "nowhere" in one_line("chat", "--config", file, "--data", tmp_path / "data")


def test_a_folder_in_use_names_the_process(tmp_path: Path) -> None:
    with data_lock(tmp_path):
        assert "in use by another rapport" in one_line("adapters", "prune", "--data", tmp_path)


def test_a_database_of_another_program_is_left_alone(settings: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "rapport.db").write_bytes(b"this is no database, but it is somebody's file" * 20)
    before = (data / "rapport.db").read_bytes()
    one_line("chat", "--config", settings, "--data", data)
    assert (data / "rapport.db").read_bytes() == before


def test_a_file_where_the_folder_should_be_is_one_line(settings: Path, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    for words in (("chat",), ("backup", tmp_path / "copy.db"), ("adapters", "list")):
        assert "is a file" in one_line(*words, "--config", settings, "--data", file)


def test_looking_at_a_folder_without_a_database_makes_none(tmp_path: Path) -> None:
    assert "no database yet" in one_line("votes", "export", "--data", tmp_path)
    assert not (tmp_path / "rapport.db").exists()


def test_a_wrong_option_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(rapport, ["chat", "--loud"])
    assert result.exit_code == 2


def test_doctor_finds_the_problem_and_says_how_to_mend_it(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[model]\nname = "{tmp_path}/nowhere"\n')
    result = CliRunner().invoke(
        rapport, ["doctor", "--config", str(file), "--data", str(tmp_path / "data")]
    )
    assert result.exit_code == 1
    assert "problem  model" in result.output
    assert "-> set model.name" in result.output
    assert "ok       database" in result.output


def test_doctor_says_whether_parts_of_the_engine_are_compiled(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    words = ["doctor", "--config", str(file), "--data", str(tmp_path / "data")]
    for keys, said in (
        ("engine.compiled = false", "switched off"),
        ('model.dtype = "bfloat16"', "float32 on a CPU"),
        ("", "in use" if shutil.which("gcc") else "with a C compiler"),
    ):
        file.write_text(f'model.device = "cpu"\n{keys}\n')
        output = CliRunner().invoke(rapport, words).output
        assert said in next(one for one in output.splitlines() if "compiled code" in one)


def test_doctor_says_which_platforms_can_start_and_what_is_learned_from_them(
    tmp_path: Path,
) -> None:
    tokens = {"DISCORD_BOT_TOKEN": "secret-token", "SLACK_BOT_TOKEN": "xoxb-secret"}
    data = str(tmp_path / "data")
    result = CliRunner().invoke(rapport, ["doctor", "--data", data], env=tokens)
    assert result.exit_code == 1
    assert "ok       Discord" in result.output
    assert "problem  Slack: SLACK_APP_TOKEN is not set" in result.output
    assert "nothing said on the platforms is learned from" in result.output
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("schedule", "line"),
    [
        ('cron = "61 * * * *"', "problem  schedule: learning.schedule.cron: '61 * * * *' is not"),
        ('cron = "0 0 31 2 *"', "problem  schedule: learning.schedule.cron: '0 0 31 2 *' never"),
        ('quiet_hours = "late"', "problem  schedule: learning.schedule.quiet_hours: 'late'"),
        ('timezone = "Mars"', "problem  schedule: learning.schedule.timezone: 'Mars'"),
        ('cron = "0 4 * * *"', "ok       schedule: the next run by the clock: 20"),
        ("every_votes = 50", "ok       schedule: no run by the clock; one after 50 votes"),
    ],
)
def test_doctor_reads_the_schedule_as_the_bot_would(
    tmp_path: Path, schedule: str, line: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[model]\nname = "{tmp_path}/nowhere"\n[learning.schedule]\n{schedule}\n')
    data = str(tmp_path / "data")
    told = CliRunner().invoke(rapport, ["doctor", "--config", str(file), "--data", data]).output
    assert line in told
    mend = "-> correct [learning.schedule] in config.toml"
    assert (mend in told) == line.startswith("problem")


def test_a_simulation_is_summed_up_with_every_kind_of_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds = [
        {"round": number, "votes": 60 * number, "adapter": "base", "like_rate": 0.3,
         "ci": [0.2, 0.4], "verdict": verdict}
        for number, verdict in enumerate((None, "shadow", "shadow", "reject"))
    ]  # fmt: skip
    final = {"base_like_rate": 0.3, "like_rate": 0.3, "promotions": 0, "rejections": 1,
             "shadows": 2, "rollbacks": 0}  # fmt: skip
    _print_simulation({"rounds": rounds, "final": final})
    *_, third, last = capsys.readouterr().out.splitlines()
    assert third.endswith(", reject")
    assert "0 promoted, 1 rejected, 2 with too few votes to judge by (shadow), 0 rolled" in last


def test_help_imports_nothing_heavy_and_answers_at_once() -> None:
    code = (
        "import sys\nfrom bot.cli import rapport\n"
        "try:\n    rapport(['--help'], standalone_mode=True)\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'sqlalchemy', 'pydantic', 'rich', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    started = time.process_time()
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert time.process_time() - started < 1.0
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_help_lists_every_command_with_a_whole_sentence() -> None:
    told = CliRunner().invoke(rapport, ["--help"]).output
    for name, command in rapport.commands.items():
        assert name in told
        assert command.get_short_help_str(limit=60).endswith((".", "?"))
        assert not command.get_short_help_str(limit=60).endswith("...")


def test_every_command_that_keeps_or_reads_something_takes_config_and_data() -> None:
    def leaves(command: click.Command) -> Iterator[click.Command]:
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                yield from leaves(inner)
        else:
            yield command

    neither = {"slack-manifest", "settings"}
    for command in leaves(rapport):
        if command.name in neither:
            continue
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--config", "--data"} <= options, command.name
