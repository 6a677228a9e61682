"""``rapport votes import``, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from bot.cli import rapport

LINE = {
    "messages": [{"role": "user", "content": "hi"}], "reply": "Hello!", "label": True,
    "user": "ada",
}


def imported(file: Path, data: Path) -> Result:
    return CliRunner().invoke(rapport, ["votes", "import", str(file), "--data", str(data)])


def test_what_was_imported_is_exported_again(tmp_path: Path) -> None:
    file, data = tmp_path / "votes.jsonl", tmp_path / "data"
    file.write_text(json.dumps(LINE) + "\n" + json.dumps({**LINE, "user": "bob"}) + "\n")
    result = imported(file, data)
    assert result.exit_code == 0, result.output
    assert "2 votes on 1 new replies and 1 known ones." in result.output
    exported = CliRunner().invoke(
        rapport, ["votes", "export", "--format", "kto", "--data", str(data)]
    )
    row = json.loads(exported.output)
    assert row["completion"] == [{"role": "assistant", "content": "Hello!"}]
    assert row["label"] is True


def test_a_file_that_cannot_be_used_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    file, data = tmp_path / "votes.jsonl", tmp_path / "data"
    assert "cannot read" in imported(file, data).output
    file.write_bytes(b"\xff\xfe")
    assert "it is not UTF-8" in imported(file, data).output
    file.write_text(json.dumps(LINE) + "\n{}\n")
    result = imported(file, data)
    assert result.exit_code == 1
    assert result.output == "error: line 2 lacks 'messages'; nothing was imported\n"
    assert not data.exists()
