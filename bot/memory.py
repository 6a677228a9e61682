"""Liked exchanges as examples: which of them resemble a question, and how they are written.

The words are those the built-in model was trained with. Questions are compared by their
words, weighted much as BM25 does it (Robertson and Zaragoza 2009): rare ones more, repeated
ones ever less. They are compared by the cosine, not by BM25's sum, which may put a shorter
question before the very same one. Nothing here knows a language: words are what stands
between spaces and marks, and scripts that write without spaces are cut into pairs of
characters.

Pure: no channel, no store, no model. What may be an example is for `bot.store` to say, and
when examples are chosen for `bot.prompts`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.types import Example

HEADING = "People liked these answers:"

SIMILAR = 0.3
"""Least similarity of an example, from 0 to 1; chosen by eye, not measured."""
SATURATION = 1.2
"""BM25's k1: how soon repeating a word adds nothing."""

# Thai, Lao and Tibetan; Burmese; Khmer; Japanese; Chinese; and Korean, which has spaces but
# glues its endings to the words.
_PAIRED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_PAIRED}]+|[^{_PAIRED}]+")
_PAIRS = re.compile(f"[{_PAIRED}]")


@dataclass(frozen=True, slots=True)
class Recalled:
    """The examples that a channel's prompt shows, and how they came to be chosen."""

    examples: tuple[Example, ...] = ()
    known: frozenset[int] = frozenset()
    """Ids of all exchanges that there were to choose from."""
    time: datetime | None = None
    """When they were last shown; None where nothing was chosen yet."""

    @property
    def authors(self) -> tuple[str, ...]:
        """Everyone whose words the examples come from."""
        return tuple(dict.fromkeys(who for one in self.examples for who in one.authors))

    def holds(self, liked: Iterable[Example], now: datetime, silence: timedelta) -> bool:
        """Whether all of them still qualify, word for word, and the talk was not paused."""
        if self.time is None or now - self.time > silence:
            return False
        return not self.examples or set(self.examples) <= set(liked)

    def newer(self, liked: Iterable[Example]) -> frozenset[int]:
        """Ids of the exchanges that came to be liked since these were chosen."""
        return frozenset(one.exchange_id for one in liked) - self.known

    def shown(self, now: datetime) -> Recalled:
        """The same, shown once more."""
        return replace(self, time=now)


NOTHING = Recalled()
"""What is recalled where there are no examples."""


def choose(
    question: str, liked: Iterable[Example], most: int, fits: Callable[[str], bool]
) -> tuple[Example, ...]:
    """The examples for a question, the most similar first; of equal ones the newest.

    Args:
        question: what is asked.
        liked: what there is to choose from.
        most: how many at most.
        fits: whether a text is within the budget.
    """
    chosen: list[Example] = []
    for example in ranked(question, liked):
        if len(chosen) == most:
            break
        new = (example.question, example.reply) not in {(c.question, c.reply) for c in chosen}
        if new and fits("\n".join(example_lines([*chosen, example]))):
            chosen.append(example)
    return tuple(chosen)


def with_examples(persona: str, examples: Sequence[Example]) -> str:
    """The system turn: the persona, and behind it the examples."""
    return "\n".join([*([persona] if persona else []), *example_lines(examples)])


def example_lines(examples: Iterable[Example]) -> list[str]:
    """Examples as lines of a system prompt; what people said cannot begin a line."""
    lines = [
        line for one in examples
        for line in (f"Question: {_one_line(one.question)}", f"Answer: {_one_line(one.reply)}")
    ]  # fmt: skip
    return [HEADING, *lines] if lines else []


def ranked(question: str, liked: Iterable[Example]) -> list[Example]:
    """The examples whose questions are similar enough, the most similar first."""
    newest_first = sorted(liked, key=lambda one: -one.exchange_id)
    scores = similarities(question, [one.question for one in newest_first])
    pairs = sorted(zip(scores, newest_first, strict=True), key=lambda pair: -pair[0])
    return [one for score, one in pairs if score >= SIMILAR]


def similarities(question: str, others: Sequence[str]) -> list[float]:
    """How similar each of the others is: 1 has the same words, 0 has none of them."""
    counts = [terms(text) for text in (question, *others)]
    holding = Counter(term for one in counts for term in one)
    asked, *rest = (_weights(one, holding, len(counts)) for one in counts)
    return [_cosine(asked, other) for other in rest]


def terms(text: str) -> Counter[str]:
    """The words of a text, whatever their case, or the pairs of characters, counted."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    # Combining marks belong to the word: without them Hindi falls apart.
    spaced = "".join(one if unicodedata.category(one)[0] in "LMN" else " " for one in plain)
    found: Counter[str] = Counter()
    for word in spaced.split():
        for run in _RUN.findall(word):
            if len(run) > 1 and _PAIRS.match(run):
                found.update(run[start : start + 2] for start in range(len(run) - 1))
            else:
                found[run] += 1
    return found


def _weights(counts: Counter[str], holding: Mapping[str, int], texts: int) -> dict[str, float]:
    # log(1 + N/n), not BM25's own: that takes the words of an only example for worthless.
    return {
        term: math.log(1 + texts / holding[term])
        * count * (SATURATION + 1) / (count + SATURATION)
        for term, count in counts.items()
    }  # fmt: skip


def _cosine(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    shared = sum(left[term] * right[term] for term in left.keys() & right.keys())
    return shared / (_length(left) * _length(right)) if shared else 0.0


def _length(weights: Mapping[str, float]) -> float:
    return math.sqrt(sum(weight * weight for weight in weights.values()))


def _one_line(text: str) -> str:
    return " ".join(text.split())
