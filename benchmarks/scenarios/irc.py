"""The traffic of real channels, from a log of IRC: bursts, silences, and people who talk at once.

The log is a folder with a file ``*.jsonl.xz`` (or ``*.jsonl``), which holds an object a line:
`file` (a day of a channel; its lines stand together), `time` ("HH:MM"), `user` and `text`. The
#ubuntu stream of Kummerfeld et al. (2019) can be given as it is.

Each file of the log becomes a channel. Of each the window with most messages is taken, and these
arrive in their order and so much faster that the window takes the time that was asked; those of one
minute are spread over it. A message that begins with somebody's nick stands for one that is
addressed to the bot, and is answered; so is, now and then, another. As in the bot, only such
messages are in the history, a channel answers one after the other, prompts come from its template
and its windows, and replies are drawn with the default settings and end where the model ends them.
"""

from __future__ import annotations

import asyncio
import json
import lzma
import random
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import milliseconds
from benchmarks.scenarios.channels import Heard, hear
from bot.config import ConversationConfig, EngineConfig, SamplingConfig
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel
from bot.errors import Busy, DataError
from bot.history import ChannelLog, Window, clipped
from bot.types import BASE

OFTEN = 0.05
"""How likely a message is answered that is addressed to nobody."""
DAY = 24 * 60
"""Minutes."""


@dataclass(frozen=True)
class Said:
    """A message of the log."""

    minute: int
    """Since the day of its channel began; it never goes back."""
    user: str
    text: str


@dataclass(frozen=True)
class Result:
    """What all channels together came to."""

    channels: int
    minutes: int
    """Of the log, from each channel."""
    seconds: float
    """Until the last reply had ended."""
    messages: int
    replies: int
    busy: int
    """Messages that the engine had no place for."""
    tokens_per_s: float
    ttft_p50_ms: float
    """From the engine's being asked."""
    ttft_p95_ms: float
    itl_p95_ms: float
    waited_p50_ms: float
    """From a message's arrival to the first token of its answer, those before it included."""
    waited_p95_ms: float
    prompt_tokens: int
    reuse: float
    """The share of prompts' tokens that were kept from before."""

    def __str__(self) -> str:
        return (
            f"irc: {self.messages} messages in {self.channels} channels, {self.minutes} minutes in "
            f"{self.seconds:.1f} s: {self.replies} replies, {self.busy} refused, "
            f"{self.tokens_per_s:.1f} tokens/s  TTFT {self.ttft_p50_ms:.0f}/{self.ttft_p95_ms:.0f} "
            f"ms  ITL p95 {self.itl_p95_ms:.1f} ms  from arrival {self.waited_p50_ms:.0f}/"
            f"{self.waited_p95_ms:.0f} ms  {self.reuse:.0%} of {self.prompt_tokens} prompt tokens "
            "reused"
        )


async def measure(
    loaded: LoadedModel, folder: Path, channels: int, minutes: int, seconds: float
) -> Result:
    """Let so many minutes of so many channels come by in so many seconds.

    Raises:
        DataError: the folder has no log, or one that cannot be read.
    """
    log = await asyncio.to_thread(read_log, folder, channels)
    rooms = [Room(said, minutes, seconds, seed) for seed, said in enumerate(log.values())]
    engine = LocalEngine(loaded, EngineConfig(), share=0.25)
    try:
        return await replay(engine, rooms, minutes)
    finally:
        await engine.close()


def read_log(folder: Path, channels: int) -> dict[str, list[Said]]:
    """The first channels of a log. Blocks."""
    found = sorted([*folder.glob("*.jsonl.xz"), *folder.glob("*.jsonl")])
    if not found:
        raise DataError(f"{folder} has no *.jsonl.xz or *.jsonl with a log of channels")
    log: dict[str, list[Said]] = {}
    minute = 0
    try:
        opened = lzma.open if found[0].suffix == ".xz" else open
        with opened(found[0], "rt", encoding="utf-8") as lines:
            for line in lines:
                one = json.loads(line)
                if one["file"] not in log:
                    if len(log) == channels:
                        break
                    log[one["file"]], minute = [], 0
                hours, rest = map(int, one["time"].split(":"))
                # Past midnight the clock goes back.
                minute += (60 * hours + rest - minute) % DAY
                log[one["file"]].append(Said(minute, one["user"], one["text"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError, lzma.LZMAError) as error:
        raise DataError(f"{found[0]} cannot be read as a log: {error!r}") from error
    return log


class Room:
    """What is said in one channel, and when.

    Args:
        said: a channel's log.
        minutes: how much of it is taken.
        seconds: how long that takes here.
        seed: of what is answered though it is addressed to nobody.
    """

    def __init__(self, said: Sequence[Said], minutes: int, seconds: float, seed: int) -> None:
        self.seed = seed
        at = Counter(one.minute for one in said)
        start = max(at, key=lambda minute: sum(at[minute + one] for one in range(minutes)))
        window = [one for one in said if start <= one.minute < start + minutes]
        self.messages = len(window)
        nicks, rng = {one.user for one in said}, random.Random(seed)
        self.answered: list[tuple[float, Said]] = []
        """What the bot answers, each with the seconds after which it arrives."""
        passed: Counter[int] = Counter()
        for one in window:
            part = passed[one.minute] / at[one.minute]
            passed[one.minute] += 1
            if addressed(one.text, nicks) or rng.random() < OFTEN:
                self.answered.append(((one.minute - start + part) * seconds / minutes, one))


def addressed(text: str, nicks: Collection[str]) -> bool:
    """Whether a message begins with somebody's nick, as one speaks to somebody on IRC."""
    first = text.split(" ", 1)[0]
    return first[-1:] in (":", ",") and first[:-1] in nicks


@dataclass(frozen=True)
class Answer:
    """A reply, and when its question had come."""

    arrived: float
    heard: Heard


async def replay(engine: LocalEngine, rooms: Sequence[Room], minutes: int) -> Result:
    """All channels at once."""
    began = time.perf_counter()
    rooms_heard = await asyncio.gather(*(_listen(engine, room, began) for room in rooms))
    seconds = time.perf_counter() - began
    answers = [one for heard in rooms_heard for one in heard]
    first = [one.heard.first for one in answers]
    waited = [one.heard.times[0] - one.arrived for one in answers]
    prompts = sum(one.heard.timings.prompt_tokens for one in answers)
    reused = sum(one.heard.timings.reused_tokens for one in answers)
    return Result(
        len(rooms), minutes, round(seconds, 1), sum(room.messages for room in rooms), len(answers),
        sum(len(room.answered) for room in rooms) - len(answers),
        round(sum(len(one.heard.ids) for one in answers) / seconds, 1),
        milliseconds(first, 0.5), milliseconds(first, 0.95),
        milliseconds((gap for one in answers for gap in one.heard.gaps), 0.95),
        milliseconds(waited, 0.5), milliseconds(waited, 0.95),
        prompts, round(reused / max(1, prompts), 3),
    )  # fmt: skip


async def _listen(engine: LocalEngine, room: Room, began: float) -> list[Answer]:
    """One channel from its first message to its last reply."""
    sampling, conversation = SamplingConfig(), ConversationConfig()
    context = engine.info.context
    window = Window(
        engine.template, engine.info.end_ids, context - min(sampling.max_tokens, context // 2)
    )
    name, log, answers = f"channel {room.seed}", ChannelLog(), []
    for number, (after, said) in enumerate(room.answered):
        arrived = began + after
        await asyncio.sleep(max(0.0, arrived - time.perf_counter()))
        log = log.heard(said.user, clipped(said.text, conversation.max_message_characters))
        prompt = await asyncio.to_thread(window.prompt, log, conversation.persona)
        request = Request(prompt.ids, BASE, sampling.settings(number), name, tenant=name)
        try:
            heard = await hear(engine, request)
        except Busy:
            continue
        log = prompt.answered(heard.text, heard.ids)
        answers.append(Answer(arrived, heard))
    return answers
