"""What people do without voting, as weak labels: thanks, contradiction, asking again, editing.

Each hint is a pure function of words; which languages they are in is a matter of a text file
(``phrases.txt``, or the operator's own). What all of them weigh comes out of ``[learning.votes.
implicit]`` and out of what the same person's votes weigh, and is bounded three times: on a reply
with a vote hints count for nothing, one person's hints are capped as one person's votes are,
and all hints together weigh less than the votes do. So without votes there are no hints either.

What a hint may do besides (it trains and never judges) is said in `learning.votes.dataset`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.config import ImplicitConfig, WeighingConfig
from bot.errors import ConfigError
from bot.store import FollowUp
from bot.types import Exchange, VoteValue, last_user_text
from learning.scripts import words_of
from learning.types import CountedVote, Factor, Weight
from learning.votes.weights import fair_share

PHRASES = Path(__file__).parent / "phrases.txt"
KINDS = ("thanks", "wrong")
SHORT = 12
"""Most words (or Chinese characters) of a message that is nothing but thanks, or a no."""
SAME = 0.8
"""How much of the words of two questions must be the same; chosen by eye, not measured."""
_CUT = "[…]"

Phrases = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Hint:
    """Something that somebody did, and what it weighs as a vote."""

    kind: str
    vote: CountedVote


def read_phrases(file: str) -> Phrases:
    """The phrases by kind, of the file or of the built-in one. Blocks.

    Raises:
        ConfigError: it cannot be read, or has something else in it.
    """
    path = Path(file) if file else PHRASES
    found: dict[str, tuple[str, ...]] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"learning.votes.implicit.phrases: {path} cannot be read") from error
    for block in re.split(r"\n\s*\n", text.strip()):
        title, *lines = block.splitlines()
        found[title.removeprefix("# ").strip()] = tuple(filter(None, map(_plain, lines)))
    if sorted(found) != sorted(KINDS):
        raise ConfigError(
            f"learning.votes.implicit.phrases: {path} needs two lists, under '# thanks' and "
            "'# wrong', with an empty line between them"
        )
    return found


def _plain(text: str) -> str:
    spelt = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return " ".join("".join(one if one.isalnum() or one == "'" else " " for one in spelt).split())


def says(text: str, kind: str, phrases: Phrases) -> bool:
    """Whether a short message begins with a phrase of a kind, and holds none of another."""
    plain = _plain(text)
    if len(words_of(text)) > SHORT:
        return False
    others = [one for other in phrases if other != kind for one in phrases[other]]
    begins = any(_pattern(one).match(plain) for one in phrases[kind])
    return begins and not any(_pattern(one).search(plain) for one in others)


def _pattern(phrase: str) -> re.Pattern[str]:
    # Between Chinese characters there is no edge of a word; beside a, b or c there has to be one.
    left = r"(?<![^\W\d_])" if phrase[0].isascii() else ""
    right = r"(?![^\W\d_])" if phrase[-1].isascii() else ""
    return re.compile(left + re.escape(phrase) + right)


def thanks(followup: FollowUp, phrases: Phrases) -> bool:
    """Whether the person said thanks next."""
    return says(followup.next, "thanks", phrases)


def wrong(followup: FollowUp, phrases: Phrases) -> bool:
    """Whether the person said next that the reply is wrong."""
    return says(followup.next, "wrong", phrases)


def asked_again(followup: FollowUp) -> bool:
    """Whether the person's next message is nearly the same question (Dice's coefficient)."""
    one, other = Counter(words_of(followup.question)), Counter(words_of(followup.next))
    if min(one.total(), other.total()) < 2:
        return False  # "ok" after "ok" is no question
    return 2 * (one & other).total() >= SAME * (one.total() + other.total())


def edited(followup: FollowUp, exchange: Exchange) -> bool:
    """Whether the question reads otherwise now than it did to the model."""
    seen, now = last_user_text(exchange.prompt), followup.question
    if not seen or seen.endswith(_CUT):
        return False  # too long to compare
    # Messages that were answered together stand in one turn, the last one last.
    return seen != now and not seen.endswith(f"\n{now}")


def found_hints(
    followups: Iterable[FollowUp], exchanges: Mapping[int, Exchange],
    settings: ImplicitConfig, phrases: Phrases,
) -> dict[int, list[tuple[str, VoteValue, float]]]:
    """The hints on each exchange: kind, which way, and what it weighs of a vote."""
    found: dict[int, list[tuple[str, VoteValue, float]]] = {}
    for one in followups:
        exchange = exchanges.get(one.exchange_id)
        if exchange is None:
            continue
        seen: list[tuple[str, VoteValue, float, bool]] = [
            ("thanks", 1, settings.thanks, thanks(one, phrases)),
            ("wrong", -1, settings.wrong, wrong(one, phrases)),
            ("asked_again", -1, settings.asked_again, asked_again(one)),
            ("edited", -1, settings.edited, edited(one, exchange)),
        ]
        here = [(kind, value, weight) for kind, value, weight, there in seen if there and weight]
        if here:
            found[one.exchange_id] = here
    return found


def weighed(
    found: Mapping[int, Sequence[tuple[str, VoteValue, float]]],
    exchanges: Mapping[int, Exchange],
    voted: Mapping[int, Sequence[CountedVote]],
    settings: WeighingConfig,
) -> dict[int, tuple[Hint, ...]]:
    """Hints with what they weigh, where nobody voted.

    Args:
        voted: all votes that count, with their weights.
    """
    votes = [vote for given in voted.values() for vote in given]
    voters = {vote.rater: vote.weight.value for vote in votes}
    start = settings.trust_start if settings.trust else 1.0
    hints: dict[int, list[Hint]] = defaultdict(list)
    for exchange_id, several in found.items():
        person = exchanges[exchange_id].asker
        for kind, value, weight in several if exchange_id not in voted else ():
            much = Weight().times(Factor("hint", weight, f"{kind}: so much of a vote"))
            known = "this person's votes weigh so much" if person in voters else "no votes yet"
            much = much.times(Factor("voter", voters.get(person, start), known))
            hints[exchange_id].append(Hint(kind, CountedVote(person, value, much)))
    whole = sum(vote.weight.value for vote in votes)
    return _capped(hints, whole * settings.implicit.most, settings.rater_cap)


def _capped(
    hints: Mapping[int, Sequence[Hint]], most: float, cap: float
) -> dict[int, tuple[Hint, ...]]:
    totals: defaultdict[str, float] = defaultdict(float)
    for several in hints.values():
        for one in several:
            totals[one.vote.rater] += one.vote.weight.value
    held = fair_share(totals, cap) if cap and len(totals) > 1 else {}
    whole = sum(
        total * (held[person].value if person in held else 1.0) for person, total in totals.items()
    )
    if not most or not whole:
        return {}
    every = Factor("all hints", min(1.0, most / whole), "hints weigh less than votes do together")

    def capped(one: Hint) -> Hint:
        weight = one.vote.weight
        if one.vote.rater in held:
            weight = weight.times(held[one.vote.rater])
        if every.value < 1:
            weight = weight.times(every)
        return Hint(one.kind, CountedVote(one.vote.rater, one.vote.value, weight))

    return {key: tuple(capped(one) for one in several) for key, several in hints.items()}
