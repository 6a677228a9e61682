"""What Discord refuses, with the shapes and codes it refuses it with.

Pure checks of what a client sent. They know nothing of who is allowed where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fakes.discord_world import Json

ERRORS: dict[int, tuple[int, str]] = {
    10003: (404, "Unknown Channel"),
    10004: (404, "Unknown Guild"),
    10007: (404, "Unknown Member"),
    10008: (404, "Unknown Message"),
    10013: (404, "Unknown User"),
    10014: (400, "Unknown Emoji"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    30010: (400, "Maximum number of reactions reached (20)"),
    40005: (413, "Request entity too large"),
    40060: (400, "Interaction has already been acknowledged."),
    50001: (403, "Missing Access"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50008: (400, "Cannot send messages in a non-text channel"),
    50013: (403, "Missing Permissions"),
    50027: (401, "Invalid Webhook Token"),
    50083: (400, "Thread is archived"),
    50109: (400, "The request body contains invalid JSON."),
    160002: (400, "Cannot reply without permission to read message history"),
    160004: (400, "A thread has already been created for this message"),
}
LONGEST = 2000
LARGEST = 10 * 1024 * 1024
"""Bytes of one uploaded file."""
EPHEMERAL, LOADING, HAS_THREAD, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 5, 1 << 15
_NAME = re.compile(r"[-_'\w]{1,32}")


class Refusal(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.body: Json = {"message": message, "code": code}
        if errors is not None:
            self.body["errors"] = errors


def refusal(code: int) -> Refusal:
    """The refusal of a documented code."""
    status, message = ERRORS[code]
    return Refusal(status, code, message)


def bad_form(where: str, code: str, message: str) -> Refusal:
    """Code 50035; `where` is the dotted path of the wrong field."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for key in reversed(where.split(".")):
        errors = {key: errors}
    return Refusal(400, 50035, "Invalid Form Body", errors)


def length(where: str, value: object, least: int, most: int) -> str:
    """The text, if it is one of the right length."""
    if not isinstance(value, str):
        raise bad_form(where, "STRING_TYPE_CONVERT", f"Could not interpret {value!r} as string.")
    if not least <= len(value) <= most:
        code, bound = "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length."
        if not least:
            code, bound = "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length."
        raise bad_form(where, code, bound)
    return value


def snowflake(where: str, value: object) -> int:
    """An id, which may be sent as a number or as a text."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdigit():
        raise bad_form(where, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return int(value)


def check_message(body: Json) -> str:
    """The trimmed content of a message that may be posted, if it may.

    Whether it is empty is not looked at: an edit may leave out what stays.
    """
    content = body.get("content")
    text = "" if content is None else length("content", content, 0, LONGEST).strip()
    embeds = body.get("embeds") or []
    if len(embeds) > 10:
        raise bad_form("embeds", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    for place, embed in enumerate(embeds):
        length(f"embeds.{place}.description", embed.get("description") or "", 0, 4096)
        length(f"embeds.{place}.title", embed.get("title") or "", 0, 256)
    if body.get("nonce") is not None:
        length("nonce", str(body["nonce"]), 0, 25)
    if len(body.get("attachments") or []) > 10:
        raise bad_form("attachments", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    flags = body.get("flags") or 0
    components = body.get("components") or []
    check_components(components, new=bool(flags & COMPONENTS_V2))
    if flags & COMPONENTS_V2 and (text or embeds):
        raise bad_form(
            "content", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
            "The 'content' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
        )
    _check_mentions(body.get("allowed_mentions") or {})
    return text


def _check_mentions(allowed: Json) -> None:
    parsed = allowed.get("parse") or []
    for kind in parsed:
        if kind not in ("users", "roles", "everyone"):
            raise bad_form("allowed_mentions.parse", "BASE_TYPE_CHOICES", f"{kind!r} is unknown")
        if allowed.get(kind):
            raise bad_form(
                "allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.',
            )


def walk(components: list[Json], path: str = "components") -> Iterator[tuple[str, Json]]:
    """Every component with the path to it, from the outside in."""
    for place, component in enumerate(components):
        where = f"{path}.{place}"
        yield where, component
        yield from walk(component.get("components") or [], f"{where}.components")
        if accessory := component.get("accessory"):
            yield from walk([accessory], f"{where}.accessory")


def check_components(components: list[Json], *, new: bool) -> None:
    """Buttons and selects: rows of five, ids of at most 100 characters, each once."""
    if len(components) > (40 if new else 5):
        raise bad_form("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
    if not new and any(component.get("type") != 1 for component in components):
        raise bad_form("components.0.type", "BASE_TYPE_CHOICES", "Value must be one of (1,).")
    seen: set[str] = set()
    for where, component in walk(components):
        if component.get("type") == 1 and not 1 <= len(component.get("components") or []) <= 5:
            raise bad_form(
                f"{where}.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length."
            )
        if component.get("label") is not None:
            length(f"{where}.label", component["label"], 0, 80)
        linked = component.get("style") in (5, 6)
        if component.get("type") in (2, 3, 5, 6, 7, 8) and not linked:
            custom_id = length(f"{where}.custom_id", component.get("custom_id"), 1, 100)
            if custom_id in seen:
                raise bad_form(
                    f"{where}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED",
                    "Component custom id cannot be duplicated",
                )
            seen.add(custom_id)


def check_commands(commands: object) -> list[Json]:
    """A whole set of application commands, as it is put."""
    if not isinstance(commands, list):
        raise Refusal(400, 50035, "Invalid Form Body")
    named: set[tuple[int, str]] = set()
    for place, command in enumerate(commands):
        kind = command.get("type", 1)
        _check_described(str(place), command, described=kind == 1)
        if (kind, command["name"]) in named:
            raise bad_form(
                f"{place}", "APPLICATION_COMMANDS_DUPLICATE_NAME",
                "Application command names must be unique",
            )
        named.add((kind, command["name"]))
        _check_options(str(place), command.get("options") or [])
        if _characters(command) > 8000:
            raise bad_form(
                f"{place}", "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)"
            )
    if sum(command.get("type", 1) == 1 for command in commands) > 100:
        raise Refusal(400, 30032, "Maximum number of application commands reached (100)")
    return commands


def _check_described(where: str, command: Json, *, described: bool = True) -> None:
    name = length(f"{where}.name", command.get("name"), 1, 32)
    if described:
        if not _NAME.fullmatch(name) or name != name.lower():
            raise bad_form(
                f"{where}.name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid"
            )
        length(f"{where}.description", command.get("description"), 1, 100)


def _check_options(where: str, options: list[Json]) -> None:
    if len(options) > 25:
        raise bad_form(f"{where}.options", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    optional = False
    for place, option in enumerate(options):
        here = f"{where}.options.{place}"
        _check_described(here, option)
        if option.get("type") in (1, 2):
            _check_options(here, option.get("options") or [])
            continue
        if option.get("required") and optional:
            raise bad_form(
                here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            )
        optional = not option.get("required")
        choices = option.get("choices") or []
        if choices and option.get("autocomplete"):
            raise bad_form(
                here, "APPLICATION_COMMAND_OPTION_AUTOCOMPLETE_CHOICES",
                "Choices and autocomplete are mutually exclusive",
            )
        check_choices(f"{here}.choices", choices)


def check_choices(where: str, choices: list[Json]) -> None:
    """What a person may choose from: at most 25, each short."""
    if len(choices) > 25:
        raise bad_form(where, "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    for place, choice in enumerate(choices):
        length(f"{where}.{place}.name", choice.get("name"), 1, 100)
        if isinstance(choice.get("value"), str):
            length(f"{where}.{place}.value", choice["value"], 0, 100)


def _characters(command: Json) -> int:
    own = len(command.get("name") or "") + len(command.get("description") or "")
    own += sum(len(c["name"]) + len(str(c["value"])) for c in command.get("choices") or [])
    return own + sum(_characters(option) for option in command.get("options") or [])
