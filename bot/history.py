"""What a channel has said, as turns and as the exact token ids the model has seen.

A channel's log only grows: the next prompt is the last prompt, the generated ids themselves
and the tokens of what the template puts after them, so that the engine finds its kept
prefix again (decode -> encode is not the identity). Where the text of the template does not
continue what was seen, everything is rendered anew: always right, it only loses reuse.
A prompt over budget loses its oldest whole turns until about half the budget is left, so
that one long prefill buys many short ones.

Nothing here does I/O or knows an engine, a platform or a database: turns come from
`bot.store` after a restart and from `bot.conversation` afterwards, and a log is a frozen
value, so that a reply that fails leaves the old one as it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from bot.engine.base import Template
from bot.errors import PromptTooLong
from bot.memory import NOTHING, Recalled
from bot.types import ChannelKey, Role, Turn

ELLIPSIS = " […]"
"""Stands where the end of a message was cut for the model."""


class PastTurn(Protocol):
    """A turn as the store gives it back."""

    @property
    def role(self) -> Role:
        """Who spoke."""

    @property
    def content(self) -> str:
        """What was said."""

    @property
    def author(self) -> str | None:
        """The platform's id of the person; None for a reply."""


@dataclass(frozen=True, slots=True)
class Line:
    """A turn and whose words it holds; several people's, when they spoke in a row."""

    role: Role
    content: str
    authors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelLog:
    """A channel's turns without the persona, and what the model has seen of them."""

    lines: tuple[Line, ...] = ()
    ids: tuple[int, ...] = ()
    """Ids of the last prompt and its reply; empty when nothing can be continued."""
    text: str = ""
    """The text that `ids` stand for."""
    recalled: Recalled = NOTHING
    """The examples that `ids` begin with, behind the persona."""

    def heard(self, author: str, text: str) -> ChannelLog:
        """The log with something a person said; it joins a question still unanswered."""
        if not self.lines or self.lines[-1].role != "user":
            return replace(self, lines=(*self.lines, Line("user", text, (author,))))
        last = self.lines[-1]
        authors = last.authors if author in last.authors else (*last.authors, author)
        joined = Line("user", f"{last.content}\n{text}", authors)
        return replace(self, lines=(*self.lines[:-1], joined))

    def said(self, text: str) -> ChannelLog:
        """The log with a reply whose ids are not known; nothing can be continued.

        It joins the reply before it where the question between them was deleted.
        """
        if not text or not self.lines:
            return self
        last = self.lines[-1]
        if last.role == "assistant":
            return ChannelLog((*self.lines[:-1], replace(last, content=f"{last.content}\n{text}")))
        return ChannelLog((*self.lines, Line("assistant", text)))


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is about to be shown."""

    turns: tuple[Turn, ...]
    """Persona first, the question last."""
    ids: tuple[int, ...]
    text: str
    lines: tuple[Line, ...]
    continued: bool
    """True when `ids` continue what the model has seen of this channel."""
    shortened: bool
    """True when the question itself had to be cut to fit."""
    recalled: Recalled = NOTHING
    """The examples behind the persona."""

    @property
    def authors(self) -> tuple[str, ...]:
        """Everyone whose words are in the prompt, in order of appearance."""
        spoken = (author for line in self.lines for author in line.authors)
        return tuple(dict.fromkeys((*self.recalled.authors, *spoken)))

    def answered(self, reply: str, reply_ids: Sequence[int]) -> ChannelLog:
        """The channel's log once the model has replied; an empty reply leaves a question.

        Without ids nothing can be continued.
        """
        if not reply or not reply_ids:
            return ChannelLog(self.lines).said(reply)
        lines = (*self.lines, Line("assistant", reply))
        return ChannelLog(lines, (*self.ids, *reply_ids), self.text + reply, self.recalled)


def restored(turns: Iterable[PastTurn], limit: int) -> ChannelLog:
    """A log from stored turns, oldest first; people's messages cut to `limit` characters."""
    log = ChannelLog()
    for turn in turns:
        if turn.role == "user":
            log = log.heard(turn.author or "", clipped(turn.content, limit))
        else:
            log = log.said(turn.content)
    return log


def clipped(text: str, limit: int) -> str:
    """`text`, cut to `limit` characters with a mark at the end when it is longer."""
    return text if len(text) <= limit else text[:limit].rstrip() + ELLIPSIS


class Window:
    """Makes prompts that fit: the template, the ids that end a reply, and a budget."""

    def __init__(self, template: Template, end_ids: Iterable[int], budget: int) -> None:
        self._template = template
        self._end_ids = frozenset(end_ids)
        self.budget = budget
        """Most tokens a prompt may have."""

    def prompt(self, log: ChannelLog, persona: str) -> Prompt:
        """The prompt that shows `log`, whose last line is the question.

        Takes some milliseconds a thousand tokens; safe to call on any thread.

        Raises:
            PromptTooLong: not even the persona and one word fit.
        """
        turns = _turns(log.lines, persona)
        text = self._template.render(turns, reply_follows=True)
        ids = self._continuation(log, text)
        if ids is not None and len(ids) <= self.budget:
            return Prompt(turns, ids, text, log.lines, continued=True, shortened=False)
        prompt = self._fresh(log.lines, persona)
        if len(prompt.ids) <= self.budget:
            return prompt
        return self._trimmed(log.lines, persona)

    def _continuation(self, log: ChannelLog, text: str) -> tuple[int, ...] | None:
        """The ids seen so far and those of the text after them, where they fit together."""
        if not log.ids or not text.startswith(log.text):
            return None
        rest = self._template.encode(text[len(log.text) :])
        if log.ids[-1] in self._end_ids:
            if rest[:1] != [log.ids[-1]]:
                return None
            rest = rest[1:]
        return (*log.ids, *rest)

    def _fresh(self, lines: tuple[Line, ...], persona: str) -> Prompt:
        turns = _turns(lines, persona)
        text = self._template.render(turns, reply_follows=True)
        ids = tuple(self._template.encode(text))
        return Prompt(turns, ids, text, lines, continued=False, shortened=False)

    def _trimmed(self, lines: tuple[Line, ...], persona: str) -> Prompt:
        """Without the oldest turns: the most that fit half the budget, at least the question."""
        starts = [index for index, line in enumerate(lines) if line.role == "user"]
        low, high = 0, len(starts) - 1
        while low < high:
            middle = (low + high) // 2
            if len(self._fresh(lines[starts[middle] :], persona).ids) <= self.budget // 2:
                high = middle
            else:
                low = middle + 1
        prompt = self._fresh(lines[starts[low] :], persona)
        return prompt if len(prompt.ids) <= self.budget else self._shortened(lines[-1], persona)

    def _shortened(self, question: Line, persona: str) -> Prompt:
        """As much of the question's beginning as fits."""
        low, high = 0, len(question.content)
        while high - low > 1:
            middle = (low + high) // 2
            if len(self._fresh((_cut(question, middle),), persona).ids) <= self.budget:
                low = middle
            else:
                high = middle
        prompt = self._fresh((_cut(question, low),), persona)
        if not low or len(prompt.ids) > self.budget:
            raise PromptTooLong(
                f"the persona leaves no room for a question in {self.budget} tokens; shorten it "
                "with /persona or conversation.persona in config.toml"
            )
        return replace(prompt, shortened=True)


class ChannelLogs:
    """The logs of the channels that spoke last, in memory; the others are in the store."""

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._logs: OrderedDict[ChannelKey, ChannelLog] = OrderedDict()
        self._in_turn: dict[ChannelKey, bool] = {}

    @contextmanager
    def turn(self, channel: ChannelKey) -> Iterator[None]:
        """Around one turn of a channel: once the log is dropped in it, nothing is put back.

        What the turn began with would bring back what the drop was for.
        """
        self._in_turn[channel] = True
        try:
            yield
        finally:
            del self._in_turn[channel]

    def get(self, channel: ChannelKey) -> ChannelLog | None:
        """A channel's log, if it is in memory."""
        if channel in self._logs:
            self._logs.move_to_end(channel)
        return self._logs.get(channel)

    def put(self, channel: ChannelKey, log: ChannelLog) -> None:
        """Keep a channel's log; the one unused for longest makes room."""
        if not self._in_turn.get(channel, True):
            return
        self._logs[channel] = log
        self._logs.move_to_end(channel)
        while len(self._logs) > self._limit:
            self._logs.popitem(last=False)

    def drop(self, channel: ChannelKey) -> None:
        """Forget a channel's log; the next message restores it from the store."""
        self._logs.pop(channel, None)
        if channel in self._in_turn:
            self._in_turn[channel] = False

    def __len__(self) -> int:
        return len(self._logs)


def _turns(lines: Sequence[Line], persona: str) -> tuple[Turn, ...]:
    spoken = tuple(Turn(line.role, line.content) for line in lines)
    return (Turn("system", persona), *spoken) if persona else spoken


def _cut(line: Line, length: int) -> Line:
    return replace(line, content=line.content[:length].rstrip() + ELLIPSIS)
