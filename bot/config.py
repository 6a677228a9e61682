"""config.toml as frozen values.

Every key has a default, so that no file at all is a valid configuration; an unknown key
is an error, with the nearest known one named. Secrets never live here: tokens come from
the environment, where the platforms read them. `config.toml` in the repository lists
every key with its default, and a test holds the two equal.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import ConfigError
from bot.types import Sampling

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the file: frozen, strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Section):
    """Which model talks, and where it runs."""

    name: str = "rapport-tiny"
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: Count = 0


class EngineConfig(Section):
    """How many conversations share the model, and what is kept of them."""

    rows: Positive = 16
    queue: Positive = 64
    context: Count = 0
    prefill_chunk: Annotated[int, Field(ge=16)] = 256
    prefix_cache_mb: Count = 256
    adapter_slots: Annotated[int, Field(ge=2)] = 4
    adapter_rank: Positive = 16


class SamplingConfig(Section):
    """How replies are drawn."""

    temperature: Annotated[float, Field(ge=0.0, le=5.0)] = 0.8
    top_k: Count = 0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    repetition_penalty: Annotated[float, Field(ge=1.0, le=2.0)] = 1.0
    max_tokens: Positive = 120

    def settings(self, seed: int | None = None) -> Sampling:
        """These settings as the value a request carries."""
        return Sampling(
            self.temperature, self.top_k, self.top_p, self.repetition_penalty,
            self.max_tokens, seed,
        )


class ConversationConfig(Section):
    """What the model is told, and how much of the past it is shown."""

    persona: str = "You are Rapport, a friendly chatbot."
    history_tokens: Count = 0
    max_message_characters: Positive = 4000
    join: bool = False


class SftConfig(Section):
    """Supervised training on liked replies."""

    learning_rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    epochs: Positive = 3
    batch: Positive = 16
    micro_batch: Positive = 8
    rank: Positive = 16
    alpha: Positive = 32
    replay: Share = 0.2
    kl: Annotated[float, Field(ge=0.0)] = 0.1
    patience: Positive = 1
    stop_items: Positive = 16


class GateConfig(Section):
    """What a candidate must show before it serves."""

    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    min_items: Positive = 10
    min_per_class: Positive = 3
    auc_margin: Share = 0.02
    anchor_nll_rise: Share = 0.05
    kl_to_base: Annotated[float, Field(gt=0.0)] = 0.25
    ends_margin: Share = 0.05
    distinct_floor: Share = 0.85
    repetition_ceiling: Annotated[float, Field(ge=1.0)] = 1.2
    length_low: Share = 0.7
    length_high: Annotated[float, Field(ge=1.0)] = 1.4
    canaries: Positive = 32


class ScheduleConfig(Section):
    """When a run starts by itself."""

    cron: str = ""
    every_votes: Count = 0
    quiet_hours: str = ""
    timezone: str = "UTC"


class ModerationConfig(Section):
    """What the bot must not say."""

    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    classifier: str = ""


class VotesConfig(Section):
    """Which reactions are votes."""

    up: tuple[str, ...] = ("👍", "❤️")
    down: tuple[str, ...] = ("👎",)


class DiscordConfig(Section):
    """Where and how the bot talks on Discord."""

    message_content: bool = True
    always: tuple[str, ...] = ()
    thread_per_mention: bool = False
    buttons: bool = False
    ping: bool = False
    edit_seconds: Annotated[float, Field(ge=0.2)] = 1.2
    attachment_characters: Count = 2000
    api_base: str = ""


class SlackConfig(Section):
    """Where and how the bot talks on Slack."""

    mode: Literal["socket", "http"] = "socket"
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 3000
    always: tuple[str, ...] = ()
    thread_replies: bool = True
    feedback_buttons: bool = True
    edit_seconds: Annotated[float, Field(ge=0.2)] = 1.2
    api_base: str = ""


class UsersConfig(Section):
    """Which people the bot obeys and talks to, by their ids."""

    admin_ids: tuple[str, ...] = ()
    allowed_ids: tuple[str, ...] = ()
    blocked_ids: tuple[str, ...] = ()


class PlacesConfig(Section):
    """Which roles, or which channels and categories, the bot talks to, by their ids."""

    allowed_ids: tuple[str, ...] = ()
    blocked_ids: tuple[str, ...] = ()


class PermissionsConfig(Section):
    """Who may talk with the bot, and where; nothing listed is everybody."""

    users: UsersConfig = UsersConfig()
    roles: PlacesConfig = PlacesConfig()
    channels: PlacesConfig = PlacesConfig()


class LimitsConfig(Section):
    """How often the bot answers; 0 is no limit."""

    user_per_minute: Count = 12
    guild_per_minute: Count = 120


class LearningConfig(Section):
    """How votes become adapters."""

    enabled: bool = True
    share: Share = 0.25
    private_channels: bool = False
    consent: Literal["ask", "opt-in", "opt-out", "granted"] = "ask"
    platform_terms_acknowledged: bool = False
    retention_days: Count = 30
    rater_cap: Annotated[float, Field(ge=1.0)] = 2.0
    min_examples: Positive = 4
    seed: int = 0
    keep_versions: Positive = 8
    sft: SftConfig = SftConfig()
    gate: GateConfig = GateConfig()
    schedule: ScheduleConfig = ScheduleConfig()


class LogConfig(Section):
    """What is written about the bot's own doings."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: str = "rapport.log"


class Config(Section):
    """The whole configuration."""

    model: ModelConfig = ModelConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    conversation: ConversationConfig = ConversationConfig()
    permissions: PermissionsConfig = PermissionsConfig()
    limits: LimitsConfig = LimitsConfig()
    moderation: ModerationConfig = ModerationConfig()
    votes: VotesConfig = VotesConfig()
    discord: DiscordConfig = DiscordConfig()
    slack: SlackConfig = SlackConfig()
    learning: LearningConfig = LearningConfig()
    log: LogConfig = LogConfig()


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
