"""llama.cpp through its C interface: all prompts in batches, then a token for each at every step.

Run by a Python that has llama-cpp-python and gguf. Weights, keys and values are in fp32. Each reply
has a stream of keys and values of its own, and attention is not fused: both are faster in fp32 than
what llama.cpp takes by itself. Setting up the context of a turn is not counted.
"""

from __future__ import annotations

import ctypes
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp as llama  # type: ignore[import-not-found]
import numpy as np

from benchmarks.processes.gguf_file import write
from benchmarks.processes.lines import Answer, Task, answers, serve

BATCH = 512
F32 = 0
"""ggml's number for the type."""

Token = tuple[int, int, int, bool]
"""Id, position, which reply, and whether the next token of the reply is asked for."""


class Context:
    """The keys and values of one turn, and what has been said in it."""

    def __init__(self, model: Any, task: Task, prompts: list[list[int]]) -> None:
        longest = max(map(len, prompts)) + task.reply_tokens
        settings = llama.llama_context_default_params()
        settings.n_seq_max = len(prompts)
        # It rounds what each stream has up to a multiple of this.
        settings.n_ctx = len(prompts) * -(-longest // 256) * 256
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_threads = settings.n_threads_batch = task.threads
        settings.type_k = settings.type_v = F32
        settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.kv_unified = False
        self.context = llama.llama_init_from_model(model, settings)
        if not self.context:
            raise SystemExit("llama.cpp could not set up its context")
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self.batch = llama.llama_batch_init(BATCH, 0, 1)
        self.ids: list[list[int]] = [[] for _ in prompts]
        self.times: list[list[float]] = [[] for _ in prompts]

    def run(self, tokens: list[Token]) -> None:
        """Put tokens through the model, and note what follows where that is asked for."""
        for n, (token, position, reply, asked) in enumerate(tokens):
            self.batch.token[n] = token
            self.batch.pos[n] = position
            self.batch.n_seq_id[n] = 1
            self.batch.seq_id[n][0] = reply
            self.batch.logits[n] = asked
        self.batch.n_tokens = len(tokens)
        if problem := llama.llama_decode(self.context, self.batch):
            raise SystemExit(f"llama.cpp could not run a batch: {problem}")
        replies = [reply for _, _, reply, asked in tokens if asked]
        if not replies:
            return
        logits = np.ctypeslib.as_array(
            llama.llama_get_logits(self.context), (len(replies), self.vocabulary)
        )
        chosen = logits.argmax(axis=1).tolist()
        now = time.perf_counter()
        for reply, token in zip(replies, chosen, strict=True):
            self.ids[reply].append(token)
            self.times[reply].append(now)

    def close(self) -> None:
        """Give the memory back."""
        llama.llama_batch_free(self.batch)
        llama.llama_free(self.context)


def batches(prompts: list[list[int]]) -> Iterator[list[Token]]:
    """The prompts in batches, undivided where they fit: llama.cpp is slower with unequal parts."""
    waiting: list[Token] = []
    for reply, prompt in enumerate(prompts):
        if len(waiting) + len(prompt) > BATCH and waiting:
            yield waiting
            waiting = []
        last = len(prompt) - 1
        waiting += [(token, n, reply, n == last) for n, token in enumerate(prompt)]
        while len(waiting) > BATCH:
            yield waiting[:BATCH]
            waiting = waiting[BATCH:]
    yield waiting


def speak(model: Any, task: Task, prompts: list[list[int]]) -> Answer:
    """Answer all prompts, greedily, and as long as the task says."""
    context = Context(model, task, prompts)
    try:
        start = time.perf_counter()
        for tokens in batches(prompts):
            context.run(tokens)
        for step in range(task.reply_tokens - 1):
            context.run([
                (context.ids[reply][-1], len(prompt) + step, reply, True)
                for reply, prompt in enumerate(prompts)
            ])
    finally:
        context.close()
    return Answer(start=start, ids=context.ids, times=context.times)


def main() -> None:
    """Load the model and answer until there are no more prompts."""
    task = Task.given()
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    with answers() as out, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(Path(task.model), path)
        model = llama.llama_model_load_from_file(
            str(path).encode(), llama.llama_model_default_params()
        )
        if not model:
            raise SystemExit("llama.cpp refused the file that was written for it")
        serve(lambda prompts: speak(model, task, prompts), out)


if __name__ == "__main__":
    main()
