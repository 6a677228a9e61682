"""How likely rated replies and the base's own are, under candidate, champion and base.

Asked of the engine on the serving path. It knows which votes count as one opinion, and
nothing of what is concluded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.engine.base import Engine, Score, ScoreItem
from bot.types import BASE, Sampling
from learning.drawing import answered
from learning.gate.checks import Anchored, Voted
from learning.gate.likeness import likeness
from learning.replay import prompts_of
from learning.taste.features import Said, readable
from learning.types import BaseReply, Example, Snapshot

AT_ONCE = 16
"""Prompts answered beside the conversations at a time."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What candidate and champion say to the same prompts."""

    ours: Sequence[Said]
    theirs: Sequence[Said]


async def spoken(
    engine: Engine, snapshot: Snapshot, adapter: str, sampling: Sampling, seed: int, count: int
) -> list[Said]:
    """What a version says to each prompt that people rated answers to, `count` times in all."""
    prompts = prompts_of(snapshot.examples)
    asked = [prompts[number % len(prompts)] for number in range(count if prompts else 0)]
    drawn = await answered(engine, adapter, asked, sampling, seed, AT_ONCE)
    return [(prompt, one.ids) for prompt, one in drawn if one.whole and one.ids]


async def voted_on(
    engine: Engine, snapshot: Snapshot, examples: Sequence[Example], candidate: str,
    champion: str, talk: Talk, many_raters: int,
) -> tuple[Voted, ...]:
    """The votes on `examples`, none of which the candidate has learned from.

    Args:
        snapshot: all examples of the run, by which opinions are told apart.
        talk: what candidate and champion say themselves.
        many_raters: how many must have voted before a rater, not a conversation, is an opinion.
    """
    read = [one for one in examples if one.voted and readable(one, engine)]
    cluster = opinions(snapshot.examples, many_raters)
    found = await _scores(engine, read, candidate, champion)
    said = [(one.prompt_ids, one.reply_ids) for one in read]
    alike = await likeness(engine, said, talk.ours, talk.theirs)
    return tuple(
        Voted(
            one.liked, cluster[one.exchange_id], _average(scores[candidate]),
            _average(scores[champion]), _average(scores[BASE]), place,
        )
        for one, scores, place in zip(read, found, alike, strict=True)
    )


async def anchored_to(
    engine: Engine, anchors: Sequence[BaseReply], candidate: str, champion: str
) -> Anchored | None:
    """How both treat replies of the base; None without any."""
    read = [one for one in anchors if readable(one, engine)]
    found = await _scores(engine, read, candidate, champion)
    if not found:
        return None
    sizes = [len(scores[BASE].log_probs) for scores in found]

    def a_token(values: Sequence[float]) -> float:
        return math.fsum(values) / sum(sizes)

    def divergence(name: str) -> float:
        return a_token([s[name].kl_to_base * n for s, n in zip(found, sizes, strict=True)])

    return Anchored(
        nll=a_token([-math.fsum(scores[candidate].log_probs) for scores in found]),
        base_nll=a_token([-math.fsum(scores[BASE].log_probs) for scores in found]),
        kl=divergence(candidate),
        champion_kl=divergence(champion),
    )


async def _scores(
    engine: Engine, measured: Sequence[Example | BaseReply], candidate: str, champion: str
) -> list[Mapping[str, Score]]:
    """Each reply under all three, in one call."""
    names = list(dict.fromkeys((candidate, champion, BASE)))
    items = [ScoreItem(one.prompt_ids, one.reply_ids, name) for one in measured for name in names]
    found = await engine.score(items) if items else []
    width = len(names)
    return [
        dict(zip(names, found[i : i + width], strict=True)) for i in range(0, len(found), width)
    ]


def _average(score: Score) -> float:
    return math.fsum(score.log_probs) / len(score.log_probs)


def opinions(examples: Sequence[Example], many: int) -> dict[int, str]:
    """What counts as one opinion: a conversation, or from so `many` raters on a rater."""
    raters = {one.raters[0] for one in examples if one.raters}
    by_rater = len(raters) >= many
    return {
        one.exchange_id: one.raters[0] if by_rater and one.raters else one.conversation
        for one in examples
    }
