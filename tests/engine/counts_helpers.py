"""Prints how many threads there are, but those that Python started, after an engine's work.

Run by a test in a process of its own, because whatever computed there before has helpers too.

    python -m tests.engine.counts_helpers MODEL ADAPTER THREADS
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

from bot.config import EngineConfig, ModelConfig
from bot.engine.base import Request, ScoreItem
from bot.engine.local import LocalEngine
from bot.engine.model import load_model
from bot.types import Sampling

SAMPLING = Sampling(repetition_penalty=1.3, max_tokens=40, seed=1)


async def work(model: Path, adapter: Path, threads: int) -> None:
    """Load, serve and score as a bot does."""
    config = EngineConfig(rows=128)
    loaded = load_model(ModelConfig(name=str(model), device="cpu", threads=threads), config)
    engine = LocalEngine(loaded, config, share=0.25)
    await engine.load("v1", adapter)
    prompts = [[5 + (n * k) % 250 for k in range(200)] for n in range(1, 20)]

    async def talk(prompt: list[int]) -> None:
        async for _ in engine.stream(Request(prompt, "v1", SAMPLING)):
            pass

    await asyncio.gather(*map(talk, prompts))
    await engine.score([ScoreItem(prompt, (7, 8, 9), "v1") for prompt in prompts])
    sys.stdout.write(f"{len(os.listdir('/proc/self/task')) - threading.active_count()}\n")
    await engine.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
