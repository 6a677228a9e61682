"""Discord's bit fields: the intents of a client and the permissions of a member."""

from __future__ import annotations

import enum


class Intent(enum.IntFlag):
    """What a client asks to be told, as in the identify payload."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


class Permission(enum.IntFlag):
    """The permissions that this server looks at; others pass through as bits."""

    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38


NOTHING = Permission(0)
EVERYTHING = Permission((1 << 50) - 1)
USUAL = (
    Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.CREATE_PUBLIC_THREADS | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS | Permission.EMBED_LINKS | Permission.ATTACH_FILES
    | Permission.USE_APPLICATION_COMMANDS
)
"""What everybody may do on a guild as it is made."""


def permissions(names: tuple[str, ...]) -> Permission:
    """The bits of permissions named as discord.py names them, such as ``send_messages``."""
    bits = Permission(0)
    for name in names:
        bits |= Permission[name.upper()]
    return bits
