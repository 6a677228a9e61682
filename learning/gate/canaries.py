"""Fixed prompts that every candidate answers before it may serve.

The prompts lie in ``prompts/canaries.txt``, and beside it in other languages; with fixed seeds,
two adapters answer the same questions with the same luck. Which language people write is for
`learning.scripts` to say. This module asks and listens: it judges nothing and knows
neither votes nor thresholds. It speaks through the engine's public face like any
conversation, a few prompts at a time, so that people are not kept waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bot.engine.base import Engine, Request
from bot.errors import LearningError
from bot.types import Sampling, Turn
from learning.drawing import Drawn, draw
from learning.scripts import Language, script_of, words_of

PROMPTS = Path(__file__).parent / "prompts"
CANARIES = PROMPTS / "canaries.txt"

AT_ONCE = 8
"""Prompts of one adapter answered at a time."""


@dataclass(frozen=True, slots=True)
class CanaryReply:
    """What an adapter said to one fixed prompt."""

    prompt: str
    text: str
    ids: tuple[int, ...]
    """What was said, without the end-of-turn."""
    ended: bool
    """By itself, rather than at the limit of tokens."""

    @property
    def units(self) -> Sequence[int | str]:
        """What runs and repetitions are counted in, for all replies to one prompt alike.

        Tokens; but characters where the prompt's script has no spaces. A model that hardly
        knows it spells each with several tokens, which would make anything said look repeated.
        """
        spaced = script_of(self.prompt) not in ("chinese", "unspaced")
        return self.ids if spaced else words_of(self.text)


def prompts_file(name: str, language: Language) -> Path:
    """Where fixed prompts lie in a language."""
    return PROMPTS / (f"{name}.txt" if language == "en" else f"{name}.{language}.txt")


def read_canaries(language: Language = "en") -> tuple[str, ...]:
    """The fixed prompts in a language, one a line."""
    lines = prompts_file("canaries", language).read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


async def answer(
    engine: Engine,
    adapter: str,
    prompts: Sequence[str],
    *,
    persona: str,
    sampling: Sampling,
    seed: int,
) -> list[CanaryReply]:
    """Let `adapter` reply to each prompt; prompt i is drawn with seed + i.

    Raises:
        LearningError: the engine failed on a reply, or a prompt does not fit the model.
        EngineClosed: the engine shut down meanwhile.
    """
    ends = frozenset(engine.info.end_ids)
    system = [Turn("system", persona)] if persona else []
    texts = (engine.template.render([*system, Turn("user", prompt)]) for prompt in prompts)
    requests = [
        Request(engine.template.encode(text), adapter, replace(sampling, seed=seed + place))
        for place, text in enumerate(texts)
    ]
    drawn = await draw(engine, requests, AT_ONCE)
    return [_reply(adapter, one, prompt, ends) for one, prompt in zip(drawn, prompts, strict=True)]


def _reply(adapter: str, drawn: Drawn | None, prompt: str, ends: frozenset[int]) -> CanaryReply:
    if drawn is None:
        raise LearningError(
            f"the fixed prompt {prompt!r} does not fit the model's context beside the persona; "
            "shorten conversation.persona"
        )
    if not drawn.whole:
        why = drawn.error or drawn.finish
        raise LearningError(f"{adapter} could not answer a fixed prompt: {why}")
    said = tuple(one for one in drawn.ids if one not in ends)
    return CanaryReply(prompt, drawn.text.strip(), said, drawn.finish == "stop")
