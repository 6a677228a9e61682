"""Replies that appear while they are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.conversation import Reply, ReplyEvent, TextDelta
from bot.platforms.live import LiveReply, Messages, PostError

NEVER = 3600.0


class Wall:
    """Where messages are written, and everything that happened there."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.calls: list[str] = []
        self.changed = asyncio.Event()
        self.refuses = False

    async def post(self, text: str) -> str:
        self._take("post", f"m{len(self.said)}", text)
        return f"m{len(self.said) - 1}"

    async def edit(self, platform_id: str, text: str) -> None:
        self._take("edit", platform_id, text)

    def _take(self, call: str, platform_id: str, text: str) -> None:
        self.calls.append(call)
        if self.refuses:
            raise PostError("no permission")
        self.said[platform_id] = text
        self.changed.set()


async def test_the_first_words_are_posted_at_once_and_the_end_is_shown() -> None:
    wall = Wall()
    ids: list[str] = []
    paper = Messages(wall, limit=2000, posted=ids.append)

    async def events() -> AsyncIterator[ReplyEvent]:
        yield TextDelta("Hello")
        await wall.changed.wait()
        assert wall.said == {"m0": "Hello"}
        for word in (" there,", " how", " are you?"):
            yield TextDelta(word)
        yield Reply("Hello there, how are you?", 7)

    reply = await LiveReply(paper, interval=NEVER).follow(events())
    assert reply is not None
    assert wall.said == {"m0": "Hello there, how are you?"}
    assert wall.calls == ["post", "edit"]
    assert paper.ids == tuple(ids) == ("m0",)


async def test_a_long_reply_goes_on_in_further_messages() -> None:
    wall = Wall()
    live = LiveReply(Messages(wall, limit=100), interval=0.0)
    text = " ".join(f"word{n}" for n in range(60))

    async def events() -> AsyncIterator[ReplyEvent]:
        for start in range(0, len(text), 25):
            yield TextDelta(text[start : start + 25])
            await asyncio.sleep(0)
        yield Reply(text, 7)

    await live.follow(events())
    assert " ".join(wall.said.values()) == text
    assert len(wall.said) > 3


async def test_of_something_said_instead_of_a_long_reply_no_further_message_keeps_words() -> None:
    wall = Wall()
    paper = Messages(wall, limit=100)
    await paper.show("word " * 50)
    assert len(paper.ids) == 3
    await paper.show("I would rather not say.")
    assert [*wall.said.values()] == ["I would rather not say.", "…", "…"]


async def test_what_is_said_besides_stands_below_the_reply() -> None:
    wall = Wall()

    async def events() -> AsyncIterator[ReplyEvent]:
        yield Reply("Yes.", 7, note="I read the beginning.")

    await LiveReply(Messages(wall, limit=2000), interval=NEVER).follow(events())
    assert wall.said == {"m0": "Yes.\n\n*I read the beginning.*"}


async def test_silence_posts_nothing() -> None:
    async def events() -> AsyncIterator[ReplyEvent]:
        return
        yield

    wall = Wall()
    assert await LiveReply(Messages(wall, limit=2000), interval=NEVER).follow(events()) is None
    assert wall.calls == []


async def test_a_platform_that_refuses_is_tried_again_at_the_end_only_and_then_told_of() -> None:
    wall = Wall()
    wall.refuses = True

    async def events() -> AsyncIterator[ReplyEvent]:
        for _ in range(20):
            yield TextDelta("word ")
            await asyncio.sleep(0)
        yield Reply("word", 7)

    with pytest.raises(PostError):
        await LiveReply(Messages(wall, limit=2000), interval=0.0).follow(events())
    assert wall.calls == ["post", "post"]
