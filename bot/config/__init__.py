"""The configuration as frozen values.

Every key has a default, so that no file at all is a valid configuration; the file is read
by `bot.config.file`. Secrets never live here: tokens come from the environment, where the
platforms read them. What stands below a key is what people read about it: `bot.config.settings`
makes `config.toml` and the table in the documentation of it. Each room's keys have a module of
their own; others import the names from here.
"""

from __future__ import annotations

from bot.config.gate import GateConfig
from bot.config.learning import LearningConfig, PreferenceConfig, ScheduleConfig, SftConfig
from bot.config.people import (
    ChannelsConfig,
    LimitsConfig,
    PermissionsConfig,
    RolesConfig,
    UsersConfig,
)
from bot.config.platforms import DiscordConfig, SlackConfig, VotesConfig
from bot.config.sections import Section
from bot.config.talking import (
    ConversationConfig,
    EngineConfig,
    LogConfig,
    MemoryConfig,
    ModelConfig,
    ModerationConfig,
    SamplingConfig,
)
from bot.config.taste import TasteConfig
from bot.config.tracking import TrackingConfig
from bot.config.watch import WatchConfig
from bot.config.web import WebConfig
from bot.config.weighing import ImplicitConfig, WeighingConfig

__all__ = [
    "ChannelsConfig",
    "Config",
    "ConversationConfig",
    "DiscordConfig",
    "EngineConfig",
    "GateConfig",
    "ImplicitConfig",
    "LearningConfig",
    "LimitsConfig",
    "LogConfig",
    "MemoryConfig",
    "ModelConfig",
    "ModerationConfig",
    "PermissionsConfig",
    "PreferenceConfig",
    "RolesConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "SftConfig",
    "SlackConfig",
    "TasteConfig",
    "TrackingConfig",
    "UsersConfig",
    "VotesConfig",
    "WatchConfig",
    "WebConfig",
    "WeighingConfig",
]


class Config(Section):
    """The whole configuration."""

    model: ModelConfig = ModelConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    conversation: ConversationConfig = ConversationConfig()
    memory: MemoryConfig = MemoryConfig()
    permissions: PermissionsConfig = PermissionsConfig()
    limits: LimitsConfig = LimitsConfig()
    moderation: ModerationConfig = ModerationConfig()
    votes: VotesConfig = VotesConfig()
    discord: DiscordConfig = DiscordConfig()
    slack: SlackConfig = SlackConfig()
    learning: LearningConfig = LearningConfig()
    web: WebConfig = WebConfig()
    log: LogConfig = LogConfig()
