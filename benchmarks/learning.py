"""How much better the model tells what people like, by objective and by how much was rated.

    python -m benchmarks.learning --votes FILE --objective sft kto taste --sizes 20 200 2000 \
        --seeds 5 --flipped 0 0.1 0.3 --json learning.json

Votes come from a file as `rapport votes import` takes it, or with ``--from taskmaster|hh-rlhf``
from public data. Every run goes the way of the bot's: what it needs is prepared, an objective
chosen, the adapter trained on the engine's thread, loaded and scored on the serving path; only
the gate, the siblings and the store stay away. All runs are judged by the same held-out votes.

- Δreward: log-ratio of candidate to base, in nats a token, mean over liked held-out replies
  minus mean over disliked ones. AUC: how often that ratio is higher for a liked reply.
- Head: how often the head of the objective "taste" scores a liked held-out reply higher.
- Anchors: how much harder the base's own replies to held-out prompts have become, as a share of
  their NLL.

Ctrl-C ends it; what was measured until then is in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

import numpy as np

from benchmarks.outcome import BASE_ROW, Case, Row, machine, means, table, versions
from benchmarks.public_votes import SOURCES, convert
from benchmarks.rated import Rated, divided
from bot.config import Config, LearningConfig
from bot.config.file import load_config
from bot.engine.base import Engine
from bot.engine.local import LocalEngine
from bot.engine.model import load_model
from bot.errors import DataError, LearningError, RapportError
from bot.logs import quiet_libraries
from bot.moderation import Moderation
from bot.progress import progress_bar
from bot.types import BASE
from learning.freezing import prepare
from learning.gate.scores import anchored_to, side_of
from learning.metrics import auc
from learning.rehearsal import Rehearsals
from learning.taste.features import Said, features_of
from learning.taste.refine import enough
from learning.trained import trained
from learning.training.choice import choose
from learning.training.trainer import training_job
from learning.types import Example, TrainProgress
from learning.votes.imported import GivenVote, read_votes

OBJECTIVES = get_args(LearningConfig.model_fields["objective"].annotation)
LEARNED_BY = {"votes", "sft", "taste", "preference"}
"""The sections that say how a run learns."""
INTERRUPTED = 130
"""What a shell takes for 'ended by Ctrl-C'."""


@dataclass
class Measured:
    """What is known so far, written anew after every run."""

    about: dict[str, Any]
    path: Path | None
    rows: list[Row] = field(default_factory=lambda: [BASE_ROW])
    failed: list[dict[str, str]] = field(default_factory=list)
    finished: bool = False

    def write(self) -> None:
        """Put everything into the file, if there is to be one."""
        if self.path:
            found = self.about | {
                "finished": self.finished, "rows": [asdict(one) for one in self.rows],
                "means": means(self.rows), "failed": self.failed,
            }  # fmt: skip
            self.path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


@asynccontextmanager
async def lent(engine: Engine, name: str, folder: Path) -> AsyncIterator[None]:
    """An adapter in an engine that nobody else uses, for as long as the context lasts."""
    await engine.load(name, folder)
    try:
        yield
    finally:
        await engine.unload(name)


@dataclass(frozen=True)
class Place:
    """Where runs are measured: one engine, one hold-out."""

    engine: Engine
    config: Config
    rated: Rated
    held: tuple[Example, ...]

    @property
    def said(self) -> list[Said]:
        """The held-out replies with their prompts."""
        return [(one.prompt_ids, one.reply_ids) for one in self.held]

    async def measure(self, case: Case, heard: Callable[[TrainProgress], None]) -> Row:
        """One run from votes to figures.

        Raises:
            LearningError: nothing could be learned.
        """
        engine, config = self.engine, with_objective(self.config, case)
        learning, ends = config.learning, engine.info.end_ids
        examples = self.rated.drawn(case.votes, case.flipped, case.seed)
        started = time.perf_counter()
        forbidden = Moderation(config.moderation).found
        prepared = await prepare(
            engine, config, engine.info.fingerprint, [*examples, *self.held], forbidden
        )

        async def step(at: TrainProgress) -> None:
            heard(at)

        name = f"{case.objective}-{case.votes}-{case.flipped}-{case.seed}"
        rehearse = Rehearsals(engine, partial(lent, engine), training_job, config, forbidden)
        with tempfile.TemporaryDirectory() as folder:
            prepared = await rehearse(
                prepared, f"{name}-rehearsal", Path(folder) / "rehearsal", step
            )
            preparing, snapshot = time.perf_counter() - started, prepared.snapshot
            choice = await asyncio.to_thread(choose, snapshot, ends, learning)
            place = Path(folder) / "adapter"
            result = await trained(engine, training_job, learning, snapshot, choice, place, step)
            async with lent(engine, name, place):
                side = await side_of(engine, self.held, name, np.zeros(0))
                anchored = await anchored_to(engine, snapshot.anchors, name, BASE)
        moved = list(zip(side.moved, self.held, strict=True))
        liked = [one for one, of in moved if of.liked]
        disliked = [one for one, of in moved if not of.liked]
        by = prepared.taste.head
        likings = by.score(await features_of(engine, self.said)).tolist() if by else []
        shown = snapshot.of("train")
        by_head = case.objective in ("auto", "taste") and enough(shown, learning.taste)
        return Row(
            **asdict(case), trained_by=choice.name, why=choice.reason,
            liked=sum(one.liked for one in shown),
            disliked=sum(not one.liked for one in shown), drawn=len(snapshot.chosen),
            reward=fmean(liked) - fmean(disliked), auc=auc(liked, disliked),
            head_auc=auc(
                [one for one, of in zip(likings, self.held, strict=True) if of.liked],
                [one for one, of in zip(likings, self.held, strict=True) if not of.liked],
            ) if by else None,
            head_left_out=prepared.taste.auc if by_head else None,
            anchor_rise=anchored.nll / anchored.base_nll - 1 if anchored else None,
            kl=anchored.kl if anchored else None,
            steps=result.steps, preparing_s=round(preparing, 2),
            training_s=round(result.seconds, 2),
        )  # fmt: skip


def with_objective(config: Config, case: Case) -> Config:
    """The configuration of a run; no siblings are trained, for nobody judges."""
    learning = config.learning
    changes = {
        "objective": case.objective, "seed": case.seed,
        "gate": learning.gate.model_copy(update={"folds": 0}),
    }
    return config.model_copy(update={"learning": learning.model_copy(update=changes)})


def read(arguments: argparse.Namespace) -> tuple[list[GivenVote], dict[str, Any]]:
    """The votes that were asked for, and what is to be said about the file."""
    if arguments.public:
        source, path = arguments.public[0], Path(arguments.public[1])
        if source not in SOURCES:
            raise DataError(f"--from {source} is not known; it may be {' or '.join(SOURCES)}")
        lines, left_out = convert(source, path)
        given = list(read_votes(map(json.dumps, lines)))
    else:
        source, path, left_out = "import", arguments.votes, Counter()
        try:
            with path.open(encoding="utf-8") as file:
                given = list(read_votes(file))
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"cannot read {path}: it is not UTF-8") from error
    about = {"source": source, "file": path.name, "read": len(given)}
    return given, about | {"left_out": dict(left_out)}


async def measure(
    measured: Measured, given: list[GivenVote], arguments: argparse.Namespace
) -> None:
    """Every case in turn; whole seeds first, so that an early end leaves all objectives."""
    config = load_config(arguments.config) if arguments.config else Config()
    model = config.model.model_copy(
        update={"name": arguments.model or config.model.name,
                "threads": arguments.threads or config.model.threads}
    )
    config = config.model_copy(update={"model": model})
    loaded = load_model(config.model, config.engine)
    engine = LocalEngine(loaded, config.engine, config.learning.share)
    try:
        longest = min(arguments.longest or engine.info.context, engine.info.context)
        rated = await asyncio.to_thread(
            divided, engine, given, longest, arguments.held_out, config.learning.votes
        )
        held = rated.held_out()
        about = measured.about
        about["votes"] |= {
            "too_long": rated.too_long, "pool": len(rated.pool), "held_out": len(held),
            "held_out_liked": sum(one.liked for one in held),
        }
        about["machine"], about["versions"] = machine(engine.info), versions()
        about["settings"] |= {
            "learning": config.learning.model_dump(include=LEARNED_BY),
            "sampling": config.sampling.model_dump(), "longest": longest,
        }
        print_votes(about["votes"], longest)
        sizes = sorted({min(size, len(rated.pool)) for size in arguments.sizes})
        if max(arguments.sizes) > len(rated.pool):
            print(f"There are {len(rated.pool)} votes to draw from; larger sizes take all of them.")
        cases = [
            Case(objective, size, flipped, seed)
            for seed in range(arguments.seeds) for size in sizes for flipped in arguments.flipped
            for objective in arguments.objective
        ]
        await measure_all(measured, Place(engine, config, rated, held), cases)
    finally:
        await engine.close()


async def measure_all(measured: Measured, place: Place, cases: list[Case]) -> None:
    """The cases in their order, each written down as soon as it is known."""
    started = time.perf_counter()
    with progress_bar("learning") as show:
        for number, case in enumerate(cases):

            def heard(at: TrainProgress, number: int = number, case: Case = case) -> None:
                share = (number + at.step / max(1, at.steps)) / len(cases)
                left = (time.perf_counter() - started) * (1 / share - 1) if share else 0.0
                show(share, f"{number + 1} of {len(cases)}, {case}; {left / 60:.0f} min left")

            show(number / len(cases), f"{number + 1} of {len(cases)}, {case}")
            try:
                measured.rows.append(await place.measure(case, heard))
            except LearningError as error:
                measured.failed.append({"what": str(case), "why": str(error)})
            measured.write()
    measured.finished = True
    measured.write()


def print_votes(votes: dict[str, Any], longest: int) -> None:
    """Say what the votes are, and what was skipped."""
    for why, times in votes["left_out"].items():
        print(f"Left out: {times} {why}.")
    print(
        f"{votes['read']} votes of {votes['file']}; {votes['too_long']} skipped, with prompt and "
        f"reply of more than {longest} tokens; {votes['held_out']} replies held out "
        f"({votes['held_out_liked']} liked); {votes['pool']} votes to draw from.", flush=True,
    )


def parse(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description="What each objective learns from votes, and what it forgets.",
    )
    votes = parser.add_mutually_exclusive_group(required=True)
    votes.add_argument("--votes", type=Path, metavar="FILE", help="as rapport votes import has it")
    votes.add_argument("--from", dest="public", nargs=2, metavar=("SOURCE", "FILE"),
                       help=f"public votes: {' or '.join(SOURCES)}")
    parser.add_argument("--objective", nargs="+", choices=OBJECTIVES,
                        default=["sft", "kto", "taste"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 200, 2000], help="votes")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--flipped", type=float, nargs="+", default=[0.0],
                        help="shares of raters who say the contrary")
    parser.add_argument("--held-out", type=int, default=400, help="most votes kept for judging")
    parser.add_argument("--longest", type=int, default=0,
                        help="most tokens of prompt and reply; 0: what the model has room for")
    parser.add_argument("--model", default="", help="built-in name, folder or hub id")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    parser.add_argument("--config", type=Path, help="a config.toml to learn by; without, defaults")
    parser.add_argument("--json", type=Path, help="write every row there")
    arguments = parser.parse_args(words)
    if min(arguments.sizes) < 1 or arguments.seeds < 1:
        parser.error("--sizes and --seeds begin at 1")
    if not all(0 <= share <= 1 for share in arguments.flipped):
        parser.error("--flipped takes shares from 0 to 1")
    # Asked for twice, a run is still one.
    for name in ("objective", "flipped"):
        setattr(arguments, name, list(dict.fromkeys(getattr(arguments, name))))
    return arguments


def main(words: list[str] | None = None) -> None:
    """Measure, print a table, and write JSON where asked."""
    arguments = parse(words)
    quiet_libraries()
    names = ("objective", "sizes", "seeds", "flipped", "held_out")
    measured = Measured({}, arguments.json)
    started = time.perf_counter()
    interrupted = False
    try:
        given, votes = read(arguments)
        settings = {name: getattr(arguments, name) for name in names}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        measured.about |= {"started": now, "votes": votes, "settings": settings}
        asyncio.run(measure(measured, given, arguments))
    except RapportError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        interrupted = True
    print(table(measured.rows))
    for one in measured.failed:
        print(f"not measured: {one['what']}: {one['why']}")
    print(f"{time.perf_counter() - started:.0f} s")
    if interrupted:
        print(f"stopped; {len(measured.rows) - 1} runs were measured", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
