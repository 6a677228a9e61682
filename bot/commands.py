"""Every command once, whatever the platform.

`parse` finds a command in a line of text; platforms with commands of their own build a
`Command` directly. `Commands.run` does it and answers with blocks of text and tables that
a platform only renders. What concerns the model belongs to operators, what concerns a
channel to its people. Nothing here knows a terminal, Discord or Slack, and learning only
as `bot.learning_port.Learning`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Literal

from bot.conversation import Conversation
from bot.engine.base import Engine
from bot.errors import RapportError
from bot.learning_port import Learning, LearningStatus
from bot.people import People
from bot.store import Store
from bot.types import BASE, AdapterRef, ChannelKey, Exchange, Vote, VoteValue

Tone = Literal["plain", "good", "bad", "learning", "dim"]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; the tone is a hint for colours."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; columns without any heading are shown without a heading line."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say."""

    blocks: tuple[Text | Table, ...]
    quit: bool = False
    """The person wants to leave."""
    vote: Vote | None = None
    """The vote that the command made."""
    file: tuple[str, str] | None = None
    """A file for the asker alone: its name and its text."""
    learning: bool = False
    """Whether a learning run was asked for, so that its course is worth showing."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it was given; `name` without the slash, in lower case."""

    name: str
    args: str = ""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who gives a command, and where."""

    channel: ChannelKey
    person: str
    source: str
    """The source of this person's votes, such as ``terminal``."""
    operator: bool = False
    """Whether this person owns the model."""
    admin: bool = False
    """Whether this person looks after the server that the channel belongs to."""


@dataclass(frozen=True, slots=True)
class Help:
    """One command as `/help` shows it."""

    usage: str
    summary: str
    operator: bool = False


HELP = (
    Help("/up", "the last reply was good"),
    Help("/down", "the last reply was bad"),
    Help("/undo", "take your last vote back"),
    Help("/why", "what the model saw when it gave the last reply"),
    Help("/reset", "forget this conversation and start anew"),
    Help("/persona [TEXT|default]", "show or change who the bot is here"),
    Help("/mydata [get|forget|consent yes|no]", "what I keep of you; delete it; may I learn?"),
    Help("/status", "the model, who serves, and how people like it"),
    Help("/learn retrain", "learn from the votes now", operator=True),
    Help("/learn status", "the run that is on, and the last verdict", operator=True),
    Help("/learn adapters", "every version with its verdict", operator=True),
    Help("/learn try VERSION", "let this channel try a version; `none` ends it", operator=True),
    Help("/learn rollback [VERSION]", "serve the version before this one again", operator=True),
    Help("/learn cancel", "give up the run that is on", operator=True),
    Help("/learn pause", "start no runs until /learn resume", operator=True),
    Help("/learn resume", "let runs start again", operator=True),
    Help("/help", "this list"),
    Help("/quit", "leave (in the terminal)"),
)

_COMMAND = re.compile(r"/([a-z][\w-]*)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)


def parse(text: str) -> Command | None:
    """The command that a line gives, or None where it is something said.

    A path such as ``/usr/bin`` is something said.
    """
    found = _COMMAND.fullmatch(text.strip())
    if found is None:
        return None
    return Command(found[1].lower(), (found[2] or "").strip())


class Commands:
    """Does what people ask for with a slash."""

    def __init__(
        self, conversation: Conversation, store: Store, engine: Engine, learning: Learning,
        people: People,
    ) -> None:
        self._conversation = conversation
        self._store = store
        self._engine = engine
        self._learning = learning
        self._people = people
        self._voted: dict[tuple[ChannelKey, str], int] = {}
        self._general: dict[str, Callable[[Asker, str], Awaitable[Answer]]] = {
            "up": self._up, "down": self._down, "undo": self._undo, "why": self._why,
            "reset": self._reset, "persona": self._persona, "status": self._status,
            "learn": self._learn, "help": self._help, "quit": self._quit, "mydata": self._mydata,
        }
        self._lessons: dict[str, Callable[[Asker, str], Awaitable[Answer]]] = {
            "retrain": self._retrain, "status": self._progress, "adapters": self._adapters,
            "try": self._try, "rollback": self._rollback, "cancel": self._cancel,
            "pause": self._pause, "resume": self._resume,
        }

    async def run(self, command: Command, asker: Asker) -> Answer:
        """Do a command. A refusal is an answer too, in one line; only bugs are raised."""
        act = self._general.get(command.name)
        if act is None:
            return said(unknown(f"/{command.name}", [f"/{name}" for name in self._general]), "bad")
        try:
            return await act(asker, command.args)
        except RapportError as error:
            return said(" ".join(str(error).split()), "bad")

    async def versions(self) -> list[str]:
        """Every version's name, oldest first; what a command's menu offers."""
        return [adapter.name for adapter in await self._learning.adapters()]

    async def _up(self, asker: Asker, args: str) -> Answer:
        return await self._vote(asker, args, 1)

    async def _down(self, asker: Asker, args: str) -> Answer:
        return await self._vote(asker, args, -1)

    async def _vote(self, asker: Asker, args: str, value: VoteValue) -> Answer:
        exchange = await self._rated(asker.channel, args)
        if exchange is None:
            return said("There is no reply to rate yet.", "bad")
        vote = await self._conversation.ratings.vote(
            asker.channel, exchange, asker.person, value, asker.source
        )
        self._voted[asker.channel, asker.person] = exchange
        thumb = "👍" if value > 0 else "👎"
        line = Text(f"{thumb} on reply {exchange}, thank you. /undo takes it back.", "good")
        return Answer((line,), vote=vote)

    async def _rated(self, channel: ChannelKey, args: str) -> int | None:
        """The reply meant: the one named (``#12``), or the newest."""
        if args:
            number = args.removeprefix("#")
            if not (number.isascii() and number.isdecimal()) or len(number) > 15:
                raise RapportError(f"{args!r} is not the number of a reply, such as #12")
            return int(number)
        newest = await self._conversation.last(channel)
        return None if newest is None else newest.id

    async def _undo(self, asker: Asker, args: str) -> Answer:
        exchange = self._voted.get((asker.channel, asker.person))
        if exchange is None:
            exchange = await self._rated(asker.channel, "")
        standing = None
        if exchange is not None:
            for vote in await self._store.votes_of(exchange):
                if vote.rater == asker.person:
                    standing = vote
        if exchange is None or standing is None or standing.value == 0:
            return said("There is no vote of yours to take back.", "bad")
        vote = await self._conversation.ratings.vote(
            asker.channel, exchange, asker.person, 0, asker.source
        )
        self._voted.pop((asker.channel, asker.person), None)
        return Answer((Text(f"Your vote on reply {exchange} is taken back."),), vote=vote)

    async def _why(self, asker: Asker, args: str) -> Answer:
        exchange = await self._rated(asker.channel, args)
        if exchange is None:
            return said("There is no reply yet.", "bad")
        told = await self._conversation.ratings.rated(asker.channel, exchange)
        turns = tuple((turn.role, _short(turn.content)) for turn in told.prompt)
        return Answer((
            Table(f"Reply {told.id}", ("", ""), await self._facts(told)),
            Table("What the model saw", ("", ""), turns),
        ))

    async def _facts(self, told: Exchange) -> tuple[tuple[str, str], ...]:
        sampling, timings = told.sampling, told.timings
        votes: dict[str, int] = {}
        for vote in await self._store.votes_of(told.id):
            votes[vote.rater] = vote.value
        likes = sum(value > 0 for value in votes.values())
        dislikes = sum(value < 0 for value in votes.values())
        return (
            ("version", told.adapter),
            ("model", f"{self._engine.info.name}, {told.base[:12]}"),
            ("ended", told.finish),
            ("drawn", f"temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, "
                      f"repetition penalty {sampling.repetition_penalty:g}"
                      + ("" if sampling.seed is None else f", seed {sampling.seed}")),
            ("prompt", f"{len(told.prompt_ids)} tokens, {timings.reuse:.0%} kept from before"),
            ("reply", f"{len(told.reply_ids)} tokens in {timings.total:.2f} s"),
            ("votes", f"{likes} 👍, {dislikes} 👎"),
        )

    async def _reset(self, asker: Asker, args: str) -> Answer:
        await self._conversation.reset(asker.channel)
        self._voted.pop((asker.channel, asker.person), None)
        return said("Forgotten. This conversation starts anew.")

    async def _persona(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said(await self._conversation.persona(asker.channel))
        if not (asker.admin or asker.operator):
            return said("Only those who look after this server can change who I am here.", "bad")
        if args.lower() in ("default", "none"):
            await self._conversation.set_persona(asker.channel, None)
            return said(f"As before: {await self._conversation.persona(asker.channel)}")
        await self._conversation.set_persona(asker.channel, args)
        return said("That is who I am here from now on.")

    async def _mydata(self, asker: Asker, args: str) -> Answer:
        told = await self._people.told(asker.channel.platform, asker.person, args)
        return Answer((Text(told.text),), file=told.file)

    async def _status(self, asker: Asker, args: str) -> Answer:
        info, stats = self._engine.info, self._engine.stats()
        learning = await self._learning.status()
        here = self._learning.current(asker.channel)
        votes = await self._store.count_votes()
        reused = stats.reused_tokens / stats.prompt_tokens if stats.prompt_tokens else 0.0
        serving = learning.serving + (f" (here: {here})" if here != learning.serving else "")
        rows = [
            ("model", f"{info.name}, {info.parameters / 1e6:.1f} M, {info.device} {info.dtype}"),
            ("serving", serving),
            ("liked", await self._liked(learning.serving)),
            ("votes", f"{votes} in all, {learning.votes_since} since the last run"),
            ("replies", f"{stats.replies} since the start; {stats.running} running, "
                        f"{stats.queued} waiting"),
            ("reuse", f"{reused:.0%} of prompt tokens"),
            ("learning", _learning_line(learning)),
        ]
        return Answer((Table("", ("", ""), tuple(rows)),
                       *(Text(warning, "bad") for warning in info.warnings)))

    async def _liked(self, adapter: str) -> str:
        likes, total = await self._store.like_rate(adapter)
        return f"{likes} of {total} rated replies ({likes / total:.0%})" if total else "not rated"

    async def _learn(self, asker: Asker, args: str) -> Answer:
        name, _, rest = args.partition(" ")
        act = self._lessons.get(name.lower() or "status")
        if act is None:
            known = [f"/learn {lesson}" for lesson in self._lessons]
            return said(unknown(f"/learn {name}", known), "bad")
        if not asker.operator:
            return said("Only the bot's operators can do that.", "bad")
        return await act(asker, rest.strip())

    async def _retrain(self, asker: Asker, args: str) -> Answer:
        return replace(said(await self._learning.retrain(), "learning"), learning=True)

    async def _cancel(self, asker: Asker, args: str) -> Answer:
        return said(await self._learning.cancel(), "learning")

    async def _pause(self, asker: Asker, args: str) -> Answer:
        return said(await self._learning.pause(), "learning")

    async def _resume(self, asker: Asker, args: str) -> Answer:
        return said(await self._learning.resume(), "learning")

    async def _try(self, asker: Asker, args: str) -> Answer:
        if not args:
            return said("Which version? For example: /learn try v3 (/learn adapters lists them; "
                        "/learn try none ends it)", "bad")
        name = None if args.lower() in ("none", "off") else version_name(args)
        return said(await self._learning.try_version(asker.channel, name), "learning")

    async def _rollback(self, asker: Asker, args: str) -> Answer:
        to = version_name(args) if args else None
        return said(await self._learning.rollback(to), "learning")

    async def _adapters(self, asker: Asker, args: str) -> Answer:
        return await adapters_table(await self._learning.adapters(), self._store)

    async def _progress(self, asker: Asker, args: str) -> Answer:
        status = await self._learning.status()
        rows = [
            ("serving", status.serving),
            ("learning", _learning_line(status)),
            ("votes since", str(status.votes_since)),
            ("last verdict", status.verdict or "none yet"),
        ]
        if status.next_time is not None:
            rows.append(("next run", f"{status.next_time:%Y-%m-%d %H:%M %Z}"))
        rows += [("trying", f"{channel}: {name}") for channel, name in status.tries.items()]
        return Answer((Table("", ("", ""), tuple(rows)),))

    async def _help(self, asker: Asker, args: str) -> Answer:
        shown = [line for line in HELP if asker.operator or not line.operator]
        rows = tuple((line.usage, line.summary) for line in shown)
        return Answer((Table("", ("", ""), rows),
                       Text("Anything else is said to the bot.", "dim")))

    async def _quit(self, asker: Asker, args: str) -> Answer:
        return Answer((), quit=True)


async def adapters_table(versions: Sequence[AdapterRef], store: Store) -> Answer:
    """Every version: when it appeared, how it stands, how it is liked, and its verdict."""
    rows = []
    for adapter in versions:
        likes, total = await store.like_rate(adapter.name)
        rows.append((
            adapter.name, adapter.status, f"{adapter.created.astimezone(UTC):%Y-%m-%d %H:%M}",
            f"{likes}/{total}" if total else "–", adapter.verdict,
        ))
    if not rows:
        return said("There are no versions yet: the base model serves.")
    columns = ("version", "status", "made (UTC)", "liked", "verdict")
    return Answer((Table("", columns, tuple(rows)),))


def version_name(text: str) -> str:
    """The name a person means: ``v3``, ``3`` and ``v0003`` are one; ``base`` is itself.

    Raises:
        RapportError: it does not look like a version.
    """
    word = text.strip().lower()
    found = re.fullmatch(r"v?0*(\d{1,9})", word, re.ASCII)
    if word == BASE:
        return BASE
    if found is None:
        raise RapportError(f"{text!r} is not a version, such as v3; /learn adapters lists them")
    return f"v{int(found[1]):04d}"


def unknown(given: str, known: list[str]) -> str:
    """What to say to a command that does not exist, with the nearest that does."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else "/help lists what there is."
    return f"There is no {given}. {hint}"


def said(text: str, tone: Tone = "plain") -> Answer:
    """An answer of one paragraph."""
    return Answer((Text(text, tone),))


def _learning_line(status: LearningStatus) -> str:
    if status.running is not None:
        run = status.running
        left = "" if run.eta_seconds is None else f", about {run.eta_seconds:.0f} s left"
        line = f"run {run.run}: {run.stage} {run.adapter} {run.progress:.0%}{left}"
    else:
        line = "paused" if status.paused else "waiting"
    return line + (", another run follows" if status.queued else "")


def _short(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]} […]"

