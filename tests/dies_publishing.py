"""A program that dies at every point between a trained adapter and the end of its run.

Run by `test_kill` as ``python dies_publishing.py MODEL FOLDER``. It learns a first version
that serves, then has a second run killed as soon as its adapter is about to be written.
From that folder it goes on again and again: in a process of its own the real loop is killed
with SIGKILL just before the n-th thing that reaches the disk (a file forced there, renamed
or removed, a commit of the database), and another process starts on what is left, looks at
what serves, and lets the run end. One JSON line tells of each point. It ends with the first
n that nothing is left to be killed before.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bot.config import Config, EngineConfig, GateConfig, LearningConfig, ModelConfig, SftConfig
from bot.engine.local import LocalEngine
from bot.engine.model import load_model
from bot.store.writer import Writer
from learning.training.adapter import WEIGHTS_FILE, Adapter
from tests.learning.rated import HERE, World, saying, world

SLOTS = EngineConfig(adapter_rank=4, rows=4, adapter_slots=2)
SFT = SftConfig(gauge=4, epochs=1, batch=4, micro_batch=4, rank=4, alpha=8, learning_rate=1e-2)
LEARNING = LearningConfig(objective="sft", sft=SFT, gate=GateConfig(folds=0, anchors=4))
ON_DISK = ("fsync", "replace", "rename", "unlink", "rmdir")
AT_ONCE = 2
"""Points that are tried beside each other."""


class Death:
    """Comes before the n-th thing that reaches the disk once an adapter is being written."""

    def __init__(self, number: int, told: Path) -> None:
        self.left, self.armed, self.told = number, False, told
        for name in ON_DISK:
            setattr(os, name, self.before(getattr(os, name), name))
        Writer._commit = self.before(Writer._commit, "commit")  # type: ignore[method-assign]  # counted
        write = Adapter.write

        def written(*args: Any) -> None:
            self.armed = True
            write(*args)

        Adapter.write = written  # type: ignore[method-assign]  # the counting begins here

    def before(self, act: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            if self.armed:
                self.left -= 1
                if self.left == 0:
                    self.told.write_text(f"{name} {Path(str(args[0])).name}".split(" <")[0])
                    os.kill(os.getpid(), signal.SIGKILL)
            return act(*args, **options)

        return counted


async def with_world(model: Path, data: Path, act: Callable[[World], Any]) -> None:
    """Start on a data folder as the app does, but for who talks and who judges."""
    name = ModelConfig(name=str(model), device="cpu", threads=1)
    config = Config(model=name, engine=SLOTS, learning=LEARNING)
    engine = LocalEngine(load_model(name, SLOTS), SLOTS, 0.25)
    try:
        async with world(engine, data, config, serve=False, judge=saying("promote")) as here:
            await act(here)
    finally:
        await engine.close()


async def two_runs(here: World, told: Path) -> None:
    """A version that serves, then more votes and a run that is killed."""
    loop = asyncio.create_task(here.loop.run())
    await here.rate(16)
    await here.learn()
    await here.rate(8, first=17)
    Death(1, told)
    await here.learn()
    loop.cancel()


async def on_to_the_end(here: World) -> None:
    """Let the run that was interrupted, if there is one, come to its end."""
    if await here.store.unfinished_runs():
        loop = asyncio.create_task(here.loop.run())
        last = await here.until("finished", "failed", "cancelled")
        assert last.kind == "finished", last.text
        loop.cancel()
        await asyncio.wait([loop])


async def looked_at(here: World, found: dict[str, object]) -> None:
    """What serves after the start, whether everything is whole, and how the run ends."""
    base = here.engine.info.fingerprint
    served = here.loop.current(HERE)
    assert served in here.engine.loaded()
    for name in here.registry.names():
        here.registry.verify(name, base)
    found |= {"served": served, "stored": await here.store.champion()}
    await on_to_the_end(here)
    weights = here.registry.verify("v0002", base) / WEIGHTS_FILE
    found |= {
        "serves": here.loop.current(HERE),
        "folders": sorted(path.name for path in here.registry.root.iterdir()),
        "left": sorted(path.name for path in (here.data / "runs").iterdir()),
        "statuses": {ref.name: ref.status for ref in await here.loop.adapters()},
        "champions": [name for name, _, _ in await here.store.champions()],
        "judged": [one["adapter"] for one in await here.store.verdicts()],
        "runs": sorted(run.status for run in await here.store.runs()),
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }


def forked(act: Callable[[], None]) -> int:
    """Do something in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        act()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001  # a forked child must not run its parent's end
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def story(model: Path, trained: Path, number: int) -> None:
    """One point: killed there, started again."""
    data = trained.with_name(f"point-{number}")
    told = trained.with_name(f"point-{number}.txt")
    shutil.copytree(trained, data)

    def die() -> None:
        Death(number, told)
        asyncio.run(with_world(model, data, on_to_the_end))

    status = ended(forked(die))
    found: dict[str, object] = {"point": number, "killed": status == -signal.SIGKILL}
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the run at point {number} ended with {status}")
    found["before"] = told.read_text() if told.exists() else ""
    asyncio.run(with_world(model, data, partial(looked_at, found=found)))
    os.write(1, (json.dumps(found) + "\n").encode())
    if status == 0:
        raise SystemExit(3)


def main(model: Path, folder: Path) -> None:
    trained = folder / "trained"
    told = folder / "trained.txt"
    first = forked(lambda: asyncio.run(with_world(model, trained, partial(two_runs, told=told))))
    assert ended(first) == -signal.SIGKILL
    last, number = False, 0
    while not last:
        children = []
        for _ in range(AT_ONCE):
            number += 1
            children.append(forked(partial(story, model, trained, number)))
        statuses = [ended(child) for child in children]
        assert set(statuses) <= {0, 3}, statuses
        last = 3 in statuses


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
