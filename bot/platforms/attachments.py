"""Files under messages: which are read with them, how much of each, and how they look there.

The beginning of a text file is part of what was said; of any other file the model learns the
name. Pure: whoever fetches a file is a platform.
"""

from __future__ import annotations

from pathlib import PurePath

_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/toml")
_TEXT_ENDS = {".txt", ".md", ".log", ".py", ".json", ".toml", ".yaml", ".yml", ".csv", ".ini"}


def is_readable(name: str, kind: str, size: int, budget: int) -> bool:
    """Whether to fetch a file of so many bytes for a budget of so many characters.

    Of one that is far larger the beginning would say little.
    """
    is_text = kind.startswith(_TEXT_TYPES) or PurePath(name).suffix.lower() in _TEXT_ENDS
    return is_text and budget > 0 and size <= 4 * budget + 65536


def excerpt(data: bytes, budget: int) -> str:
    """What a text file says, as far as the budget goes."""
    text = data.decode("utf-8", "replace")
    return text if len(text) <= budget else f"{text[:budget]} […]"


def shown(name: str, content: str = "") -> str:
    """A file as it stands in a message."""
    return f"[attached file {name}:\n{content}]" if content else f"[attached file {name}]"
