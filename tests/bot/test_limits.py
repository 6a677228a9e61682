"""How many messages are let through, with a clock that the tests wind on."""

from __future__ import annotations

from dataclasses import replace

from bot.admission import Admission, Admitted, Refused
from bot.config import Config, LimitsConfig, PermissionsConfig
from bot.conversation import Reply
from bot.limits import MOST_BUCKETS, MOST_DECIDED, Rate
from bot.store import Store
from bot.types import ChannelKey, Message
from tests.bot.conftest import Talk, events_of, message

GENERAL = ChannelKey("discord", "7", "general")
DIRECT = ChannelKey("discord", "direct", "d1")


def there(author: str = "ada", channel: ChannelKey = GENERAL) -> Message:
    """Something said on a platform that has limits."""
    return replace(message("Hello", channel, author), private=channel.guild == "direct")


class Watch:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """An admission with limits, a clock of its own, and what it says to each message."""

    def __init__(self, person: int = 0, server: int = 0, admins: tuple[str, ...] = ()) -> None:
        self.watch = Watch()
        self._admission = Admission(
            100,
            permissions=PermissionsConfig.model_validate({"users": {"admin_ids": admins}}),
            limits=LimitsConfig(user_per_minute=person, guild_per_minute=server),
            clock=self.watch,
        )

    def says(self, said: Message) -> str | None:
        """None for an admitted message, else the answer, which may be silence."""
        verdict = self._admission.check(said)
        return verdict.answer if isinstance(verdict, Refused) else None

    def lets_in(self, *said: Message) -> int:
        """How many of these are admitted."""
        return sum(self.says(one) is None for one in said)


def test_a_burst_within_the_limit_is_answered_and_the_next_is_told_to_wait() -> None:
    door = Door(person=12)
    assert door.lets_in(*(there() for _ in range(12))) == 12
    assert door.says(there()) == "You are quick! Give me 5 seconds, then ask me again."


def test_a_flood_is_answered_once() -> None:
    door = Door(person=12)
    answers = []
    for _ in range(600):
        answers.append(door.says(there()))
        door.watch.now += 0.25
    assert answers.count(None) == 12 + 29  # a burst, then one in five seconds
    assert [answer for answer in answers if answer] == [
        "You are quick! Give me 2 seconds, then ask me again."
    ]


def test_a_flood_of_messages_without_text_is_answered_once_too() -> None:
    door = Door(person=2)
    answers = [door.says(replace(there(), text="")) for _ in range(5)]
    assert [bool(answer) for answer in answers] == [True, True, True, False, False]


def test_the_limit_recovers_message_by_message() -> None:
    door = Door(person=12)
    door.lets_in(*(there() for _ in range(13)))
    door.watch.now += 4.9
    assert door.lets_in(there()) == 0
    door.watch.now += 0.1
    assert door.lets_in(there(), there()) == 1
    door.watch.now += 15
    assert door.lets_in(*(there() for _ in range(5))) == 3


def test_who_has_kept_still_for_a_minute_is_told_politely_again() -> None:
    door = Door(person=3)
    for _ in range(2):
        assert [door.says(there()) for _ in range(3)] == [None] * 3
        assert door.says(there()) == "You are quick! Give me 20 seconds, then ask me again."
        assert door.says(there()) == ""
        door.watch.now += 60


def test_one_person_in_a_hurry_does_not_slow_the_others() -> None:
    door = Door(person=1)
    assert door.lets_in(there("ada"), there("ada"), there("bob")) == 2


def test_a_person_has_one_limit_in_all_channels_and_servers() -> None:
    door = Door(person=1)
    assert door.lets_in(there(), there(channel=DIRECT)) == 1


def test_a_server_has_a_limit_for_all_its_people_together() -> None:
    door = Door(server=60)
    assert door.lets_in(*(there(f"p{n}") for n in range(60))) == 60
    assert door.says(there("ada")) == (
        "Many people here are talking to me. Give me 1 second, then ask me again."
    )
    assert door.says(there("bob")) == ""
    assert door.lets_in(there("bob", replace(GENERAL, guild="8"))) == 1
    door.watch.now += 1
    assert door.lets_in(there("bob")) == 1


def test_direct_messages_of_many_people_do_not_share_a_limit() -> None:
    door = Door(person=1, server=1)
    said = [there(f"p{n}", replace(DIRECT, channel=f"d{n}")) for n in range(5)]
    assert door.lets_in(*said) == 5


def test_what_the_server_has_no_room_for_does_not_count_against_the_person() -> None:
    door = Door(person=1, server=1)
    assert door.lets_in(there("ada"), there("bob")) == 1
    assert door.lets_in(there("bob", replace(GENERAL, guild="8"))) == 1


def test_what_a_person_over_the_limit_says_does_not_count_against_the_server() -> None:
    door = Door(person=1, server=2)
    assert door.lets_in(there("eve"), there("eve"), there("eve"), there("ada")) == 2


def test_admins_are_not_limited_and_take_nothing_from_the_server() -> None:
    door = Door(person=1, server=1, admins=("ada",))
    assert door.lets_in(*(there("ada") for _ in range(9)), there("bob")) == 10


def test_a_limit_of_zero_is_none() -> None:
    assert Door().lets_in(*(there() for _ in range(500))) == 500


def test_who_is_not_permitted_takes_nothing_from_the_server() -> None:
    admission = Admission(
        100,
        permissions=PermissionsConfig.model_validate({"users": {"blocked_ids": ["eve"]}}),
        limits=LimitsConfig(guild_per_minute=1),
    )
    assert isinstance(admission.check(there("eve")), Refused)
    assert isinstance(admission.check(there("ada")), Admitted)


def test_a_second_delivery_has_the_fate_of_the_first_and_is_not_counted() -> None:
    door = Door(person=2)
    first, second, third = there(), there(), there()
    assert door.lets_in(first, first, first, second) == 4
    assert door.says(third)
    door.watch.now += 60
    assert door.says(third) == ""
    assert door.lets_in(there(), there()) == 2


def test_only_so_many_messages_are_remembered_for_their_second_delivery() -> None:
    door = Door(person=1)
    first = there("ada")
    assert door.lets_in(first, first) == 2
    for n in range(MOST_DECIDED):
        door.says(there(f"p{n}"))
    assert door.lets_in(first) == 0


def test_full_buckets_are_forgotten() -> None:
    watch = Watch()
    rate = Rate(12, watch)
    for n in range(100):
        rate.take(("discord", f"p{n}"))
        watch.now += 1
    assert len(rate) == 60
    watch.now += 60
    rate.take(("discord", "ada"))
    assert len(rate) == 1


def test_asking_how_long_to_wait_keeps_nothing() -> None:
    rate = Rate(12, Watch())
    assert rate.wait(("discord", "ada")) == 0
    assert len(rate) == 0


def test_more_people_than_there_is_room_for_push_out_the_longest_silent() -> None:
    rate = Rate(1, Watch())
    for n in range(MOST_BUCKETS + 50):
        rate.take(("discord", f"p{n}"))
    assert len(rate) == MOST_BUCKETS
    assert rate.wait(("discord", "p49")) == 0
    assert rate.wait(("discord", "p50")) == 60


def test_somebody_who_goes_on_talking_is_not_the_longest_silent() -> None:
    rate = Rate(2, Watch())
    rate.take(("discord", "ada"))
    rate.take(("discord", "bob"))
    rate.take(("discord", "ada"))
    for n in range(MOST_BUCKETS - 1):
        rate.take(("discord", f"p{n}"))
    assert rate.wait(("discord", "ada")) == 30


async def test_a_message_over_the_limit_is_answered_without_the_model_and_not_on_record(
    talk: Talk, store: Store, config: Config
) -> None:
    conversation = talk(config.model_copy(update={"limits": LimitsConfig(user_per_minute=1)}))
    assert await events_of(conversation, replace(there(), text="The first"))
    (reply,) = await events_of(conversation, replace(there(), text="The second"))
    assert isinstance(reply, Reply)
    assert "You are quick" in reply.text
    assert reply.exchange_id is None
    assert await events_of(conversation, replace(there(), text="The third")) == []
    said = [turn.content for turn in await store.history(GENERAL) if turn.role == "user"]
    assert said == ["The first"]
    assert await store.count_exchanges() == 1


async def test_the_same_delivery_twice_does_not_eat_into_the_limit(
    talk: Talk, store: Store, config: Config
) -> None:
    conversation = talk(config.model_copy(update={"limits": LimitsConfig(user_per_minute=2)}))
    said = there()
    assert await events_of(conversation, said)
    assert await events_of(conversation, said) == []
    assert await events_of(conversation, there())
    assert await store.count_exchanges() == 2
