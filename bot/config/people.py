"""The keys of who may talk with the bot, how often, and where.

Only keys and what people read about them; `bot.admission` and `bot.limits` apply them.
"""

from __future__ import annotations

from bot.config.sections import Count, Section


class UsersConfig(Section):
    """Which people the bot obeys and talks to, by their ids; an empty list is everybody.

    Ids are written as text: a Discord id is the long number behind "Copy ID" (developer
    mode), a Slack id begins with U (a person) or C (a channel).
    """

    admin_ids: tuple[str, ...] = ()
    """Who owns the bot: /learn is theirs. Empty: the owner of the Discord application, the owners
    of the Slack workspace."""
    allowed_ids: tuple[str, ...] = ()
    """The only people the bot answers; where no roles are listed, the only ones who vote."""
    blocked_ids: tuple[str, ...] = ()
    """People the bot never answers, and whose votes and commands it does not take."""


class RolesConfig(Section):
    """Which roles the bot talks to, by their ids."""

    allowed_ids: tuple[str, ...] = ()
    """The only roles the bot answers."""
    blocked_ids: tuple[str, ...] = ()
    """Roles the bot never answers."""


class ChannelsConfig(Section):
    """Where the bot talks, by the ids of channels and categories."""

    allowed_ids: tuple[str, ...] = ()
    """The only channels or categories the bot answers in; threads count as their channel."""
    blocked_ids: tuple[str, ...] = ()
    """Channels or categories the bot never answers in."""


class PermissionsConfig(Section):
    """Who may talk with the bot, and where; nothing listed is everybody."""

    users: UsersConfig = UsersConfig()
    roles: RolesConfig = RolesConfig()
    channels: ChannelsConfig = ChannelsConfig()


class LimitsConfig(Section):
    """How often the bot answers.

    The terminal has no limits, nor has whoever stands in permissions.users.admin_ids.
    """

    user_per_minute: Count = 12
    """Messages a minute that one person is answered; 0 sets no limit."""
    guild_per_minute: Count = 120
    """Messages a minute that one server is answered, direct messages aside; 0 sets no limit."""
