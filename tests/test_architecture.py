"""The map of docs/architecture.md, held by reading the code's syntax trees.

Each rule is a function from modules to complaints. One test asks for no complaints about
the project, and one plants a module that breaks the rule and asks for a complaint, so that
no rule can rot into one that never fails.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from bot.config.file import known_keys

ROOT = Path(__file__).parents[1]

LAYERS = (
    ("bot.types", "bot.errors", "bot.marks", "bot.ended", "bot.likerate", "bot.units"),
    ("bot.config",),
    ("bot.engine", "bot.store", "bot.limits", "bot.lock", "bot.logs", "bot.progress", "bot.memory"),
    ("bot.history", "bot.admission", "bot.moderation", "bot.ratings",
     "bot.learning_port", "bot.turns"),
    ("bot.changes", "bot.prompts", "bot.metrics", "bot.excuses"),
    ("bot.conversation", "bot.answers"),
    ("bot.people", "bot.lessons", "bot.again"),
    ("bot.commands",),
    ("bot.platforms",),
    ("bot.dashboard",),
    ("bot.web",),
    ("bot.app", "bot.doctor"),
    ("bot.cli",),
    ("learning.scripts",),
    ("learning.types", "learning.durable", "learning.metrics", "learning.overlap",
     "learning.palette", "learning.drawing", "learning.announcements",
     "learning.awaited", "learning.schedule"),
    ("learning.replay",),
    ("learning.registry", "learning.votes", "learning.training", "learning.taste",
     "learning.tracking"),
    ("learning.gate", "learning.trained"),
    ("learning.serving",),
    ("learning.judging",),
    ("learning.reports", "learning.watch", "learning.freezing", "learning.siblings",
     "learning.approval"),
    ("learning.rehearsal",),
    ("learning.steps",),
    ("learning.runs",),
    ("learning.loop",),
    ("learning.simulation", "learning.pretraining"),
)
"""The rooms of `bot` and of `learning`, from the ground up.

Each imports itself and what lies below it. That `bot` knows `learning` only where the parts
are wired, and `learning` only the ground floor of `bot`, are rules of their own.
"""

WIRING = ("bot.app", "bot.cli")
"""Where the parts meet: the only rooms of `bot` that know `learning`."""

OPENING = (*WIRING, "bot.doctor")
"""The rooms that open a real engine, or try to; the others are given one."""

LEARNING_MAY = (
    "bot.types", "bot.errors", "bot.marks", "bot.ended", "bot.likerate", "bot.config",
    "bot.learning_port", "bot.moderation", "bot.store", "bot.engine.base",
)
"""What of `bot` the learning half may know."""

SIMULATE_MAY = ("bot.app", "bot.conversation")
"""`learning.simulation` plays people who talk to the bot, so it drives the whole of it."""

LONGEST_FILE = 400
TORCH = ("torch", "transformers", "peft", "safetensors", "tokenizers")
SHAPELESS = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
SECRET = re.compile(r"(^|_)(token|secret|password|passwd|credential|api_?key)s?$")
COUNTED = {"min_tokens", "max_tokens", "history_tokens", "memory.tokens"}
"""Keys that count the model's tokens; a platform's token would be another thing."""


@dataclass(frozen=True)
class Import:
    """One imported module, and when the import happens."""

    target: str
    line: int
    at_load: bool
    """False inside a function."""
    typing_only: bool
    """True under ``if TYPE_CHECKING``."""


@dataclass(frozen=True)
class Module:
    """A parsed module, with the names of all the modules it could import from."""

    name: str
    source: str
    package: bool = False

    @property
    def room(self) -> str:
        """The room it lies in; every ``bot.cli_*`` is the command line, ``bot.app_*`` the app."""
        room = ".".join(self.name.split(".")[:2])
        parts = ("bot.cli", "bot.app_")
        return next((part.rstrip("_") for part in parts if room.startswith(part)), room)

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)


Rule = Callable[[list[Module]], list[str]]


@cache
def project() -> tuple[Module, ...]:
    """Every module of `bot` and `learning`, migrations left out: they are kept as written."""
    return tuple(
        Module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"),
            path.read_text(encoding="utf-8"),
            path.stem == "__init__",
        )
        for part in ("bot", "learning")
        for path in sorted((ROOT / part).rglob("*.py"))
        if "versions" not in path.parts
    )


def imports(module: Module, known: frozenset[str]) -> Iterator[Import]:
    """What `module` imports, ``from package import submodule`` resolved to the submodule."""

    def walk(node: ast.AST, at_load: bool, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_load, typing_only)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    target = inner if inner in known else child.module or ""
                    yield Import(target, child.lineno, at_load, typing_only)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(child, at_load, True)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_load and not inside, typing_only)

    yield from walk(module.tree, True, False)


def every_import(modules: list[Module]) -> Iterator[tuple[Module, Import]]:
    known = frozenset(module.name for module in modules)
    for module in modules:
        for found in imports(module, known):
            yield module, found


def within(target: str, allowed: tuple[str, ...]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in allowed)


def bot_imports_learning_only_where_parts_are_wired(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}:{found.line} imports {found.target}"
        for module, found in every_import(modules)
        if within(module.name, ("bot",))
        and within(found.target, ("learning",))
        and module.room not in WIRING
    ]


def learning_knows_only_the_ground_floor_of_bot(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}:{found.line} imports {found.target}"
        for module, found in every_import(modules)
        if within(module.name, ("learning",))
        and within(found.target, ("bot",))
        and found.target != "bot"
        and not within(
            found.target,
            LEARNING_MAY + (SIMULATE_MAY if module.room == "learning.simulation" else ()),
        )
    ]


def a_room_imports_only_what_lies_below_it(modules: list[Module]) -> list[str]:
    level = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
    complaints = [
        f"{module.name} has no place in LAYERS"
        for module in modules
        if module.name not in ("bot", "learning") and module.room not in level
    ]
    for module, found in every_import(modules):
        target = Module(found.target, "").room
        apart = module.name.partition(".")[0] != target.partition(".")[0]
        known = module.room in level and target in level and target != module.room and not apart
        if known and level[target] >= level[module.room]:
            complaints.append(f"{module.name}:{found.line} imports {found.target}")
    return complaints


def only_who_opens_the_engine_sees_behind_its_face(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}:{found.line} imports {found.target}"
        for module, found in every_import(modules)
        if within(module.name, ("bot",))
        and module.room not in ("bot.engine", *OPENING)
        and within(found.target, ("bot.engine",))
        and found.target != "bot.engine.base"
    ]


def bot_touches_the_model_only_in_its_engine(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}:{found.line} imports {found.target}"
        for module, found in every_import(modules)
        if within(module.name, ("bot",))
        and module.room != "bot.engine"
        and not found.typing_only
        and within(found.target, TORCH)
    ]


def modules_do_not_import_each_other_in_a_circle(modules: list[Module]) -> list[str]:
    edges: dict[str, set[str]] = {module.name: set() for module in modules}
    for module, found in every_import(modules):
        if found.at_load and not found.typing_only and found.target in edges:
            edges[module.name].add(found.target)
    finished: set[str] = set()
    circles: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circles.append(" -> ".join((*trail[trail.index(name) :], name)))
        elif name not in finished:
            for target in sorted(edges[name]):
                visit(target, (*trail, name))
            finished.add(name)

    for name in sorted(edges):
        visit(name, ())
    return circles


def a_module_says_in_prose_what_it_is(modules: list[Module]) -> list[str]:
    complaints = []
    for module in modules:
        lines = [line for line in (ast.get_docstring(module.tree) or "").splitlines() if line]
        if len(lines) < (1 if module.package else 2):
            complaints.append(f"{module.name} says too little: {lines}")
    return complaints


def a_file_is_named_for_what_it_holds(modules: list[Module]) -> list[str]:
    return [
        module.name
        for module in modules
        if SHAPELESS & set(module.name.rpartition(".")[2].split("_"))
    ]


def no_except_catches_everything_unnamed(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}:{node.lineno}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) == "BaseException")
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]


def a_file_fits_in_the_head(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}: {count} lines"
        for module in modules
        if (count := len(module.source.splitlines())) > LONGEST_FILE
    ]


BROKEN: dict[Rule, list[Module]] = {
    bot_imports_learning_only_where_parts_are_wired: [
        Module("bot.conversation", "def f():\n    from learning import votes")
    ],
    learning_knows_only_the_ground_floor_of_bot: [
        Module("learning.votes", "from bot.conversation import Reply")
    ],
    a_room_imports_only_what_lies_below_it: [
        Module("bot.store.votes", "import bot.engine.base"),
    ],
    only_who_opens_the_engine_sees_behind_its_face: [
        Module("bot.engine.kv", ""),
        Module("bot.history", "from bot.engine import kv"),
    ],
    bot_touches_the_model_only_in_its_engine: [
        Module("bot.app", "def f():\n    import torch.nn")
    ],
    modules_do_not_import_each_other_in_a_circle: [
        Module("learning.a", "from learning import b"),
        Module("learning.b", "try:\n    import learning.c\nexcept ImportError:\n    pass"),
        Module("learning.c", "from learning.a import x"),
    ],
    a_module_says_in_prose_what_it_is: [Module("learning.a", '"""Things."""')],
    a_file_is_named_for_what_it_holds: [Module("bot.store.string_utils", "")],
    no_except_catches_everything_unnamed: [
        Module("bot.app", "try:\n    f()\nexcept BaseException:\n    pass")
    ],
    a_file_fits_in_the_head: [Module("bot.app", "x = 1\n" * (LONGEST_FILE + 1))],
}


def names(rule: Rule) -> str:
    return rule.__name__


@pytest.mark.parametrize("rule", BROKEN, ids=names)
def test_the_project_keeps_the_rule(rule: Rule) -> None:
    assert rule(list(project())) == []


@pytest.mark.parametrize(("rule", "modules"), BROKEN.items(), ids=map(names, BROKEN))
def test_the_rule_notices_when_it_is_broken(rule: Rule, modules: list[Module]) -> None:
    assert rule(modules)


def test_imports_for_typing_and_inside_functions_close_no_circle() -> None:
    there = Module("learning.a", "import learning.b")
    typing = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import learning.a"
    for late in (typing, "def f():\n    import learning.a"):
        assert not modules_do_not_import_each_other_in_a_circle([there, Module("learning.b", late)])


def secrets_among(keys: list[str]) -> list[str]:
    return [
        key
        for key in keys
        if not COUNTED & {key, name := key.rpartition(".")[2]} and SECRET.search(name)
    ]


def test_the_configuration_has_no_place_for_secrets() -> None:
    assert secrets_among(list(known_keys())) == []
    assert secrets_among(["discord.token", "store.password", "remote.api_key"]) == [
        "discord.token", "store.password", "remote.api_key",
    ]


def test_the_command_line_starts_without_loading_the_model_libraries() -> None:
    code = "import sys, bot.cli; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
