"""What is reported beside a verdict and decides nothing: replies against those people liked.

Candidate and champion answer the same few held-out prompts with the same seeds, on the serving
path, and what they say is compared with the liked replies to these prompts. It judges nothing
and fails no run: a prompt that one of the two could not answer is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

from bot.engine.base import Engine, Request, ScoreItem
from bot.types import BASE, Sampling
from learning.drawing import Drawn, draw
from learning.metrics import distinct_n, perplexity
from learning.overlap import overlap
from learning.scripts import script_of, words_of
from learning.types import Example

AT_ONCE = 8
"""Prompts answered beside the conversations at a time."""

Prompt = tuple[int, ...]


async def compare(
    engine: Engine,
    examples: Sequence[Example],
    candidate: str,
    champion: str,
    sampling: Sampling,
    seed: int,
    limit: int,
) -> dict[str, float]:
    """Figures of the candidate's replies, and the champion's under ``champion_`` names.

    Args:
        examples: the hold-out; the first `limit` prompts with a liked reply are answered. The
            first, because they stay the same while votes are added: versions can be compared.
        seed: prompt i is drawn with seed + i.

    Returns:
        ``sampled_replies`` (how many prompts both answered), ``sampled_distinct_1`` and ``_2``
        of token ids (of characters in scripts without spaces), ``sampled_perplexity`` (how
        unusual the base finds the replies), and ``bleu``, ``chrf`` and ``rouge_l`` where their
        libraries are installed. Empty without liked replies.
    """
    liked: dict[Prompt, list[str]] = {}
    for one in examples:
        if one.liked and (one.prompt_ids in liked or len(liked) < limit):
            liked.setdefault(one.prompt_ids, []).append(engine.template.decode(one.reply_ids))
    names = (candidate, champion)
    requests = [
        Request(prompt, name, replace(sampling, seed=seed + place))
        for name in names for place, prompt in enumerate(liked)
    ]
    drawn = await draw(engine, requests, AT_ONCE)
    ours, theirs = drawn[: len(liked)], drawn[len(liked) :]
    both = [
        (prompt, mine, his)
        for prompt, mine, his in zip(liked, ours, theirs, strict=True)
        if mine is not None and his is not None and mine.whole and his.whole
    ]
    if not both:
        return {}
    references = [liked[prompt] for prompt, _, _ in both]
    prompts = [prompt for prompt, _, _ in both]
    found = {"sampled_replies": float(len(both))}
    for prefix, replies in (
        ("", [mine for _, mine, _ in both]), ("champion_", [his for _, _, his in both])
    ):
        figures = await _figures(engine, prompts, replies, references)
        found |= {f"{prefix}{name}": value for name, value in figures.items()}
    return found


async def _figures(
    engine: Engine, prompts: Sequence[Prompt], replies: Sequence[Drawn],
    references: Sequence[Sequence[str]],
) -> dict[str, float]:
    ends = frozenset(engine.info.end_ids)
    said = [
        _units(reply, expected, ends) for reply, expected in zip(replies, references, strict=True)
    ]
    items = [
        ScoreItem(prompt, reply.ids, BASE)
        for prompt, reply in zip(prompts, replies, strict=True) if reply.ids
    ]
    scores = await engine.score(items) if items else []
    shared = await asyncio.to_thread(
        overlap, [reply.text.strip() for reply in replies], references
    )
    return {
        **({} if shared is None else asdict(shared)),
        "sampled_distinct_1": distinct_n(said, 1),
        "sampled_distinct_2": distinct_n(said, 2),
        "sampled_perplexity": perplexity([one for score in scores for one in score.log_probs]),
    }


def _units(reply: Drawn, expected: Sequence[str], ends: frozenset[int]) -> Sequence[int | str]:
    """Tokens; characters where what people liked is in a script without spaces."""
    if script_of(" ".join(expected)) in ("chinese", "unspaced"):
        return words_of(reply.text)
    return [one for one in reply.ids if one not in ends]
