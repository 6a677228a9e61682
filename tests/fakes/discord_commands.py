"""What a person's client makes of a slash command before it is sent.

Looks the command up among those the bot put, and refuses, as the real client does, what
the command does not allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fakes.discord_world import Json, User

GROUPS = (1, 2)
STRING, INTEGER, BOOLEAN, PERSON, NUMBER = 3, 4, 5, 6, 10
TYPES: dict[int, tuple[type, ...]] = {
    STRING: (str,), INTEGER: (int,), BOOLEAN: (bool,), PERSON: (User,), NUMBER: (int, float),
}


def command_data(
    commands: list[Json], words: str, values: Mapping[str, object], *, focused: str | None = None
) -> Json:
    """The ``data`` of an interaction: the command, its subcommands and its options.

    With `focused`, the option that is being typed; nothing is required then.

    Raises:
        LookupError: there is no such command or option; the message names those there are.
        ValueError: a value is missing or does not fit.
    """
    name, *rest = words.split()
    command = _named(commands, name, "command")
    data: Json = {"id": command["id"], "name": name, "type": 1}
    if "guild_id" in command:
        data["guild_id"] = command["guild_id"]
    spec, inner = command, data
    for word in rest:
        spec = _named([o for o in spec.get("options") or [] if o["type"] in GROUPS],
                      word, f"subcommand of {spec['name']}")
        child: Json = {"name": word, "type": spec["type"]}
        inner["options"] = [child]
        inner = child
    options = spec.get("options") or []
    if any(option["type"] in GROUPS for option in options):
        raise LookupError(f"/{words} is a group; say one of {_names(options)}")
    inner["options"] = [
        _option(_named(options, key, f"option of /{words}"), value, focused)
        for key, value in values.items()
    ]
    missing = [o["name"] for o in options if o.get("required") and o["name"] not in values]
    if missing and focused is None:
        raise ValueError(f"/{words} cannot be sent without {', '.join(missing)}")
    people = [value for value in values.values() if isinstance(value, User)]
    if people:
        data["resolved"] = {"users": {str(one.id): one.payload() for one in people}}
    return data


def _option(spec: Json, value: object, focused: str | None) -> Json:
    name, kind = spec["name"], spec["type"]
    if kind not in TYPES:
        raise ValueError(f"options of type {kind} are not supported by this server yet")
    if focused == name:
        if not spec.get("autocomplete"):
            raise ValueError(f"the option {name} has no autocompletion")
        return {"name": name, "type": kind, "value": value, "focused": True}
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != BOOLEAN):
        raise ValueError(f"{value!r} is no value for the option {name} of type {kind}")
    choices = [choice["value"] for choice in spec.get("choices") or []]
    if choices and value not in choices:
        raise ValueError(f"{name} has to be one of {choices}, not {value!r}")
    if isinstance(value, User):
        return {"name": name, "type": kind, "value": str(value.id)}
    measure = "length" if kind == STRING else "value"
    size: Any = len(value) if isinstance(value, str) else value
    least, most = spec.get(f"min_{measure}"), spec.get(f"max_{measure}")
    if (least is not None and size < least) or (most is not None and size > most):
        raise ValueError(f"the {measure} of {name} has to be from {least} to {most}")
    return {"name": name, "type": kind, "value": value}


def _named(specs: list[Json], name: str, what: str) -> Json:
    for spec in specs:
        if spec["name"] == name:
            return spec
    raise LookupError(f"there is no {what} named {name!r}, only {_names(specs)}")


def _names(specs: list[Json]) -> str:
    return ", ".join(str(spec["name"]) for spec in specs) or "none"
