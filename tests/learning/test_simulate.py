"""A simulation: its people, its prompts, its figures, and one journey through every room."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.app import open_app
from bot.config import Config, ConversationConfig, SamplingConfig
from bot.conversation import Conversation
from bot.engine.base import Delta, ModelInfo, Request, Score, ScoreItem
from bot.errors import DataError, LearningError, NothingToLearn
from bot.learning_port import Asked, LearningEvent, LearningStatus
from bot.likerate import LikeRate, like_rate, wilson
from bot.store import Store
from bot.types import BASE, ChannelKey, Timings, Turn
from learning.simulation.asking import places
from learning.simulation.crowd import SHIPPED, Crowd, Rater, Trolls, load_rater, parse_trolls
from learning.simulation.heldout import HeldOut, prompt_ids
from learning.simulation.plot import plot_simulation
from learning.simulation.questions import Question, asked_in_turn, read_questions, split
from learning.simulation.simulate import SimulationSettings, config_for, simulate
from tests.engine.tiny import make_model

HELLO = (Turn("user", "Hello there!"),)


def rater_file(folder: Path, body: str) -> Path:
    path = folder / "taste.py"
    path.write_text(f"def vote(messages, reply, rng):\n{body}\n", encoding="utf-8")
    return path


def opinion(rater: Rater, reply: str) -> int | None:
    return rater.vote(HELLO, reply, random.Random(0))


# Raters


@pytest.mark.parametrize(
    ("name", "liked", "disliked"),
    [
        ("short_replies", "I am fine, thanks.", "I am fine, thanks, and how about you?"),
        ("asks_back", "Fine! And you? ", "Fine? I think so."),
        ("exclaims", "Hello! Nice to see you.", "Hello. Nice to see you?"),
        ("on_topic", "And a hello to you.", "Good day to you."),
        ("warm_words", "So glad you came.", "You came, I see."),
        (
            "long_replies", "I am fine and so is the cat who sat by the window all day long.",
            "I am fine and so is the cat who sat by the window.",
        ),
    ],
)
def test_a_shipped_rater_likes_what_its_name_says(name: str, liked: str, disliked: str) -> None:
    rater = load_rater(Path(name))
    assert (opinion(rater, liked), opinion(rater, disliked), opinion(rater, "")) == (1, -1, -1)


def test_the_noisy_rater_abstains_half_the_time_and_errs_one_time_in_five() -> None:
    rater, rng = load_rater(SHIPPED / "noisy.py"), random.Random(1)
    votes = [rater.vote(HELLO, "Yes.", rng) for _ in range(4000)]
    cast = [vote for vote in votes if vote is not None]
    assert abs(len(cast) / len(votes) - 0.5) < 0.03
    assert abs(cast.count(-1) / len(cast) - 0.2) < 0.03


def test_a_rater_sees_roles_and_contents_with_the_question_last(tmp_path: Path) -> None:
    path = rater_file(
        tmp_path,
        "    return 1 if messages == [{'role': 'user', 'content': 'Hello there!'}] else -1",
    )
    assert opinion(load_rater(path), "Hi!") == 1


@pytest.mark.parametrize(
    ("body", "line", "says"),
    [
        ("    x = 1\n    return {}['mood']", 3, "KeyError: 'mood'"),
        ("    return 2", 1, "returned 2; return 1, -1 or None"),
        ("    return True", 1, "returned True"),
        ("    return 0", 1, "returned 0"),
    ],
)
def test_a_rater_that_fails_is_told_with_file_and_line(
    tmp_path: Path, body: str, line: int, says: str
) -> None:
    path = rater_file(tmp_path, body)
    with pytest.raises(DataError) as told:
        opinion(load_rater(path), "Hi!")
    message = str(told.value)
    assert message.startswith(f"{path}:{line}: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = (\n", "taste.py:1: '(' was never closed"),
        ("import random\nrandom.nothing\n", "taste.py:2: AttributeError"),
        ("def votes(): ...\n", "taste.py:1: defines no vote"),
    ],
)
def test_a_rater_file_that_cannot_be_imported_is_told_with_its_line(
    tmp_path: Path, source: str, says: str
) -> None:
    path = tmp_path / "taste.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(DataError, match=r"^[^\n]*$") as told:
        load_rater(path)
    assert says in str(told.value)


def test_a_missing_rater_file_names_the_ones_that_ship() -> None:
    with pytest.raises(DataError, match="asks_back, exclaims, .* short_replies, warm_words"):
        load_rater(Path("nowhere/taste.py"))


# Trolls and the crowd


def test_trolls_are_read_as_a_share_and_a_behaviour() -> None:
    assert parse_trolls("0.2:invert") == Trolls(0.2, "invert")
    assert parse_trolls("1:up") == Trolls(1.0, "up")


@pytest.mark.parametrize("text", ["0.2", "0.2:", "a:up", "1.5:up", "-1:down", "nan:up", "0.2:bite"])
def test_other_trolls_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(DataError, match=f"^--trolls {text}: write SHARE:invert[^\n]*$"):
        parse_trolls(text)


def crowd(*trolls: Trolls, seed: int = 0, raters: int = 10) -> Crowd:
    return Crowd(load_rater(Path("short_replies")), raters, trolls, seed)


def test_the_share_of_trolls_is_the_share_of_users() -> None:
    people = crowd(Trolls(0.3, "invert"), Trolls(0.2, "down"))
    assert sorted(people.trolls.values()) == ["down"] * 2 + ["invert"] * 3
    assert set(people.trolls) < set(people.users)


def test_each_troll_votes_as_it_is_called_and_never_judges() -> None:
    replies = ("Yes.", "This reply has far too many words.")
    expected = {"invert": [-1, 1], "down": [-1, -1], "up": [1, 1]}
    for text, votes in expected.items():
        people = crowd(parse_trolls(f"1:{text}"))
        assert [people.vote(0, HELLO, reply) for reply in replies] == votes
        assert [people.judge(0, HELLO, reply) for reply in replies] == [1, -1]


def test_an_inverting_troll_abstains_where_the_taste_abstains(tmp_path: Path) -> None:
    silent = load_rater(rater_file(tmp_path, "    return None"))
    assert Crowd(silent, 2, [Trolls(1.0, "invert")], 0).vote(0, HELLO, "Yes.") is None


def test_who_asks_and_who_trolls_follows_from_the_seed() -> None:
    def people(seed: int) -> tuple[list[str], set[str]]:
        one = crowd(Trolls(0.5, "up"), seed=seed)
        return [one.user(index) for index in range(50)], set(one.trolls)

    assert people(1) == people(1)
    assert people(1) != people(2)
    assert len(set(people(1)[0])) == 10


# Prompts


def test_the_default_prompts_are_at_least_five_hundred_and_two_hundred_are_held_out() -> None:
    questions = read_questions()
    voted, held_out = split(questions)
    assert len(questions) >= 500
    assert len(held_out) >= 200
    assert not set(voted) & set(held_out)
    assert set(voted) | set(held_out) == set(questions)


def test_the_held_out_prompts_do_not_depend_on_the_order_of_the_file() -> None:
    questions = read_questions()
    assert set(split(questions[::-1])[1]) == set(split(questions)[1])


def test_prompts_are_read_a_line_each_or_as_messages(tmp_path: Path) -> None:
    plain, lines = tmp_path / "a.txt", tmp_path / "b.jsonl"
    plain.write_text("Hello there!\n\n How are you? \nHello there!\n", encoding="utf-8")
    turns = [("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    lines.write_text(json.dumps(record) + '\n{"messages":[{"role":"user","content":"x"}]}\n')
    assert read_questions(plain) == [Question(HELLO), Question((Turn("user", "How are you?"),))]
    first = read_questions(lines)[0]
    assert [(turn.role, turn.content) for turn in first.messages] == turns
    assert first.text == "Bye"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{nonsense", "not valid JSON"),
        ("[1]", 'write {"messages"'),
        ('{"messages": []}', 'write {"messages"'),
        ('{"messages": ["Hi"]}', "must have a role and a content"),
        ('{"messages": [{"role": "system", "content": "Hi"}]}', "must be user or assistant"),
        ('{"messages": [{"role": "user", "content": 5}]}', "must be text"),
        ('{"messages": [{"role": "assistant", "content": "Hi"}]}', "take turns"),
        (
            '{"messages": [{"role": "user", "content": "a"}, '
            '{"role": "assistant", "content": "b"}]}',
            "last message must be the user's",
        ),
    ],
)
def test_a_wrong_line_of_a_prompt_file_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "a"}]}\n\n' + line + "\n")
    with pytest.raises(DataError, match=r"^[^\n]*$") as told:
        read_questions(path)
    assert str(told.value).startswith(f"{path}:3: ")
    assert says in str(told.value)


def test_a_prompt_file_that_is_missing_or_too_small_is_refused(tmp_path: Path) -> None:
    small = tmp_path / "one.txt"
    small.write_text("Hello there!\nHello there!\n", encoding="utf-8")
    with pytest.raises(DataError, match="has 1 prompts; at least two"):
        read_questions(small)
    with pytest.raises(DataError, match=r"cannot read .*: No such file"):
        read_questions(tmp_path / "none.txt")


def test_prompts_that_run_out_are_asked_again_in_another_order() -> None:
    questions = [Question((Turn("user", str(number)),)) for number in range(20)]
    asked = asked_in_turn(questions, seed=3)
    first, second = ([next(asked) for _ in questions] for _ in range(2))
    assert set(first) == set(second) == set(questions)
    assert first != second


# Figures


@pytest.mark.parametrize(
    ("likes", "rated", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_the_interval_is_wilsons(likes: int, rated: int, low: float, high: float) -> None:
    # 81 of 263 is the example of Newcombe (1998), method 3.
    assert wilson(likes, rated) == pytest.approx((low, high), abs=1e-4)


def test_no_vote_does_not_count_in_a_like_rate() -> None:
    assert like_rate([1, None, -1, 1, None]) == LikeRate(2, 3)
    assert LikeRate(0, 0).interval == (0.0, 1.0)


# The whole loop, over a scripted engine and learning half


class PlainTemplate:
    """Characters as ids."""

    def render(self, turns: Sequence[Turn], *, reply_follows: bool = True) -> str:
        text = "".join(f"<{turn.role}>{turn.content}" for turn in turns)
        return text + ("<assistant>" if reply_follows else "")

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(one) for one in ids if one)


@dataclass
class ScriptedEngine:
    """Says one to ten words, drawn from the seed; a trained version says half as many.

    Replies end after as many steps of the event loop as the seed says, so that they end in
    another order than they were asked for.
    """

    info: ModelInfo = field(
        default_factory=lambda: ModelInfo("toy", "toy", 1, 2000, 1, "cpu", "float32", (0,))
    )
    template: PlainTemplate = field(default_factory=PlainTemplate)
    requests: list[Request] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        rng = random.Random(request.sampling.seed)
        words = rng.randint(1, 10)
        text = " ".join(["word"] * (words if request.adapter == BASE else (words + 1) // 2))
        yield Delta((ord("w"),), text[:1])
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        self.running -= 1
        yield Delta((*map(ord, text[1:]), 0), text[1:], "stop", Timings())

    async def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        each = {BASE: -2.0}
        return [Score((each.get(one.adapter, -2.1),) * len(one.reply_ids), 0.0) for one in items]

    def loaded(self) -> tuple[str, ...]:
        return ("v0001",)

    def forget_prefix(self, cache_key: str) -> None: ...


@dataclass
class ScriptedLearning:
    """Has its outcomes written down: a verdict, ``nothing`` or ``failed`` for each run."""

    store: Store
    outcomes: list[str]
    listeners: list[Callable[[LearningEvent], None]] = field(default_factory=list)
    champion: str = BASE
    votes: int = 0

    def current(self, channel: ChannelKey) -> str:
        return self.champion

    def listen(self, callback: Callable[[LearningEvent], None]) -> Callable[[], None]:
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)

    def tell(self, kind: Any, text: str = "", adapter: str = "") -> None:
        event = LearningEvent(kind, text, datetime.now(UTC), progress=0.5, adapter=adapter)
        for listener in tuple(self.listeners):
            listener(event)

    async def status(self) -> LearningStatus:
        return LearningStatus(self.champion, self.votes)

    async def retrain(self) -> Asked:
        outcome = self.outcomes.pop(0)
        if outcome == "nothing":
            raise NothingToLearn("only 2 liked replies")
        self.tell("progress")
        if outcome == "failed":
            self.tell("failed", "the loss is not a number")
            return Asked(1, "")
        now = datetime.now(UTC)
        if outcome == "promote":
            await self.store.add_adapter("v0001", None, "candidate", "toy", now, {})
            await self.store.set_champion("v0001", "better", now)
            self.champion = "v0001"
        await self.store.add_verdict("v0001", BASE, outcome, f"so {outcome}", [], now)
        self.tell("finished", adapter="v0001")
        return Asked(1, "")


@dataclass
class Rooms:
    """The rooms as `simulate` is given them."""

    config: Config
    engine: Any
    store: Store
    conversation: Conversation
    learning: Any


async def run(
    folder: Path, outcomes: list[str], progress: list[Any] | None = None, **settings: Any
) -> tuple[dict[str, Any], list[tuple[Any, ...]], Rooms]:
    """A simulation of two rounds of seven votes; its result, votes as stored, and rooms."""
    config = config_for(Config())
    engine: Any = ScriptedEngine()
    async with await Store.open(folder) as store:
        learning = ScriptedLearning(store, outcomes)
        talk = Conversation(engine, store, config, learning.current)
        rooms = Rooms(config, engine, store, talk, learning)
        chosen: dict[str, Any] = {"rater": Path("short_replies"), "votes": 14, "every": 7}
        chosen |= settings
        heard = progress if progress is not None else []
        result = await simulate(rooms, SimulationSettings(**chosen), heard.append)
        exchanges = await store.exchanges(range(1, await store.count_exchanges() + 1))
        kept = [
            (one.id, str(one.channel), one.asker, one.reply, one.adapter, vote.rater, vote.value,
             vote.source)
            for one in exchanges
            for vote in await store.votes_of(one.id)
        ]
    return result, kept, rooms


def without_seconds(result: dict[str, Any]) -> dict[str, Any]:
    rounds = [
        {key: value for key, value in one.items() if "seconds" not in key}
        for one in result["rounds"]
    ]
    return result | {"rounds": rounds}


async def test_every_round_has_its_figures_and_the_end_its_summary(tmp_path: Path) -> None:
    result, _, _ = await run(tmp_path, ["reject", "promote"], json=tmp_path / "out.json")
    first, second, third = result["rounds"]
    assert [one["votes"] for one in result["rounds"]] == [0, 7, 14]
    assert [one["adapter"] for one in result["rounds"]] == ["base", "base", "v0001"]
    assert [one["verdict"] for one in result["rounds"]] == [None, "reject", "promote"]
    assert first["like_rate"] == second["like_rate"] == pytest.approx(0.5, abs=0.15)
    assert (third["like_rate"], third["ci"][1]) == (1.0, 1.0)
    assert 0.97 < third["ci"][0] < 1.0
    assert all(one["rated"] >= 200 and one["seconds"] >= 0 for one in result["rounds"])
    assert result["final"] == {
        "like_rate": 1.0, "base_like_rate": first["like_rate"], "promotions": 1,
        "rejections": 1, "shadows": 0, "rollbacks": 0, "anchor_nll_change": 0.05,
    }
    assert json.loads((tmp_path / "out.json").read_text()) == result


async def test_the_same_seed_gives_the_same_result_and_the_same_votes(tmp_path: Path) -> None:
    one, votes, rooms = await run(tmp_path / "a", ["promote", "shadow"], seed=5)
    again, same, _ = await run(tmp_path / "b", ["promote", "shadow"], seed=5)
    _, others, _ = await run(tmp_path / "c", ["promote", "shadow"], seed=6)
    assert without_seconds(one) == without_seconds(again)
    assert votes == same != others
    assert rooms.engine.most == places(rooms.config) > 1


async def test_votes_go_through_the_conversation_in_the_order_of_asking(tmp_path: Path) -> None:
    _, votes, _ = await run(tmp_path, ["reject", "promote"])
    assert [vote[0] for vote in votes] == list(range(1, 15))
    assert [vote[1] for vote in votes] == [f"simulate/local/p{n:05d}" for n in range(14)]
    assert all(asker == rater for _, _, asker, _, _, rater, _, _ in votes)
    assert all(value == (1 if len(reply.split()) <= 5 else -1) for _, _, _, reply, *_, value, _
               in votes)
    assert {vote[-1] for vote in votes} == {"simulate"}


async def test_abstentions_are_made_up_for_by_more_questions(tmp_path: Path) -> None:
    result, votes, rooms = await run(tmp_path, ["nothing", "nothing"], rater=Path("noisy"))
    assert len(votes) == result["rounds"][-1]["votes"] == 14
    assert len({request.cache_key for request in rooms.engine.requests if request.cache_key}) > 14


async def test_too_few_votes_are_a_round_without_a_verdict(tmp_path: Path) -> None:
    result, _, _ = await run(tmp_path, ["nothing", "shadow"])
    assert [one["verdict"] for one in result["rounds"]] == [None, None, "shadow"]
    assert result["rounds"][1]["reason"] == "only 2 liked replies"
    assert result["final"]["shadows"] == 1
    assert result["final"]["anchor_nll_change"] == 0.0


async def test_a_failed_run_ends_the_simulation_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match="failed: the loss is not a number"):
        await run(tmp_path, ["failed"])


async def test_trolls_vote_but_do_not_measure(tmp_path: Path) -> None:
    clean, _, _ = await run(tmp_path / "a", ["nothing"] * 2)
    trolled, votes, _ = await run(tmp_path / "b", ["nothing"] * 2, trolls=(Trolls(1.0, "down"),))
    assert {vote[-2] for vote in votes} == {-1}
    assert clean["rounds"][0]["like_rate"] == trolled["rounds"][0]["like_rate"]


async def test_measuring_leaves_no_trace_and_renders_like_a_first_message(tmp_path: Path) -> None:
    _, votes, rooms = await run(tmp_path, ["nothing"] * 2)
    asked = [request for request in rooms.engine.requests if request.cache_key]
    assert len(asked) == len(votes) == 14
    measured = [request for request in rooms.engine.requests if not request.cache_key]
    persona = rooms.config.conversation.persona
    _, held_out = split(read_questions())
    assert {tuple(request.prompt_ids) for request in measured} == {
        prompt_ids(rooms.engine, persona, question.messages) for question in held_out
    }
    voted, _ = split(read_questions())
    rendered = {prompt_ids(rooms.engine, persona, question.messages) for question in voted}
    assert {tuple(request.prompt_ids) for request in asked} <= rendered
    assert measured[0].sampling.max_tokens == asked[0].sampling.max_tokens


async def test_few_held_out_prompts_are_asked_repeatedly_with_other_seeds() -> None:
    questions = [Question((Turn("user", str(number)),)) for number in range(3)]
    engine: Any = ScriptedEngine()
    config = Config(conversation=ConversationConfig(persona=""))
    held_out = HeldOut(engine, config, questions, 20, seed=0)
    base, other = [await held_out.draw(name, lambda done: None) for name in (BASE, "v0001")]
    assert len(base) == len(other) == 20
    seeds = [request.sampling.seed for request in engine.requests]
    assert len(set(seeds[:20])) == 20
    assert set(seeds[:20]) == set(seeds[20:])
    assert {request.best_of for request in engine.requests} == {config.sampling.best_of}


@pytest.mark.parametrize(("best_of", "at_once"), [(1, 32), (8, 2), (10, 1), (32, 1)])
def test_so_many_questions_are_open_that_every_reply_drawn_for_them_finds_a_row(
    best_of: int, at_once: int
) -> None:
    assert places(Config(sampling=SamplingConfig(best_of=best_of))) == at_once


async def test_earlier_messages_of_a_prompt_are_history_that_is_never_learned_from(
    tmp_path: Path,
) -> None:
    said = [("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye")]
    records = [
        {"messages": [{"role": role, "content": f"{content} {n}"} for role, content in said]}
        for n in range(4)
    ]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    _, votes, rooms = await run(tmp_path, ["nothing"] * 2, prompts=prompts, held_out=1)
    asked = [request for request in rooms.engine.requests if request.cache_key]
    assert len(asked) == len(votes) == 14
    voted, _ = split(read_questions(prompts))
    persona = rooms.config.conversation.persona
    rendered = {prompt_ids(rooms.engine, persona, question.messages) for question in voted}
    assert {tuple(request.prompt_ids) for request in asked} == rendered
    assert not {reply for _, _, _, reply, *_ in votes} & {f"Hello! {n}" for n in range(4)}


async def test_progress_goes_through_the_stages_of_every_round(tmp_path: Path) -> None:
    heard: list[Any] = []
    await run(tmp_path, ["promote", "reject"], heard)
    stages = dict.fromkeys((one.round, one.stage) for one in heard)
    assert list(stages) == [
        (0, "evaluating"), (1, "voting"), (1, "training"), (1, "evaluating"),
        (2, "voting"), (2, "training"),
    ]
    assert all(0 <= one.done <= one.total and one.rounds == 2 for one in heard)
    assert heard[0].like_rate is None
    assert heard[-1].like_rate == 1.0


async def test_a_data_folder_in_use_is_refused(tmp_path: Path) -> None:
    await run(tmp_path, ["nothing"] * 2)
    with pytest.raises(DataError, match=r"holds 14 replies already; .* choose another"):
        await run(tmp_path, ["nothing"] * 2)


async def test_a_rater_that_never_votes_is_given_up(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"Hello {number}!" for number in range(8)), encoding="utf-8")
    held_out = [question.text for question in split(read_questions(prompts))[1]]
    silent = rater_file(tmp_path, f"    return 1 if messages[0]['content'] in {held_out} else None")
    with pytest.raises(DataError, match=r"voted on \d+ of \d+ replies; a rater must vote"):
        await run(tmp_path, ["nothing"], rater=silent, prompts=prompts, votes=1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"votes": 0}, "--votes must be at least 1"),
        ({"every": -1}, "--every must be at least 1"),
        ({"raters": 0}, "--raters must be at least 1"),
        ({"trolls": (Trolls(0.6, "up"), Trolls(0.6, "down"))}, "come to more than 1"),
        ({"json": Path("nowhere/out.json")}, "there is no folder nowhere"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        SimulationSettings(Path("noisy"), **wrong)


def test_the_last_round_may_have_fewer_votes() -> None:
    assert SimulationSettings(Path("noisy"), votes=130, every=60).rounds == (60, 60, 10)


def test_a_simulation_starts_no_run_by_the_clock_or_by_counting() -> None:
    automatic = {"every_votes": 5, "cron": "0 3 * * *"}
    config = Config.model_validate({"learning": {"schedule": automatic}})
    schedule = config_for(config).learning.schedule
    assert (schedule.every_votes, schedule.cron) == (0, "")


def test_the_picture_is_a_png_nine_hundred_pixels_wide(tmp_path: Path) -> None:
    rounds = [
        {"round": n, "votes": 60 * n, "adapter": name, "like_rate": rate, "ci": [rate - 0.1, rate],
         "verdict": verdict}
        for n, (name, rate, verdict) in enumerate([("base", 0.3, None), ("v0001", 0.6, "promote")])
    ]
    path = tmp_path / "out.png"
    plot_simulation({"rounds": rounds, "final": {"base_like_rate": 0.3}}, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20]) == 900


@pytest.mark.slow
async def test_two_rounds_through_every_room_come_out_the_same_twice(tmp_path: Path) -> None:
    """On a tiny random model: hot sampling lets its replies end by themselves, some of them."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"Hello {number}!" for number in range(8)), encoding="utf-8")
    taste = rater_file(tmp_path, "    return 1 if len(reply) % 2 else -1")
    config = Config.model_validate(
        {
            "model": {"name": str(make_model(tmp_path / "model")), "device": "cpu"},
            "engine": {"context": 512},
            "sampling": {
                "temperature": 5.0, "top_p": 1.0, "repetition_penalty": 1.1, "max_tokens": 200,
                "best_of": 2,
            },
            "learning": {
                "min_examples": 1,
                "sft": {"epochs": 1, "rank": 4, "learning_rate": 1e-3, "gauge": 4},
                "gate": {"anchors": 4, "canaries": 2, "replies": 4, "reported_prompts": 2},
                "taste": {"draws": 4, "prompts": 8},
            },
        }
    )
    settings = SimulationSettings(taste, prompts, votes=40, every=20, raters=3, held_out=4)
    results = []
    for data in (tmp_path / "a", tmp_path / "b"):
        async with open_app(config_for(config), data) as app:
            results.append(without_seconds(await simulate(app, settings, lambda progress: None)))
            assert await app.store.count_votes() == 40
    assert results[0] == results[1]
    assert [one["votes"] for one in results[0]["rounds"]] == [0, 20, 40]
    assert {one["verdict"] for one in results[0]["rounds"][1:]} <= {"promote", "shadow", "reject"}
    assert all(len(one["ci"]) == 2 for one in results[0]["rounds"])
