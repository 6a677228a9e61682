"""config.toml read and checked.

An error is one sentence that says which key is wrong and, where it is not known, which one
was probably meant. What the keys are and which values they take is `bot.config`'s.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bot.config import Config
from bot.config.sections import Section
from bot.errors import ConfigError


def load_config(path: Path | None = None) -> Config:
    """Read a configuration file; without one, ``$RAPPORT_CONFIG``, ``./config.toml`` or defaults.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key or a value out of range.
    """
    if path is None:
        named = os.environ.get("RAPPORT_CONFIG")
        path = Path(named) if named else Path("config.toml")
        if not named and not path.is_file():
            return Config()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    rank, room = config.learning.sft.rank, config.engine.adapter_rank
    if rank > room:
        raise ConfigError(
            f"{path}: learning.sft.rank is {rank}, but engine.adapter_rank has room for {room} only"
        )
    sampling = config.sampling
    shortest, longest = sampling.min_tokens, sampling.max_tokens
    if shortest > longest:
        raise ConfigError(
            f"{path}: sampling.min_tokens is {shortest}, but sampling.max_tokens is {longest}"
        )
    if sampling.beams > config.engine.rows:
        raise ConfigError(
            f"{path}: sampling.beams is {sampling.beams}, but engine.rows is {config.engine.rows}, "
            "and each beam takes a row"
        )
    if sampling.beams > 1 and sampling.temperature:
        raise ConfigError(
            f"{path}: sampling.beams is {sampling.beams}, but sampling.temperature is "
            f"{sampling.temperature:g}: with beams nothing is drawn by chance, so set it to 0"
        )
    return config


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{key}: {first['msg']} (got {first['input']!r})"
    near = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown key {key}{hint} (config.toml in the repository lists every key)"


def known_keys(section: type[BaseModel] = Config, prefix: str = "") -> dict[str, Any]:
    """Every dotted key with its default, in the order of the file."""
    keys: dict[str, Any] = {}
    for name, spec in section.model_fields.items():
        if isinstance(spec.default, Section):
            keys |= known_keys(type(spec.default), f"{prefix}{name}.")
        else:
            default = spec.default
            keys[f"{prefix}{name}"] = list(default) if isinstance(default, tuple) else default
    return keys
