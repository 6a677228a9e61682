"""Candidate against champion, on the serving path: a verdict with its reasons.

`judge` asks the engine how likely held-out replies are under the candidate, the champion
and the base, lets both answer the fixed prompts, and turns what comes back into checks. It
leaves the judging to `learning.gate.checks` and `learning.gate.conduct`, and knows nothing of
training, files or who is told; it changes nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

from bot.config import GateConfig
from bot.engine.base import Engine, Score, ScoreItem, Template
from bot.types import BASE, Sampling
from learning.gate.canaries import CanaryReply, answer, read_canaries
from learning.gate.checks import (
    Anchored,
    Voted,
    anchor_checks,
    canary_checks,
    conclude,
    vote_aucs,
    votes_checks,
)
from learning.gate.conduct import conduct_checks, read_conduct
from learning.gate.reported import compare
from learning.metrics import distinct_n, mean, perplexity
from learning.types import BaseReply, Example, Snapshot, Verdict

SAMPLES = 5


async def judge(
    engine: Engine,
    snapshot: Snapshot,
    candidate: str,
    champion: str,
    config: GateConfig,
    gates_before: int,
    sampling: Sampling,
    persona: str,
    seed: int,
    forbidden: Callable[[str], str | None] = lambda _: None,
) -> Verdict:
    """Decide whether `candidate` may serve instead of `champion`; both are loaded.

    Args:
        champion: the adapter that serves, or BASE.
        gates_before: verdicts on this base that could have promoted (not ``shadow``); the
            more there were, the stronger the evidence must be.
        sampling: how the canaries are drawn, as conversations are.
        persona: the system prompt of the canaries; empty for none.
        seed: of the canaries.
        forbidden: names the moderation rule that a text breaks.
    """
    examples = [one for one in snapshot.of("holdout") if _fits(one, engine)]
    anchors = [one for one in snapshot.anchors if _fits(one, engine)]
    clusters = _clusters(examples, config.rater_clusters)
    voted, anchored = await _scores(engine, examples, clusters, anchors, candidate, champion)
    prompts = {"general": read_canaries()[: config.canaries], **read_conduct()}
    our_replies, their_replies = await asyncio.gather(
        *(
            _answers(engine, name, prompts, persona=persona, sampling=sampling, seed=seed)
            for name in (candidate, champion)
        )
    )
    ours, theirs = our_replies["general"], their_replies["general"]
    learned = await asyncio.to_thread(_texts, engine.template, snapshot)
    liked_length = mean([len(one.reply_ids) - 1.0 for one in snapshot.examples if one.liked])
    checks = (
        *votes_checks(voted, config, gates_before),
        *anchor_checks(anchored, config),
        *canary_checks(ours, theirs, liked_length, config),
        *conduct_checks(our_replies, their_replies, learned, forbidden, persona, config),
    )
    outcome, sentence = conclude(voted, checks, config)
    pairs = zip(theirs, ours, strict=True)
    samples = tuple((his.prompt, his.text, mine.text) for his, mine in pairs)[:SAMPLES]
    metrics = _metrics(voted, anchored, ours, theirs) | await compare(
        engine, examples, candidate, champion, sampling, seed, config.reported_prompts
    )
    return Verdict(outcome, candidate, champion, sentence, checks, metrics, samples)


async def _answers(
    engine: Engine, adapter: str, prompts: Mapping[str, Sequence[str]], *, persona: str,
    sampling: Sampling, seed: int,
) -> dict[str, list[CanaryReply]]:
    """An adapter's replies to prompts of several kinds, by kind."""
    every = [prompt for kind in prompts.values() for prompt in kind]
    said = iter(
        await answer(engine, adapter, every, persona=persona, sampling=sampling, seed=seed)
    )
    return {kind: [next(said) for _ in asked] for kind, asked in prompts.items()}


def _texts(template: Template, snapshot: Snapshot) -> set[str]:
    """What the candidate was shown in training."""
    shown = [one for one in snapshot.examples if one.part != "holdout"]
    return {template.decode(ids) for one in shown for ids in (one.prompt_ids, one.reply_ids)}


def _fits(one: Example | BaseReply, engine: Engine) -> bool:
    # A vote may be older than a smaller engine.context.
    length = len(one.prompt_ids) + len(one.reply_ids)
    return bool(one.reply_ids) and length <= engine.info.context


async def _scores(
    engine: Engine, examples: Sequence[Example], clusters: Sequence[str],
    anchors: Sequence[BaseReply], candidate: str, champion: str,
) -> tuple[list[Voted], Anchored | None]:
    """Candidate, champion and base over hold-out and anchors, in one call."""
    names = list(dict.fromkeys((candidate, champion, BASE)))
    measured: list[Example | BaseReply] = [*examples, *anchors]
    items = [ScoreItem(one.prompt_ids, one.reply_ids, name) for one in measured for name in names]
    found = await engine.score(items) if items else []
    width = len(names)
    by_item = [
        dict(zip(names, found[i : i + width], strict=True)) for i in range(0, len(found), width)
    ]
    voted = [
        Voted(
            example.liked, cluster, _average(scores[candidate]), _average(scores[champion]),
            _average(scores[BASE]),
        )
        for example, cluster, scores in zip(examples, clusters, by_item, strict=False)
    ]  # fmt: skip
    rest = by_item[len(examples) :]
    if not rest:
        return voted, None
    sizes = [len(scores[BASE].log_probs) for scores in rest]

    def a_token(values: Sequence[float]) -> float:
        return math.fsum(values) / sum(sizes)

    return voted, Anchored(
        nll=a_token([-math.fsum(scores[candidate].log_probs) for scores in rest]),
        base_nll=a_token([-math.fsum(scores[BASE].log_probs) for scores in rest]),
        kl=a_token([s[candidate].kl_to_base * n for s, n in zip(rest, sizes, strict=True)]),
        champion_kl=a_token([s[champion].kl_to_base * n for s, n in zip(rest, sizes, strict=True)]),
    )


def _average(score: Score) -> float:
    return math.fsum(score.log_probs) / len(score.log_probs)


def _clusters(examples: Sequence[Example], many: int) -> list[str]:
    """What counts as one opinion: a conversation, or from so `many` raters on a rater."""
    raters = {one.raters[0] for one in examples if one.raters}
    if len(raters) < many:
        return [one.conversation for one in examples]
    return [one.raters[0] if one.raters else one.conversation for one in examples]


def _metrics(
    voted: Sequence[Voted],
    anchored: Anchored | None,
    ours: Sequence[CanaryReply],
    theirs: Sequence[CanaryReply],
) -> dict[str, float]:
    """Numbers for the record that decide nothing by themselves."""
    liked = [one for one in voted if one.liked]
    disliked = [one for one in voted if not one.liked]
    candidate_auc, champion_auc = vote_aucs(voted)
    found = {
        "holdout_items": float(len(voted)),
        "holdout_liked": float(len(liked)),
        "shift_liked": mean([one.candidate - one.champion for one in liked]),
        "shift_disliked": mean([one.candidate - one.champion for one in disliked]),
        "liked_perplexity": perplexity([one.candidate for one in liked]),
        "champion_liked_perplexity": perplexity([one.champion for one in liked]),
        "auc": candidate_auc,
        "champion_auc": champion_auc,
        "canary_tokens": mean([float(len(one.ids)) for one in ours]),
        "champion_canary_tokens": mean([float(len(one.ids)) for one in theirs]),
        "canary_distinct_2": distinct_n([one.ids for one in ours], 2),
        "champion_canary_distinct_2": distinct_n([one.ids for one in theirs], 2),
    }
    if anchored is not None:
        found |= {
            "anchor_nll": anchored.nll,
            "base_anchor_nll": anchored.base_nll,
            "anchor_kl": anchored.kl,
            "champion_anchor_kl": anchored.champion_kl,
        }
    return found
