"""What the bot must not say: words, patterns, and whatever an operator's own check finds.

A reply is looked at before anybody sees it. While it grows, the last word is held back
until it is whole, so that no part of a forbidden word is shown; what is found ends the
reply. The same rules say what may not be learned from. The module knows text only, and
neither who asked nor what is said instead.

Words are found whole and whatever their case; patterns are regular expressions, searched
without regard to case; the classifier is a function of the operator's, ``package.module:name``,
that is given the whole reply and returns a reason or None.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from bot.config import ModerationConfig
from bot.engine.base import Delta
from bot.errors import ConfigError, RapportError

Classifier = Callable[[str], str | None]

_LAST_WORD = re.compile(r"\S*\Z")


class Withheld(RapportError):
    """A reply that must not be shown; the message says which rule it broke."""


class Moderation:
    """The rules of one installation."""

    def __init__(self, config: ModerationConfig) -> None:
        """Compile the rules.

        Raises:
            ConfigError: a pattern is not a regular expression, or there is no such classifier.
        """
        words = [re.escape(word.strip()) for word in config.words if word.strip()]
        self._rules = [(f"the word {word!r}", _compiled(rf"(?<!\w){word}(?!\w)")) for word in words]
        self._rules += [(f"the pattern {one!r}", _compiled(one)) for one in config.patterns if one]
        self._classifier = _classifier(config.classifier) if config.classifier else None

    def found(self, text: str) -> str | None:
        """The word or pattern that stands in a text, or None."""
        return next((name for name, rule in self._rules if rule.search(text)), None)

    async def judged(self, text: str) -> str | None:
        """Why a whole text must not be said, the classifier's opinion included, or None."""
        reason = self.found(text)
        if reason is None and self._classifier is not None and text:
            # Somebody else's code, which may compute: not on the event loop.
            reason = await asyncio.to_thread(self._classifier, text)
        return reason

    async def screen(self, deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
        """The pieces of a reply, as far as they may be shown.

        With a classifier nothing is shown before the reply is whole, because only then can it
        be judged.

        Raises:
            Withheld: the reply breaks a rule; the stream behind it is closed.
        """
        if not self._rules and self._classifier is None:
            async with aclosing(deltas) as plain:
                async for delta in plain:
                    yield delta
            return
        said = shown = ""
        async with aclosing(deltas) as source:
            async for delta in source:
                said += delta.text
                over = delta.finish is not None
                whole = said if over else _without_last_word(said)
                reason = await self.judged(said) if over else self.found(whole)
                if reason is not None:
                    raise Withheld(reason)
                if self._classifier is None or over:
                    yield replace(delta, text=whole[len(shown) :])
                    shown = whole
                else:
                    yield replace(delta, text="")


def _without_last_word(text: str) -> str:
    last = _LAST_WORD.search(text)
    return text[: last.start()] if last is not None else text


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"moderation.patterns: {pattern!r} is not a pattern: {error}") from error


def _classifier(name: str) -> Classifier:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"moderation.classifier: {name!r} is not to be found ({error}); write it as "
            "package.module:function"
        ) from error
    if not callable(found):
        raise ConfigError(f"moderation.classifier: {name!r} is not a function")
    classifier: Classifier = found
    return classifier
