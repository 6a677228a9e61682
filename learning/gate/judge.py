"""Candidate against champion, on the serving path: a verdict with its reasons.

`judge` asks the engine how likely held-out replies are under the candidate, the champion
and the base, lets both answer the fixed prompts, and turns what comes back into checks. It
leaves the judging to `learning.gate.voted`, `learning.gate.checks` and `learning.gate.conduct`,
and knows nothing of training, files or who is told; it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from bot.config import GateConfig
from bot.engine.base import Engine, Template
from bot.types import BASE, Sampling
from learning.gate.canaries import CanaryReply, answer, read_canaries
from learning.gate.checks import (
    Anchored,
    anchor_checks,
    canary_checks,
    conclude,
)
from learning.gate.conduct import conduct_checks, read_conduct
from learning.gate.reported import compare
from learning.gate.scores import anchored_to, side_of, spoken, voted_on
from learning.gate.voted import Voted, head_aucs, vote_aucs, votes_checks
from learning.metrics import distinct_n, mean, perplexity
from learning.scripts import language_of
from learning.taste.features import readable
from learning.taste.head import Head
from learning.types import Snapshot, Verdict

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
    besides: Sequence[Voted] = (),
    heads: Sequence[Head | None] = (None, None),
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
        besides: votes that siblings of the two were trained without, as those see them.
        heads: what candidate and champion choose among replies by.
    """
    examples = [one for one in snapshot.of("holdout") if readable(one, engine)]
    voted = (
        *await held_out(engine, snapshot, candidate, champion, config, sampling, seed, heads),
        *besides,
    )
    anchored = await anchored_to(engine, snapshot.anchors, candidate, champion)
    language = language_of(one.script for one in snapshot.examples)
    prompts = {"general": read_canaries(language)[: config.canaries], **read_conduct(language)}
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
        *votes_checks(voted, config, gates_before, champion == BASE),
        *anchor_checks(anchored, config),
        *canary_checks(ours, theirs, liked_length, config),
        *conduct_checks(our_replies, their_replies, learned, forbidden, persona, config),
    )
    outcome, sentence = conclude(voted, checks, config)
    pairs = zip(theirs, ours, strict=True)
    samples = tuple((his.prompt, his.text, mine.text) for his, mine in pairs)[:SAMPLES]
    metrics = _metrics(voted, anchored, ours, theirs) | {"holdout_items": float(len(examples))}
    metrics |= await compare(
        engine, examples, candidate, champion, sampling, seed, config.reported_prompts
    )
    return Verdict(outcome, candidate, champion, sentence, checks, metrics, samples)


async def held_out(
    engine: Engine, snapshot: Snapshot, candidate: str, champion: str, config: GateConfig,
    sampling: Sampling, seed: int, heads: Sequence[Head | None] = (None, None),
) -> tuple[Voted, ...]:
    """The held-out votes as the two see them, both loaded; see `judge`."""
    examples = snapshot.of("holdout")
    talks = {
        name: await spoken(engine, snapshot, name, sampling, seed, config.replies)
        for name in dict.fromkeys((candidate, champion, BASE))
    }
    ours, theirs = [
        await side_of(engine, examples, name, talks[name], head)
        for name, head in zip((candidate, champion), heads, strict=True)
    ]
    return await voted_on(
        engine, snapshot, examples, ours, theirs, talks[BASE], config.rater_clusters
    )


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
    head_auc, champion_head_auc = head_aucs(voted)
    found = {
        "judged_items": float(len(voted)),
        "judged_liked": float(len(liked)),
        "shift_liked": mean([one.candidate - one.champion for one in liked]),
        "shift_disliked": mean([one.candidate - one.champion for one in disliked]),
        "liked_perplexity": perplexity([one.candidate for one in liked]),
        "champion_liked_perplexity": perplexity([one.champion for one in liked]),
        "auc": candidate_auc,
        "champion_auc": champion_auc,
        **({} if head_auc is None else {"head_auc": head_auc}),
        **({} if champion_head_auc is None else {"champion_head_auc": champion_head_auc}),
        "canary_tokens": mean([float(len(one.ids)) for one in ours]),
        "champion_canary_tokens": mean([float(len(one.ids)) for one in theirs]),
        "canary_distinct_2": distinct_n([one.units for one in ours], 2),
        "champion_canary_distinct_2": distinct_n([one.units for one in theirs], 2),
    }
    if anchored is not None:
        found |= {
            "anchor_nll": anchored.nll,
            "base_anchor_nll": anchored.base_nll,
            "anchor_kl": anchored.kl,
            "champion_anchor_kl": anchored.champion_kl,
        }
    return found
