"""transformers' continuous batching, in pages of 16 tokens, faster than the 256 it takes by itself.

Its setting up for each turn is not counted.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from benchmarks.processes.lines import Answer, Prompts, Task, answers, serve

PAGE = 16


class Engine:
    """The model, and how it is asked."""

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.threads)
        self.reply_tokens = task.reply_tokens
        self.model: Any = AutoModelForCausalLM.from_pretrained(task.model, dtype=torch.float32)
        self.model.train(False)
        self.settings = GenerationConfig(  # type: ignore[no-untyped-call]  # theirs
            max_new_tokens=task.reply_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0
        )

    async def speak(self, prompts: Prompts) -> Answer:
        """Answer all prompts at once."""
        longest = max(map(len, prompts)) + self.reply_tokens + PAGE
        config = ContinuousBatchingConfig(
            page_size=PAGE, num_blocks=len(prompts) * longest // PAGE + PAGE, max_batch_tokens=512
        )
        with self.model.continuous_batching_context_manager(
            generation_config=self.settings, continuous_batching_config=config
        ) as manager:
            start = time.perf_counter()
            heard = await asyncio.gather(
                *(self.listen(manager, str(n), prompt) for n, prompt in enumerate(prompts))
            )
        ids, times = zip(*heard, strict=True)
        return Answer(start=start, ids=list(ids), times=list(times))

    async def listen(
        self, manager: Any, name: str, prompt: list[int]
    ) -> tuple[list[int], list[float]]:
        """The ids of one reply, and when each was there."""
        times: list[float] = []
        ended: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

        def hear(output: Any) -> None:
            times.append(time.perf_counter())
            if output.is_finished():
                ended.set_result(list(output.generated_tokens))

        manager.register_result_handler(name, hear)
        manager.add_request(prompt, name, max_new_tokens=self.reply_tokens, streaming=True)
        return await ended, times


def main() -> None:
    """Load the model and answer until there are no more prompts."""
    with answers() as out, asyncio.Runner() as runner:
        engine = Engine(Task.given())
        serve(lambda prompts: runner.run(engine.speak(prompts)), out)


if __name__ == "__main__":
    main()
