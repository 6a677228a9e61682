"""What the files around the code promise: configuration, lock, documents, packaging.

A document that names a command, an option, a key, a file or a make target is held to it
here, so that the words cannot outlive what they describe.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bot.cli import rapport
from bot.config import Config
from bot.config.file import known_keys
from bot.config.settings import groups

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
        *(ROOT / "bot" / "assets").rglob("*.md"),
    ]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SECTIONS = "|".join(Config.model_fields)

documents = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Dotted keys of a parsed TOML table, in its order."""
    keys: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            keys |= flat(value, f"{prefix}{name}.")
        else:
            keys[prefix + name] = value
    return keys


# The configuration


def test_config_toml_lists_every_key_with_its_default_in_the_order_of_the_code() -> None:
    listed = flat(tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8")))
    assert list(listed.items()) == list(known_keys().items())
    assert [type(value) for value in listed.values()] == list(map(type, known_keys().values()))


@pytest.mark.parametrize(
    ("options", "file"), [((), "config.toml"), (("--table",), "docs/settings.md")]
)
def test_what_rapport_settings_prints_is_the_file_in_the_repository(
    options: tuple[str, ...], file: str
) -> None:
    printed = CliRunner().invoke(rapport, ["settings", *options], catch_exceptions=False)
    assert printed.output == (ROOT / file).read_text(encoding="utf-8")


def test_every_key_is_explained_in_whole_sentences() -> None:
    explained = {
        f"{group.name}.{one.name}": one.text for group in groups() for one in group.settings
    }
    assert list(explained) == list(known_keys())
    assert [key for key, text in explained.items() if not re.match(r"[A-Z].*[.]$", text)] == []


@documents
def test_a_document_names_only_keys_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    unknown = [
        word
        for code in CODE.findall(text)
        for word in re.findall(rf"(?<![\w./])(?:{SECTIONS})(?:\.[a-z_]+)+(?![\w(])", code)
        if not is_key(word) and not is_module(word)
    ]
    assert unknown == []
    for language, block in FENCE.findall(text):
        if language == "toml":
            Config.model_validate(tomllib.loads(block))


def is_key(word: str) -> bool:
    """Whether `word` is a key or a table of the configuration."""
    return any(key == word or key.startswith(f"{word}.") for key in known_keys())


def is_module(word: str) -> bool:
    """Whether `word` is a module of the project, or a name in one that is no table as well."""
    path = ROOT / word.replace(".", "/")
    inside = path.parent.with_suffix(".py").is_file() and not is_key(word.rpartition(".")[0])
    return inside or path.with_suffix(".py").is_file() or path.is_dir()


def test_a_key_that_does_not_exist_is_told_from_a_module() -> None:
    words = ["learning.gate.alpha", "learning.gate", "learning.gate.nonsense", "learning.nonsense"]
    assert [is_key(word) or is_module(word) for word in words] == [True, True, False, False]
    assert is_module("learning.simulation.simulate")
    assert is_module("bot.config.file.known_keys")


# The command line


def commands(
    group: click.Command = rapport, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups included."""
    if words:
        yield words
    if isinstance(group, click.Group):
        for name, command in sorted(group.commands.items()):
            yield from commands(command, (*words, name))


def command_lines(text: str) -> Iterator[list[str]]:
    """What documents tell people to type after ``rapport``, in blocks and in running text."""
    blocks = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
    for line in [*blocks, *CODE.findall(FENCE.sub("", text))]:
        if found := re.match(r"\s*(?:\$ )?(?:\S+/)?rapport ([a-z-][^#|>\\]*)", line):
            yield found[1].split()


def complaint(words: list[str]) -> str:
    """What is wrong with a command line, or an empty string."""
    command: click.Command = rapport
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    known = {"--help"}
    for parameter in command.params:
        known.update(parameter.opts, parameter.secondary_opts)
    unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in known]
    return f"{command.name} has no {', '.join(unknown)}" if unknown else ""


@documents
def test_a_document_tells_people_to_type_only_what_works(document: Path) -> None:
    lines = list(command_lines(document.read_text(encoding="utf-8")))
    assert [(line, complaint(line)) for line in lines if complaint(line)] == []


def test_a_command_or_option_that_is_not_there_is_noticed() -> None:
    text = "```\n$ rapport fly --high\nrapport chat --nonsense\n```\n"
    assert [complaint(line) for line in command_lines(text)] == [
        "no command 'fly'", "chat has no --nonsense",
    ]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(rapport, [*words, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in rapport.commands if f"`rapport {name}" not in readme]
    assert missing == []


# Files, targets and variables


@documents
def test_links_to_files_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    files = [link.split("#")[0] for link in LINK.findall(text) if "://" not in link]
    assert [file for file in files if file and not (document.parent / file).exists()] == []


@documents
def test_files_named_in_a_document_are_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:bot|learning|tests|docs|benchmarks)/[\w./-]*)`", text)
    assert [file for file in named if not (ROOT / file).exists()] == []


@documents
def test_make_targets_named_in_a_document_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = document.read_text(encoding="utf-8")
    blocks = "\n".join(block for _, block in FENCE.findall(text))
    named = re.findall(r"`make ([a-z]+)", text) + re.findall(r"^\$? ?make ([a-z]+)", blocks, re.M)
    assert [name for name in named if not re.search(rf"^{name}: ", makefile, re.M)] == []


@documents
def test_environment_variables_named_in_a_document_are_read_by_the_code(document: Path) -> None:
    named = set(re.findall(r"\bRAPPORT_[A-Z_]+\b", document.read_text(encoding="utf-8")))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bot").rglob("*.py"))
    assert [name for name in sorted(named) if name not in code] == []


# Dependencies and packaging


def project() -> dict[str, object]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def lock_text() -> str:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8")


def locked() -> dict[str, str]:
    pins = [line for line in lock_text().splitlines() if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", pin)] == []
    return dict(pin.split("==") for pin in pins)


def test_the_lock_names_a_fitting_version_of_every_dependency() -> None:
    optional = project()["optional-dependencies"]
    assert isinstance(optional, dict)
    direct = [*project()["dependencies"], *optional["dev"]]  # type: ignore[misc]
    pins = locked()
    for requirement in map(Requirement, direct):
        version = pins.get(canonicalize_name(requirement.name), "none")
        assert requirement.specifier.contains(version), f"{requirement}: {version} is locked"


def lock_groups() -> list[list[str]]:
    groups = lock_text().split("\n\n")[1:]
    return [[pin.split("==")[0] for pin in group.strip().splitlines()[1:]] for group in groups]


def needed(requirements: Iterable[str]) -> set[str]:
    """The packages that these need, and those that they need, as installed packages tell."""
    found: set[Requirement] = set()
    waiting = [Requirement(one) for one in requirements]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        for line in metadata.requires(one.name) or []:
            other = Requirement(line)
            extras = ({"extra": extra} for extra in ("", *one.extras))
            if other.marker is None or any(map(other.marker.evaluate, extras)):
                waiting.append(other)
    return {canonicalize_name(one.name) for one in found}


def test_the_lock_is_sorted_within_its_groups() -> None:
    groups = lock_groups()
    assert len(groups) == 3
    assert groups == [sorted(names) for names in groups]


def test_each_group_of_the_lock_holds_what_its_dependencies_need_and_nothing_else() -> None:
    optional = project()["optional-dependencies"]
    assert isinstance(optional, dict)
    runs = needed([*project()["dependencies"], "hatchling", "editables"])  # type: ignore[misc]
    card, all_of_it = needed(optional["card"]) - runs, needed(optional["dev"]) | runs
    # What PyTorch needs of an accelerator is its own choice, and in nobody's lock.
    runs = {name for name in runs if name in locked() or name not in needed(["torch"])}
    groups = [set(group) for group in lock_groups()]
    assert groups == [runs, card, all_of_it - needed(["torch"]) - runs - card]


def test_make_demo_and_the_image_leave_out_what_only_tests_need() -> None:
    runs, card, checks = lock_groups()
    kept = []
    for file, dollar in (("Makefile", "$$"), ("Dockerfile", "$")):
        text = (ROOT / file).read_text(encoding="utf-8")
        (heading,) = re.findall(r"sed .*?'/\^(# What [^/]+)/," + re.escape(dollar) + "d'", text)
        kept.append(re.findall(r"^([\w-]+)==", lock_text().split(heading)[0], re.MULTILINE))
    assert kept == [runs, runs + card]
    assert "pytest" in checks


def test_every_dependency_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    entries = re.findall(r'^    "[\w\[\]-]+(?:>=|==|<)[^"]*",(.*)$', text, re.MULTILINE)
    assert len(entries) > 15
    assert [entry for entry in entries if not re.match(r" *# \w", entry)] == []


def test_every_lint_rule_that_is_switched_off_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ignored = re.search(r"^ignore = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert ignored
    assert [line for line in ignored[1].splitlines() if not re.search(r'",? *# \w', line)] == []


def test_the_wheel_carries_the_model_the_dialogues_and_the_migrations(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("rapport_bot-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for part in ("bot", "learning")
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "checkpoint" not in path.name
    }
    assert sorted(wanted - packed) == []
    assert not any(name.startswith("tests/") for name in packed)


# The check itself


SKIPS = """
import pytest

@pytest.mark.skip(reason="not today")
def test_one():
    pass

@pytest.mark.xfail(reason="known")
def test_two():
    assert False

def test_three():
    pass
"""


def test_a_skipped_test_fails_only_when_asked_to(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(SKIPS)
    pytester.runpytest_subprocess().assert_outcomes(passed=1, skipped=1, xfailed=1)
    strict = pytester.runpytest_subprocess("--fail-on-skip")
    strict.assert_outcomes(passed=1, errors=1, xfailed=1)
    strict.stdout.fnmatch_lines("*not today*--fail-on-skip*")


def test_a_skipped_file_fails_only_when_asked_to(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile('import pytest\npytest.importorskip("a_module_nobody_has")')
    pytester.runpytest_subprocess().assert_outcomes(skipped=1)
    assert pytester.runpytest_subprocess("--fail-on-skip").ret != 0
