"""What is let through to the model, and in what shape: text and permissions."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from bot.admission import Admission, Admitted, Refused, clean
from bot.config import Config, LimitsConfig, PermissionsConfig
from bot.store import Store
from bot.types import ChannelKey, Message
from tests.bot.conftest import Talk, events_of, message

GENERAL = ChannelKey("discord", "7", "general")
DIRECT = ChannelKey("discord", "direct", "d1")


@pytest.mark.parametrize("text", ["", "   \n\t ", "\u200b\u200d\ufe0f", "\x00\x1b"])
def test_a_message_without_visible_text_is_answered_without_the_model(text: str) -> None:
    verdict = Admission(100).check(message(text))
    assert isinstance(verdict, Refused)
    assert "text" in verdict.answer


def test_our_own_words_are_passed_over_in_silence() -> None:
    verdict = Admission(100, own=["me"]).check(message("Hello", author="me"))
    assert verdict == Refused("own message")


def test_a_long_message_is_admitted_whole_with_a_note() -> None:
    verdict = Admission(100).check(message("a" * 101))
    assert isinstance(verdict, Admitted)
    assert len(verdict.message.text) == 101
    assert "101 characters" in verdict.note


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\tb", "a\tb"),
        ("family: 👩‍👧", "family: 👩‍👧"),
    ],
)
def test_text_is_made_fit_for_every_room(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    clean(text).encode("utf-8")


# Permissions


def there(
    author: str = "ada", channel: ChannelKey = GENERAL, *, private: bool = False,
    roles: tuple[str, ...] = (), within: tuple[str, ...] = (),
) -> Message:
    """Something said on a platform, with all that it tells about the person and the place."""
    said = message("Hello", channel, author)
    return replace(said, private=private, roles=roles, within=within)


def permitted(**permissions: object) -> Admission:
    """A door with these permissions."""
    return Admission(100, permissions=PermissionsConfig.model_validate(permissions))


def answered(said: Message, **permissions: object) -> bool:
    """Whether a message is admitted; where it is not, nothing must be said either."""
    verdict = permitted(**permissions).check(said)
    if isinstance(verdict, Refused):
        assert verdict.answer == ""
    return isinstance(verdict, Admitted)


def test_where_nothing_is_listed_everybody_is_answered_everywhere() -> None:
    assert answered(there())
    assert answered(there(channel=DIRECT, private=True))


def test_a_blocked_person_is_never_answered() -> None:
    assert not answered(there("eve"), users={"blocked_ids": ["eve"]})
    both = {"allowed_ids": ["eve"], "blocked_ids": ["eve"], "admin_ids": ["eve"]}
    assert not answered(there("eve"), users=both)
    assert not answered(there("eve", DIRECT, private=True), users={"blocked_ids": ["eve"]})
    assert answered(there("ada"), users={"blocked_ids": ["eve"]})


def test_blocked_people_neither_vote_nor_command_and_neither_do_those_who_are_not_listed() -> None:
    blocked = permitted(users={"blocked_ids": ("ada",)})
    assert [blocked.barred("discord", person) for person in ("ada", "bob")] == [True, False]
    assert not blocked.barred("console", "ada")
    listed = permitted(users={"allowed_ids": ("ada",), "admin_ids": ("eve",)})
    assert [listed.barred("slack", who) for who in ("ada", "bob", "eve")] == [False, True, False]
    roles = permitted(users={"allowed_ids": ("ada",)}, roles={"allowed_ids": ("r1",)})
    assert not roles.barred("discord", "bob"), "a role of theirs may be among those allowed"


def test_where_people_are_listed_only_they_are_answered() -> None:
    assert answered(there("ada"), users={"allowed_ids": ["ada"]})
    assert not answered(there("bob"), users={"allowed_ids": ["ada"]})


def test_where_roles_are_listed_one_of_them_is_enough() -> None:
    roles = {"allowed_ids": ["staff", "friends"]}
    assert answered(there(roles=("everyone", "friends")), roles=roles)
    assert not answered(there(roles=("everyone",)), roles=roles)


def test_where_people_and_roles_are_listed_either_is_enough() -> None:
    lists = {"users": {"allowed_ids": ["ada"]}, "roles": {"allowed_ids": ["staff"]}}
    assert answered(there("ada"), **lists)
    assert answered(there("bob", roles=("staff",)), **lists)
    assert not answered(there("bob", roles=("guests",)), **lists)


def test_a_blocked_role_wins_over_an_allowed_one_and_over_an_allowed_person() -> None:
    roles = {"allowed_ids": ["staff"], "blocked_ids": ["muted"]}
    assert not answered(there(roles=("staff", "muted")), roles=roles)
    assert not answered(
        there("ada", roles=("muted",)), roles=roles, users={"allowed_ids": ["ada"]}
    )


def test_where_channels_are_listed_only_they_are_answered_in() -> None:
    assert answered(there(), channels={"allowed_ids": ["general"]})
    assert not answered(there(), channels={"allowed_ids": ["other"]})
    assert not answered(there(), channels={"blocked_ids": ["general"]})


def test_a_thread_counts_as_its_channel() -> None:
    thread = there(channel=replace(GENERAL, channel="thread"), within=("general", "category"))
    assert answered(thread, channels={"allowed_ids": ["general"]})
    assert not answered(thread, channels={"blocked_ids": ["general"]})


def test_a_category_stands_for_its_channels_and_blocked_wins_over_allowed() -> None:
    said = there(within=("category",))
    assert answered(said, channels={"allowed_ids": ["category"]})
    assert not answered(said, channels={"blocked_ids": ["category"]})
    assert not answered(
        said, channels={"allowed_ids": ["category"], "blocked_ids": ["general"]}
    )


@pytest.mark.parametrize("channel", [DIRECT, ChannelKey("slack", "T1", "D1")])
def test_lists_of_channels_do_not_concern_direct_messages(channel: ChannelKey) -> None:
    said = there(channel=channel, private=True, within=(channel.channel,))
    assert answered(said, channels={"allowed_ids": ["general"]})
    assert not answered(said, users={"allowed_ids": ["bob"]})


@pytest.mark.parametrize("channel", [GENERAL, ChannelKey("slack", "T1", "G1")])
def test_a_private_channel_is_no_direct_message(channel: ChannelKey) -> None:
    assert not answered(there(channel=channel, private=True), channels={"allowed_ids": ["x"]})


def test_where_only_roles_are_listed_a_direct_message_shows_none() -> None:
    said = there(channel=DIRECT, private=True)
    assert not answered(said, roles={"allowed_ids": ["staff"]})
    assert answered(said, roles={"allowed_ids": ["staff"]}, users={"allowed_ids": ["ada"]})


def test_an_admin_is_answered_whatever_roles_and_channels_say() -> None:
    assert answered(
        there("ada", roles=("muted",)),
        users={"admin_ids": ["ada"], "allowed_ids": ["bob"]},
        roles={"blocked_ids": ["muted"]},
        channels={"allowed_ids": ["other"], "blocked_ids": ["general"]},
    )


@pytest.mark.parametrize("platform", ["console", "simulate"])
def test_the_operators_own_platforms_know_neither_permissions_nor_limits(platform: str) -> None:
    door = Admission(
        100,
        permissions=PermissionsConfig.model_validate({"users": {"allowed_ids": ["nobody"]}}),
        limits=LimitsConfig(user_per_minute=1, guild_per_minute=1),
    )
    here = ChannelKey(platform, "local", "main")
    assert all(isinstance(door.check(message("Hi", here)), Admitted) for _ in range(5))


def test_why_a_message_is_refused_is_in_the_log_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "bot.admission"):
        assert not answered(there("eve"), users={"blocked_ids": ["eve"]})
    assert "the person is blocked" in caplog.text
    assert "Hello" not in caplog.text


async def test_a_person_who_is_not_permitted_hears_nothing_and_is_not_on_record(
    talk: Talk, store: Store, config: Config
) -> None:
    permissions = PermissionsConfig.model_validate({"users": {"blocked_ids": ["eve"]}})
    strict = config.model_copy(update={"permissions": permissions})
    assert await events_of(talk(strict), there("eve")) == []
    assert await store.history(GENERAL) == []
    assert await store.waiting_messages("discord") == []
