"""Turns to the text the model is shown, and ids back to text.

Works from the tokenizer's own chat template; a model without one gets a plain template:
every turn followed by the end-of-text mark, and nothing before it (as DialoGPT was
trained). What people write is defused: a mark of the template inside their words is
broken with a space, so that typing ``<|end|>`` ends nothing. Knows no channel and no
history; those decide which turns are shown.

The fast tokenizer's own encode and decode are used, because the wrapper around them
changes shared state on every call and fails when two threads meet there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from bot.errors import EngineError, ModelError
from bot.types import Turn

PLAIN = "{% for m in messages %}{{ m['content'] + (eos_token or '\\n') }}{% endfor %}"
"""The template of models that bring none."""

BROKEN_PREFIX = (
    "the chat template rewrites earlier turns, so little of a conversation can be reused "
    "between replies and answers start later; a model with an append-only template is faster"
)


class ChatTemplate:
    """The `Template` of a loaded tokenizer; safe to use from any thread."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                "the model has no fast tokenizer; convert it so that it has a tokenizer.json"
            )
        self.tokenizer = tokenizer
        self._backend: Any = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self.plain = not tokenizer.chat_template
        self._source = PLAIN if self.plain else None
        self._marks = _pattern(marks(tokenizer))
        self._system = self._accepts(Turn("system", "s"), Turn("user", "u"))
        self._repeats = self._accepts(Turn("user", "a"), Turn("user", "b"))

    def render(self, turns: Sequence[Turn], *, reply_follows: bool = True) -> str:
        """The text the model is shown; marks inside the turns' words are defused.

        Raises:
            EngineError: the template refuses these turns.
        """
        safe = [Turn(turn.role, self.defuse(turn.content)) for turn in turns]
        try:
            return self._apply(self._fit(safe), reply_follows)
        except TemplateError as error:
            raise EngineError(f"the model's chat template refuses these turns: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text, marks recognised, nothing added."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, marks left out."""
        return str(self._backend.decode(list(ids), skip_special_tokens=True))

    def defuse(self, words: str) -> str:
        """Break every mark inside someone's words, so that it is read as plain text."""
        if self._marks is None:
            return words
        while self._marks.search(words):
            words = self._marks.sub(_split, words)
        return words

    def keeps_prefix(self) -> bool:
        """Whether a longer conversation starts with the shorter one, letter for letter."""
        turns = [Turn("system", "Be kind."), Turn("user", "How are you?")]
        for said, asked in (("Fine, thanks.", "And now?"), ("Still fine.", "Good.")):
            shown = self.render(turns)
            turns += [Turn("assistant", said), Turn("user", asked)]
            if not self.render(turns).startswith(shown + said):
                return False
        return True

    def end_mark(self) -> int | None:
        """The id that the template puts behind a reply, if it is a mark of its own."""
        reply = "reply"
        text = self.render([Turn("user", "u"), Turn("assistant", reply)], reply_follows=False)
        after = text.rpartition(reply)[2].lstrip()
        ids = self.encode(after) if after else []
        special = set(self.tokenizer.all_special_ids)
        return ids[0] if ids and ids[0] in special else None

    def turn_marks(self, ends: Collection[int]) -> frozenset[int]:
        """Ids of the marks that open a person's, the system's or the model's own next turn.

        Args:
            ends: marks that only close what is before them.
        """
        turns = [Turn("system", "first-words"), Turn("user", "second-words"),
                 Turn("assistant", "third-words"), Turn("user", "fourth-words")]
        known = {self.tokenizer.convert_tokens_to_ids(mark) for mark in marks(self.tokenizer)}
        known -= {self.tokenizer.bos_token_id, *ends}
        between = re.split("|".join(turn.content for turn in turns), self.render(turns))[:-1]
        opened = ([one for one in self.encode(text) if one in known] for text in between)
        return frozenset(ids[0] for ids in opened if ids)

    def identity(self) -> str:
        """Vocabulary and template as text: equal means that equal turns give equal ids."""
        return f"{self._backend.to_str()}\n{self.tokenizer.chat_template or PLAIN}"

    def _apply(self, turns: Sequence[Turn], reply_follows: bool) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                chat_template=self._source,
                tokenize=False,
                add_generation_prompt=reply_follows,
                enable_thinking=False,
            )
        )

    def _accepts(self, *turns: Turn) -> bool:
        try:
            self._apply(turns, True)
        except TemplateError:
            return False
        return True

    def _fit(self, turns: Sequence[Turn]) -> list[Turn]:
        """Join what the template refuses to see apart: a system turn, two turns of one role."""
        joins = not (self._system and self._repeats)
        fitted: list[Turn] = []
        for turn in turns:
            role = "user" if turn.role == "system" and not self._system else turn.role
            if joins and fitted and fitted[-1].role == role:
                fitted[-1] = Turn(role, f"{fitted[-1].content}\n{turn.content}")
            else:
                fitted.append(Turn(role, turn.content))
        return fitted


def marks(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """Strings the tokenizer reads as one special token.

    Tokens added for spelling (runs of spaces, words) are not marks; they are told apart
    by how they begin.
    """
    added = {token for token in tokenizer.get_added_vocab() if token[:1] in "<[|"}
    return {mark for mark in added | set(tokenizer.all_special_tokens) if mark.strip()}


def _split(mark: re.Match[str]) -> str:
    """The mark with a space behind its first character; nothing if it is only one."""
    return f"{mark[0][0]} {mark[0][1:]}" if len(mark[0]) > 1 else ""


def _pattern(found: set[str]) -> re.Pattern[str] | None:
    longest_first = sorted(found, key=lambda mark: (-len(mark), mark))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
