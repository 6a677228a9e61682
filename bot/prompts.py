"""What the model is shown in a turn: the window over a channel's log, and examples.

With `memory.enabled` the system turn also holds liked exchanges of the channel that
resemble the question. One read of the store a turn says what is liked now by people who
consent, so what no longer qualifies is gone from the next prompt, and a new like may be in
it. Every other set of examples is another beginning, which costs one prefill of the
channel's history; so chosen examples stay, and are chosen again only where

* the prompt is rendered anew anyway: at the start, after a reset, when it was trimmed, after
  a restart, and after `memory.silence_minutes` without a question, or
* one of them no longer qualifies: its vote or a consent was withdrawn, its question was
  edited, deleted or forgotten, or
* an exchange that came to be liked since then would be among those chosen for the question.

An example never takes the question's room: where both do not fit, there is none. Which
exchanges qualify is for `bot.store` to say, what resembles what for `bot.memory`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from bot.config import Config
from bot.engine.base import Engine
from bot.errors import PromptTooLong
from bot.history import ChannelLog, Line, Prompt, Window
from bot.marks import marks
from bot.memory import Recalled, choose, with_examples
from bot.moderation import Moderation
from bot.store import Store
from bot.types import ChannelKey, Example, FinishReason

CHARACTERS = 10
"""Longest example that is read, in characters for each token of the budget."""


class Prompts:
    """Makes the prompts of all channels."""

    def __init__(
        self, engine: Engine, store: Store, config: Config, moderation: Moderation,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._memory = config.memory
        self._learning = config.learning
        self._known = marks(config.conversation.persona)
        self._moderation = moderation
        self._clock = clock
        self._template = engine.template
        context = engine.info.context
        reserve = min(config.sampling.max_tokens, max(1, context // 2))
        self.sampling = replace(
            config.sampling.settings(engine.template.encode), max_tokens=reserve
        )
        """How replies to these prompts are drawn, in the tokens that are left for them."""
        self._ends = frozenset(engine.info.end_ids)
        budget = context - reserve
        if config.conversation.history_tokens:
            budget = min(budget, config.conversation.history_tokens)
        self._window = Window(engine.template, engine.info.end_ids, budget)
        self._budget = min(config.memory.tokens, budget // 4)

    async def prompt(self, channel: ChannelKey, log: ChannelLog, persona: str) -> Prompt:
        """The prompt that shows a channel's log, whose last line is the question.

        Raises:
            PromptTooLong: not even the persona and one word fit.
            StoreError: what is liked could not be read.
        """
        if self._memory.enabled:
            prompt = await self._with_examples(channel, log, persona)
            if prompt is not None:
                return prompt
        return await asyncio.to_thread(self._window.prompt, log, persona)

    def answered(
        self, prompt: Prompt, reply: str, ids: Sequence[int], finish: FinishReason
    ) -> ChannelLog:
        """The channel's log once the model has replied.

        A stop text was sampled but never said: the next prompt does not continue its ids.
        """
        cut = finish == "stop" and ids[-1] not in self._ends
        return prompt.answered(reply, () if cut else ids)

    async def _with_examples(
        self, channel: ChannelKey, log: ChannelLog, persona: str
    ) -> Prompt | None:
        """The prompt with the examples that stand or with others; None where none has room."""
        characters = CHARACTERS * self._budget
        liked = await self._store.liked(channel, self._learning, characters, self._known)
        was, now = log.recalled, self._clock()
        kept = await asyncio.to_thread(self._shown, log, persona, was.examples)
        if kept is None:
            return None
        silence = timedelta(minutes=self._memory.silence_minutes)
        stands = kept.continued and was.holds(liked, now, silence)
        newer = was.newer(liked)
        if stands and not newer:
            return replace(kept, recalled=was.shown(now))
        chosen = await self._chosen(kept.lines, liked)
        if stands and newer.isdisjoint(one.exchange_id for one in chosen):
            return replace(kept, recalled=was.shown(now))
        recalled = Recalled(chosen, frozenset(one.exchange_id for one in liked), now)
        if chosen == was.examples:
            return replace(kept, recalled=recalled)
        left = replace(log, lines=kept.lines)
        prompt = await asyncio.to_thread(self._shown, left, persona, chosen)
        return None if prompt is None else replace(prompt, recalled=recalled)

    async def _chosen(
        self, lines: Sequence[Line], liked: Sequence[Example]
    ) -> tuple[Example, ...]:
        """The examples for the question at the end of `lines`; none that is shown there."""
        chosen = await asyncio.to_thread(self._similar, lines, liked)
        # The operator's own check may be younger than the reply.
        verdicts = [await self._moderation.judged(one.reply) for one in chosen]
        return tuple(one for one, why in zip(chosen, verdicts, strict=True) if why is None)

    def _similar(self, lines: Sequence[Line], liked: Sequence[Example]) -> tuple[Example, ...]:
        asked: dict[str, list[str]] = {}
        for question, reply in pairwise(lines):
            if reply.role == "assistant":
                asked.setdefault(reply.content, []).append(question.content)
        absent = [
            one for one in liked
            if not any(said.endswith(one.question) for said in asked.get(one.reply, ()))
            and self._moderation.found(one.reply) is None
        ]  # fmt: skip
        return choose(lines[-1].content, absent, self._memory.examples, self._fits)

    def _fits(self, text: str) -> bool:
        return len(self._template.encode(text)) <= self._budget

    def _shown(
        self, log: ChannelLog, persona: str, examples: Sequence[Example]
    ) -> Prompt | None:
        """The prompt with these examples; None where they would cut the question short."""
        try:
            prompt = self._window.prompt(log, with_examples(persona, examples))
        except PromptTooLong:
            if examples:
                return None
            raise
        return None if examples and prompt.shortened else prompt
