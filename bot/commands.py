"""Every command once, whatever the platform.

`parse` finds a command in a line of text; platforms with commands of their own build a
`Command` directly. `Commands.run` does it and answers with blocks of text and tables that
a platform only renders. What concerns the model belongs to operators (/learn is
`bot.lessons`), what concerns a channel to its people. Nothing here knows a terminal, Discord
or Slack, and learning only as `bot.learning_port.Learning`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from bot.answers import Answer, Asker, Command, Help, Table, Text, in_short, said, unknown
from bot.conversation import Conversation
from bot.engine.base import Counts, Engine
from bot.errors import RapportError
from bot.learning_port import Learning
from bot.lessons import LESSONS, Lessons, adapters_table, learning_line, version_name
from bot.people import People
from bot.store import Store
from bot.types import ChannelKey, Exchange, VoteValue, last_user_text
from bot.units import size

# What platforms and the command line need of commands, they take from here.
__all__ = [
    "HELP", "Answer", "Asker", "Command", "Commands", "Help", "Table", "Text", "adapters_table",
    "parse", "version_name",
]

HELP = (
    Help("/up", "the last reply was good"),
    Help("/down", "the last reply was bad"),
    Help("/undo", "take your last vote back"),
    Help("/why", "what the model saw when it gave the last reply"),
    Help("/reset", "forget this conversation and start anew"),
    Help("/persona [TEXT|default]", "show or change who the bot is here"),
    Help("/mydata [get|forget|consent yes|no]", "what I keep of you; delete it; may I learn?"),
    Help("/status", "the model, who serves, and how people like it"),
    *LESSONS,
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
        self._barred = conversation.admission.barred
        self._store = store
        self._engine = engine
        self._learning = learning
        self._people = people
        self._voted: dict[tuple[ChannelKey, str], int] = {}
        self._lessons = Lessons(learning, store)
        self._general: dict[str, Callable[[Asker, str], Awaitable[Answer]]] = {
            "up": self._up, "down": self._down, "undo": self._undo, "why": self._why,
            "reset": self._reset, "persona": self._persona, "status": self._status,
            "learn": self._lessons.run, "help": self._help, "quit": self._quit,
            "mydata": self._mydata,
        }

    async def run(self, command: Command, asker: Asker) -> Answer:
        """Do a command. A refusal is an answer too, in one line; only bugs are raised."""
        act = self._general.get(command.name)
        if act is None:
            return said(unknown(f"/{command.name}", [f"/{name}" for name in self._general]), "bad")
        # What is kept of people is theirs to see and to delete, whoever they are.
        if command.name != "mydata" and self._barred(asker.channel.platform, asker.person):
            return said("You may not use this bot here; /mydata is yours all the same.", "bad")
        try:
            return await act(asker, command.args)
        except RapportError as error:
            return said(" ".join(str(error).split()), "bad")

    async def versions(self) -> list[str]:
        """Every version's name, oldest first; what a command's menu offers."""
        return [adapter.name for adapter in await self._learning.adapters()]

    async def waiting(self) -> list[int]:
        """The numbers of liked replies that wait for an operator's word, oldest first."""
        return [item.exchange_id for item in await self._learning.review()]

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
        turns = tuple((turn.role, in_short(turn.content)) for turn in told.prompt)
        examples = await self._examples(told)
        return Answer((
            Table(f"Reply {told.id}", ("", ""), await self._facts(told)),
            *([Table("Liked answers it was shown", ("", ""), examples)] if examples else []),
            Table("What the model saw", ("", ""), turns),
        ))

    async def _examples(self, told: Exchange) -> tuple[tuple[str, str], ...]:
        """The examples in a prompt, with their questions in short."""
        found = {one.id: one for one in await self._store.exchanges(told.examples)}
        return tuple(
            (f"#{key}", in_short(last_user_text(found[key].prompt), 60)
             if key in found else "deleted since")
            for key in told.examples
        )

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
                      + (f"top-k {sampling.top_k}, " if sampling.top_k else "")
                      + (f"min-p {sampling.min_p:g}, " if sampling.min_p else "")
                      + (f"min-tokens {sampling.min_tokens}, " if sampling.min_tokens else "")
                      + (f"{len(sampling.bad_words)} bad words, " if sampling.bad_words else "")
                      + (f"{len(sampling.stop)} stop texts, " if sampling.stop else "")
                      + (f"{sampling.beams} beams, " if sampling.beams > 1 else "")
                      + f"repetition penalty {sampling.repetition_penalty:g}"
                      + ("" if sampling.seed is None else f", seed {sampling.seed}")),
            ("prompt", f"{len(told.prompt_ids)} tokens, {timings.reuse:.0%} kept from before"),
            ("reply", f"{len(told.reply_ids)} tokens in {timings.total:.2f} s"
                      + (f", the best of {timings.drawn}" if timings.drawn > 1 else "")),
            ("time", timings.sentence),
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
            ("first token", _within(stats.first_token)),
            ("each token", _within(stats.token_gap)),
            ("reuse", f"{reused:.0%} of prompt tokens"),
            ("memory", f"replies {size(stats.arena_bytes)} of {size(stats.arena_limit)} at most, "
                       f"kept {size(stats.cache_bytes)} of {size(stats.cache_limit)}, "
                       f"packed weights {size(stats.packed_bytes)}"),
            ("learning", learning_line(learning)),
        ]
        stuck = f"the engine has not moved for {stats.stuck:.0f} s" if stats.stuck else ""
        warnings = (*info.warnings, *filter(None, (stuck,)))
        return Answer((Table("", ("", ""), tuple(rows)),
                       *(Text(warning, "bad") for warning in warnings)))

    async def _liked(self, adapter: str) -> str:
        likes, total = await self._store.like_rate(adapter)
        return f"{likes} of {total} rated replies ({likes / total:.0%})" if total else "not rated"

    async def _help(self, asker: Asker, args: str) -> Answer:
        shown = [line for line in HELP if asker.operator or not line.operator]
        rows = tuple((line.usage, line.summary) for line in shown)
        return Answer((Table("", ("", ""), rows),
                       Text("Anything else is said to the bot.", "dim")))

    async def _quit(self, asker: Asker, args: str) -> Answer:
        return Answer((), quit=True)


def _within(times: Counts) -> str:
    """How long half of something took at most, and nearly all of it."""
    half, most = times.quantile(0.5), times.quantile(0.95)
    if half is None or most is None:
        return "nothing said yet"
    return f"half within {half:.2g} s, 95% within {most:.2g} s"
