"""Every setting as people read it: the commented config.toml, and a table.

Both are made from the classes of `bot.config`, their docstrings and the text below each key, so
that code, file and documentation say the same. Knows no value that was set.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bot.config import Config
from bot.config.sections import Section

HEAD = (
    "Rapport's configuration. Every key stands here with its default: delete what you do not "
    "change. A key that is not listed is refused at start-up, with the nearest known name. "
    "Rapport reads $RAPPORT_CONFIG, then ./config.toml, then the defaults.",
    "Secrets (tokens, passwords) never belong in this file; they come from the environment.",
)
WIDTH = 95


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a section."""

    name: str
    takes: str
    default: Any
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """One table of the file."""

    name: str
    text: str
    settings: tuple[Setting, ...]


def groups() -> Iterator[Group]:
    """Every table that has keys of its own, in the order of the file."""
    yield from _groups(Config, "")


def as_toml() -> str:
    """The whole config.toml: every key with its default and a comment."""
    lines = [line for paragraph in HEAD for line in _comment(paragraph)]
    for group in groups():
        lines += ["", *_comment(group.text), f"[{group.name}]"]
        for one in group.settings:
            lines += [*_comment(one.text), f"{one.name} = {_toml(one.default)}"]
    return "\n".join(lines) + "\n"


def as_markdown() -> str:
    """A table for each section, with what a key takes, its default and what it does."""
    lines = ["# Settings", "", *textwrap.wrap(" ".join(HEAD), WIDTH)]
    for group in groups():
        lines += ["", f"## `[{group.name}]`", "", *textwrap.wrap(group.text, WIDTH), ""]
        lines += ["| key | takes | default | what it does |", "|---|---|---|---|"]
        for one in group.settings:
            lines.append(
                f"| `{one.name}` | {one.takes} | `{_toml(one.default)}` | {one.text} |"
            )
    return "\n".join(lines) + "\n"


def _groups(section: type[Section], prefix: str) -> Iterator[Group]:
    texts = _texts(section)
    own = tuple(
        Setting(name, _takes(spec), spec.default, texts[name])
        for name, spec in section.model_fields.items()
        if not isinstance(spec.default, Section)
    )
    if own:
        yield Group(prefix, " ".join((inspect.getdoc(section) or "").split()), own)
    for name, spec in section.model_fields.items():
        if isinstance(spec.default, Section):
            yield from _groups(type(spec.default), f"{prefix}.{name}".lstrip("."))


def _texts(section: type[Section]) -> dict[str, str]:
    """Key -> the string below it, which Python itself throws away."""
    found: dict[str, str] = {}
    for part in ast.parse(inspect.getsource(section)).body:
        assert isinstance(part, ast.ClassDef)
        for key, below in zip(part.body, part.body[1:], strict=False):
            match key, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    return found


def _takes(spec: FieldInfo) -> str:
    """What may be written, in words."""
    kind: Any = spec.annotation
    if get_origin(kind) in (UnionType, Union):
        return " or ".join(_takes(FieldInfo.from_annotation(one)) for one in get_args(kind))
    if get_origin(kind) is Literal:
        return ", ".join(f"`{_toml(choice)}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of texts"
    if kind in (bool, str):
        return "`true` or `false`" if kind is bool else "text"
    word = "whole number" if kind is int else "number"
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in spec.metadata for name, sign in signs.items() if hasattr(bound, name)
    ]
    return f"a {word} {' and '.join(bounds)}".strip()


def _comment(text: str) -> list[str]:
    wrapped = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def _toml(value: Any) -> str:
    """A value as TOML writes it, which for these kinds is how JSON writes it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
