"""What must not be said is not said, not even in part."""

from __future__ import annotations

import string
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from bot.config import Config, ModerationConfig
from bot.conversation import Conversation, Reply
from bot.engine.base import Delta
from bot.engine.local import LocalEngine
from bot.errors import ConfigError
from bot.excuses import WITHHELD
from bot.moderation import Moderation, Withheld
from bot.store import Store
from tests.bot.conftest import CHANNEL, OTHER, Talk, ask, config_of, events_of, message


def shouting(text: str) -> str | None:
    """An operator's classifier, for the tests."""
    return "shouting" if text.isupper() else None


CLASSIFIER = f"{__name__}:shouting"


async def shown(moderation: Moderation, parts: Sequence[str]) -> tuple[str, str]:
    """What people get to see of a reply, and why it ended early."""
    closed = False

    async def reply() -> AsyncGenerator[Delta, None]:
        nonlocal closed
        try:
            for part in parts[:-1]:
                yield Delta((1,), part)
            yield Delta((1,), parts[-1], "stop")
        finally:
            closed = True

    seen = ""
    try:
        async for delta in moderation.screen(reply()):
            seen += delta.text
    except Withheld as reason:
        assert closed
        return seen, str(reason)
    return seen, ""


async def test_a_forbidden_word_is_not_shown_not_even_in_part() -> None:
    moderation = Moderation(ModerationConfig(words=("darn",)))
    assert await shown(moderation, ["Oh, da", "r", "n that"]) == ("Oh, ", "the word 'darn'")
    assert await shown(moderation, ["Oh, DA", "RN"]) == ("Oh, ", "the word 'darn'")
    assert await shown(moderation, ["A darn", "ing needle"]) == ("A darning needle", "")


async def test_patterns_are_searched_for_and_what_is_fine_is_shown_whole() -> None:
    moderation = Moderation(ModerationConfig(patterns=(r"\d{3}-\d{4}",)))
    assert (await shown(moderation, ["call 555", "-12", "34 now"]))[1]
    assert await shown(moderation, ["call ", "me", " "]) == ("call me ", "")


async def test_a_classifier_of_the_operator_sees_the_whole_reply_before_anybody_else() -> None:
    moderation = Moderation(ModerationConfig(classifier=CLASSIFIER))
    assert await shown(moderation, ["OH ", "NO"]) == ("", "shouting")
    assert await shown(moderation, ["OH ", "no"]) == ("OH no", "")


async def test_without_rules_every_piece_is_shown_at_once() -> None:
    assert await shown(Moderation(ModerationConfig()), ["a", "b"]) == ("ab", "")


@pytest.mark.parametrize(
    "rules", [{"patterns": ("(",)}, {"classifier": "nowhere:at_all"}, {"classifier": "os:name"}]
)
def test_a_rule_that_cannot_be_used_is_named(rules: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"moderation\.(patterns|classifier)"):
        Moderation(ModerationConfig.model_validate(rules))


async def test_a_withheld_reply_is_told_to_the_operator_and_nothing_of_it_is_kept(
    talk: Talk, store: Store, engine: LocalEngine, folder: Path
) -> None:
    config = Config.model_validate({
        **config_of(folder).model_dump(), "moderation": {"patterns": ["."]},
    })
    conversation: Conversation = talk(config)
    events = await events_of(conversation, message("Hello"))
    assert events == [Reply(WITHHELD, finish="error")]
    assert await store.last_exchange(CHANNEL) is None
    (told,) = await store.events("withheld")
    assert told.data == {"channel": str(CHANNEL), "reason": "the pattern '.'"}
    assert await conversation.unanswered(CHANNEL.platform) == []


async def test_what_the_rules_allow_is_said_as_without_them(talk: Talk, folder: Path) -> None:
    plain = await ask(talk(), "Hello there")
    config = Config.model_validate({
        **config_of(folder).model_dump(), "moderation": {"words": [string.ascii_letters]},
    })
    assert (await ask(talk(config), "Hello there", OTHER)).text == plain.text
