from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bot.config import EngineConfig, GateConfig, SftConfig
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.errors import EngineClosed
from bot.types import BASE, Sampling
from learning.gate.canaries import CanaryReply, answer, read_canaries
from learning.gate.checks import canary_checks, conclude
from learning.gate.judge import judge
from learning.gate.scores import opinions
from learning.gate.voted import Voted, votes_checks
from learning.metrics import difference_bound, spent_error
from learning.taste.features import features_of
from learning.taste.head import Head
from learning.types import Check, Snapshot, Verdict
from tests.engine.tiny import load, make_model, plain_model
from tests.learning.votes_of_words import END, make_snapshot, train

LENIENT = GateConfig(
    anchor_nll_rise=1.0, kl_to_base=9.0, canaries=6, length_low=0.0, reported_prompts=4,
    replies=12,
)
"""A random model knows nothing it could forget."""
SAMPLING = Sampling(temperature=1.0, top_p=1.0, repetition_penalty=1.0, max_tokens=100)
TASTE = make_snapshot(40, 0, 24, seed=5)
LEARN = SftConfig(
    learning_rate=1e-2, epochs=10, batch=4, micro_batch=4, rank=4, alpha=8, stop_items=1
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A base and adapters that learned a taste, noise, and never to end."""
    root, threads = tmp_path_factory.mktemp("gate"), torch.get_num_threads()
    torch.set_num_threads(1)
    base = make_model(root / "base")
    model = plain_model(base)
    train(model, TASTE, root / "good", LEARN)
    train(model, make_snapshot(40, 0, 0, seed=6, random_votes=True), root / "noise", LEARN)
    endless = replace(
        TASTE,
        replay=(),
        examples=tuple(
            replace(one, reply_ids=one.reply_ids[:-1] * 3 + (33,)) for one in TASTE.examples
        ),
    )
    train(model, endless, root / "endless", LEARN, end_ids=(33,))
    yield {name: root / name for name in ("base", "good", "noise", "endless")}
    torch.set_num_threads(threads)


@pytest.fixture
async def engine(folders: dict[str, Path]) -> AsyncIterator[LocalEngine]:
    config = EngineConfig(rows=8, adapter_rank=4)
    engine = LocalEngine(load(folders["base"], config), config, 0.25)
    for name in ("good", "noise", "endless"):
        await engine.load(name, folders[name])
    yield engine
    await engine.close()


async def verdict_on(
    engine: LocalEngine, candidate: str, champion: str = BASE, snapshot: Snapshot = TASTE,
    config: GateConfig = LENIENT, gates: int = 0,
) -> Verdict:  # fmt: skip
    return await judge(
        engine, snapshot, candidate, champion, config, gates, SAMPLING, "Be kind.", seed=1
    )


def check(verdict: Verdict, name: str) -> Check:
    return next(one for one in verdict.checks if one.name == name)


async def test_a_candidate_that_learned_what_people_like_is_promoted(engine: LocalEngine) -> None:
    verdict = await verdict_on(engine, "good", gates=2)
    assert verdict.outcome == "promote", [one for one in verdict.checks if not one.passed]
    assert verdict.sentence.startswith("Fit to serve: all ")
    assert check(verdict, "learned").value > 0
    assert check(verdict, "auc").value > 0.8
    assert verdict.metrics["champion_auc"] == 0.5
    assert verdict.metrics["shift_liked"] > verdict.metrics["shift_disliked"]
    assert len(verdict.samples) == 5
    assert [one[0] for one in verdict.samples] == list(read_canaries()[:5])


async def test_what_a_head_makes_of_the_votes_counts_and_is_reported(engine: LocalEngine) -> None:
    held_out = TASTE.of("holdout")
    features = await features_of(engine, [(one.prompt_ids, one.reply_ids) for one in held_out])
    liked = np.asarray([one.liked for one in held_out])
    knowing = Head(np.linalg.pinv(features) @ np.where(liked, 1.0, -1.0), 0.0)
    contrary = Head(-knowing.direction, 0.0)
    judged = [
        await judge(
            engine, TASTE, candidate, champion, LENIENT, 0, SAMPLING, "", seed=1, heads=heads
        )
        for candidate, champion, heads in (
            ("noise", BASE, (knowing, None)), ("good", "noise", (contrary, knowing)),
        )
    ]  # fmt: skip
    assert [one.metrics["head_auc"] for one in judged] == [1.0, 0.0]
    assert [one.metrics.get("champion_head_auc") for one in judged] == [None, 1.0]
    assert [check(one, "auc").value for one in judged] == [1.0, 0.0]
    assert "spreads higher by its head" in check(judged[0], "learned").reason
    assert check(judged[0], "learned").passed
    assert [check(one, "auc").passed for one in judged] == [True, False]


async def test_the_same_candidate_is_judged_the_same_twice(engine: LocalEngine) -> None:
    assert await verdict_on(engine, "good") == await verdict_on(engine, "good")


async def test_a_candidate_that_learned_noise_is_rejected(engine: LocalEngine) -> None:
    verdict = await verdict_on(engine, "noise")
    assert verdict.outcome == "reject"
    assert not check(verdict, "learned").passed
    assert "rule out luck" in verdict.sentence


async def test_votes_at_random_promote_nothing(engine: LocalEngine) -> None:
    random_votes = make_snapshot(0, 0, 30, seed=9, random_votes=True)
    verdict = await verdict_on(engine, "good", snapshot=random_votes)
    assert verdict.outcome == "reject"


async def test_the_champion_itself_is_no_better_than_the_champion(engine: LocalEngine) -> None:
    verdict = await verdict_on(engine, "good", "good")
    assert verdict.outcome == "reject"
    assert check(verdict, "better").value == 0
    assert [one.name for one in verdict.checks if not one.passed] == ["better"]


async def test_a_candidate_that_forgot_how_to_end_is_rejected(engine: LocalEngine) -> None:
    verdict = await verdict_on(engine, "endless", "good")
    assert verdict.outcome == "reject"
    assert not check(verdict, "ends").passed
    assert check(verdict, "ends").value < check(verdict, "ends").limit


async def test_a_candidate_that_left_its_base_behind_is_rejected(engine: LocalEngine) -> None:
    strict = LENIENT.model_copy(update={"anchor_nll_rise": 0.0, "kl_to_base": 0.001})
    verdict = await verdict_on(engine, "good", config=strict)
    assert verdict.outcome == "reject"
    assert not check(verdict, "kl_to_base").passed
    assert check(verdict, "kl_to_base").value == verdict.metrics["anchor_kl"] > 0.001


@pytest.mark.parametrize("items", [0, 8])
async def test_too_few_votes_to_judge_by_give_a_shadow(engine: LocalEngine, items: int) -> None:
    few = replace(TASTE, examples=TASTE.of("train") + TASTE.of("holdout")[:items])
    verdict = await verdict_on(engine, "good", snapshot=few)
    assert verdict.outcome == "shadow"
    assert f"{items} were kept" in verdict.sentence
    assert check(verdict, "ends").passed


async def test_without_dislikes_there_is_nothing_to_tell_apart(engine: LocalEngine) -> None:
    only = replace(TASTE, examples=tuple(one for one in TASTE.examples if one.liked))
    assert (await verdict_on(engine, "good", snapshot=only)).outcome == "shadow"


async def test_without_replies_of_the_base_nothing_is_promoted(engine: LocalEngine) -> None:
    verdict = await verdict_on(engine, "good", snapshot=replace(TASTE, anchors=()))
    assert verdict.outcome == "reject"
    assert [one.name for one in verdict.checks if not one.passed] == ["anchors"]


async def test_figures_of_sampled_replies_are_reported_and_decide_nothing(
    engine: LocalEngine,
) -> None:
    verdict = await verdict_on(engine, "good")
    metrics = verdict.metrics
    assert metrics["sampled_replies"] == 4
    for name in ("bleu", "chrf", "rouge_l", "sampled_distinct_1", "sampled_distinct_2"):
        for who in ("", "champion_"):
            assert 0 <= metrics[f"{who}{name}"] <= 100
    # It says words that were liked; the base says anything.
    assert metrics["chrf"] > metrics["champion_chrf"]
    assert metrics["sampled_perplexity"] > 1
    without = await verdict_on(
        engine, "good", config=LENIENT.model_copy(update={"reported_prompts": 0})
    )
    assert without.checks == verdict.checks
    assert set(metrics) - set(without.metrics) == {
        "sampled_replies", *(
            f"{who}{name}" for who in ("", "champion_") for name in (
                "bleu", "chrf", "rouge_l", "sampled_distinct_1", "sampled_distinct_2",
                "sampled_perplexity",
            )
        ),
    }  # fmt: skip


async def test_a_version_beside_itself_has_the_same_figures(engine: LocalEngine) -> None:
    metrics = (await verdict_on(engine, "good", "good")).metrics
    for name in ("bleu", "chrf", "rouge_l", "sampled_distinct_2", "sampled_perplexity"):
        assert metrics[name] == metrics[f"champion_{name}"]


async def test_an_engine_that_closes_while_replies_are_drawn_is_no_fault_of_the_version(
    folders: dict[str, Path],
) -> None:
    config = EngineConfig(rows=8, adapter_rank=4)
    closing = LocalEngine(load(folders["base"], config), config, 0.25)
    await closing.load("endless", folders["endless"])
    long = replace(SAMPLING, max_tokens=400)
    drawing = asyncio.create_task(
        answer(closing, "endless", read_canaries(), persona="", sampling=long, seed=1)
    )
    async with aclosing(closing.stream(Request((5, 6), sampling=SAMPLING))) as deltas:
        await anext(deltas)  # those before it in the queue have begun
    await closing.close()
    with pytest.raises(EngineClosed):
        await drawing


async def test_a_canary_is_drawn_with_its_own_seed_and_ends_with_the_end(
    engine: LocalEngine,
) -> None:
    prompts = read_canaries()[:9]
    ask = {"persona": "Be kind.", "sampling": SAMPLING}
    one = await answer(engine, "good", prompts, seed=4, **ask)  # type: ignore[arg-type]  # as named
    two = await answer(engine, "good", prompts[3:], seed=7, **ask)  # type: ignore[arg-type]  # as named
    assert one[3:] == two
    assert [reply.prompt for reply in one] == list(prompts)
    assert all(END not in reply.ids for reply in one)
    assert all(reply.ended == (len(reply.ids) < SAMPLING.max_tokens) for reply in one)


def test_there_are_thirty_two_different_canaries() -> None:
    assert len(set(read_canaries())) == 32


def said(lengths: Sequence[int], *, ended: bool = True, loop: bool = False) -> list[CanaryReply]:
    """Replies of given lengths, all of different words or of one phrase over and over."""
    replies, word = [], 0
    for length in lengths:
        ids = tuple(word + (i % 4 if loop else i) for i in range(length))
        word += length
        replies.append(CanaryReply("hello", "", ids, ended))
    return replies


def failed(ours: list[CanaryReply], theirs: list[CanaryReply], liked: float = 0.0) -> list[str]:
    checks = canary_checks(ours, theirs, liked, GateConfig())
    return [one.name for one in checks if not one.passed]


def test_a_taste_for_short_replies_may_become_short_and_mere_shrinking_may_not() -> None:
    assert failed(said([5] * 32), said([20] * 32), liked=5.0) == []
    assert failed(said([5] * 32), said([20] * 32), liked=19.0) == ["length"]
    assert failed(said([2] * 32), said([20] * 32), liked=5.0) == ["length"]
    assert failed(said([30] * 32), said([15] * 32), liked=25.0) == []
    assert failed(said([30] * 32), said([15] * 32), liked=16.0) == ["length"]


def test_looping_sameness_and_not_ending_fail_each_by_its_name() -> None:
    champion = said([20] * 32)
    assert failed(champion, champion) == []
    assert failed(said([20] * 32, loop=True), champion) == ["variety", "repetition"]
    assert failed([said([20])[0]] * 32, champion) == ["variety"]
    assert failed(said([20] * 32, ended=False), champion) == ["ends"]
    two_late = said([20] * 30) + said([20] * 2, ended=False)
    assert "ends" in failed(two_late, champion)
    assert "ends" not in failed(said([20] * 31) + said([20], ended=False), champion)


def test_a_champion_that_never_repeats_itself_leaves_room_for_one_repetition() -> None:
    once = [CanaryReply("hello", "", (1, 2, 3, 4, 1, 2, 3, 4), True), *said([20] * 31)]
    assert "repetition" not in failed(once, said([20] * 32))
    looping = canary_checks(
        said([20] * 32, loop=True), said([20] * 32), 0.0, GateConfig(repetition_slack=1.0)
    )
    assert [one.name for one in looping if not one.passed] == ["variety"]


def votes(up: float, down: float, count: int, spread: float = 0.05) -> list[Voted]:
    """Alternating votes whose replies moved by `up` where liked, by `down` where not."""
    return [
        Voted(
            n % 2 == 0, f"c{n}", -2.0 + (up if n % 2 == 0 else down) + spread * (n % 3 - 1), -2, -2
        )
        for n in range(count)
    ]


def asked(
    voted: Sequence[Voted], config: GateConfig | None = None, gates_before: int = 0,
    over_base: bool = True,
) -> tuple[Check, ...]:
    """What is asked of votes, at a first gate unless told otherwise."""
    return votes_checks(voted, config or GateConfig(), gates_before, over_base)


def with_heads(voted: list[Voted], ours: float, theirs: float) -> list[Voted]:
    """Heads that set liked replies above the others, by so many spreads."""
    return [
        replace(one, ours=ours * one.liked + n % 3 / 5, theirs=theirs * one.liked + n % 3 / 5)
        for n, one in enumerate(voted)
    ]


def test_a_better_head_alone_convinces_unless_the_talk_has_surely_become_worse() -> None:
    same = votes(0.0, 0.0, 24)
    for ours, theirs, better in ((1.0, 0.0, True), (1.5, 1.0, True), (1.0, 1.0, False)):
        heads = with_heads(same, ours, theirs)
        assert asked(heads, over_base=False)[1].passed is better
        assert asked(heads)[0].passed
    worse = with_heads(votes(-0.2, 0.0, 24), 1.0, 0.0)
    assert not asked(worse, GateConfig(liked_nll_rise=1.0))[0].passed
    assert not asked(same)[0].passed


def test_three_looks_share_the_error_of_two() -> None:
    moved = votes(0.5, 0.0, 24, spread=0.3)
    two, three = (asked(some)[0].value for some in (moved, with_heads(moved, 0.0, 1.0)))
    assert 0 < three < two


def test_half_of_the_error_is_the_heads() -> None:
    heads = with_heads(votes(0.0, 0.0, 24), 1.0, 0.0)
    liked, clusters = [one.liked for one in heads], [one.cluster for one in heads]
    alone = difference_bound(
        [one.ours or 0.0 for one in heads], liked, clusters, spent_error(GateConfig().alpha, 0) / 2
    )
    assert asked(heads)[0].value == pytest.approx(alone.lower)


def test_a_candidate_merely_sharper_everywhere_has_learned_nothing() -> None:
    learned, *rest = asked(votes(0.5, 0.5, 24))
    assert not learned.passed
    assert rest[0].passed


def test_liked_replies_must_not_be_given_up() -> None:
    learned, liked, _ = asked(votes(-0.1, -0.9, 24))
    assert learned.passed
    assert not liked.passed


def test_how_much_liked_replies_may_be_given_up_is_a_setting() -> None:
    given_up = votes(-0.1, -0.9, 24)
    check = asked(given_up, GateConfig(liked_nll_rise=0.2))[1]
    assert (check.passed, check.limit) == (True, pytest.approx(2.2))
    assert "may rise by 0.200" in check.reason
    assert not asked(given_up, GateConfig(liked_nll_rise=0.05))[1].passed


def test_the_more_gates_there_were_the_more_it_takes() -> None:
    bounds = [asked(votes(0.3, 0.1, 12), gates_before=k)[0].value for k in range(6)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[5]


def test_raters_are_the_independent_opinions_from_twenty_on() -> None:
    few = list(TASTE.of("holdout"))
    assert list(opinions(few, 20).values()) == [one.conversation for one in few]
    many = [replace(one, raters=(f"rater {n}",)) for n, one in enumerate(few)]
    assert list(opinions(many, 20).values()) == [f"rater {n}" for n in range(24)]
    assert list(opinions(many, 25).values()) == [one.conversation for one in few]


def test_either_look_at_the_votes_may_convince_and_luck_in_neither() -> None:
    still = [replace(one, candidate=one.champion) for one in votes(0.0, 0.0, 24)]
    alike = [replace(one, since_base=0.5 + 0.01 * n if one.liked else -0.01 * n)
             for n, one in enumerate(still)]
    assert asked(alike)[0].passed
    assert asked(votes(0.3, 0.0, 24))[0].passed
    assert not asked(still)[0].passed
    turned = [replace(one, since_base=-one.since_base) for one in alike]
    assert not asked(turned)[0].passed


def over_version(candidate: float, champion: float) -> list[Voted]:
    """Both have learned; liked replies are so far above the others for one and the other."""
    return [
        replace(one, champion=-2 + champion * one.liked)
        for one in votes(candidate, 0.0, 40, spread=0.3)
    ]


def test_the_base_is_to_be_surpassed_surely_and_a_version_probably() -> None:
    for candidate, champion, passes in (
        (0.5, 0.4, [True, True]), (0.5, 0.5, [True, False]), (0.5, 0.9, [True, False]),
        (0.1, -0.1, [False, True]),
    ):
        learned, better, *_ = asked(over_version(candidate, champion), over_base=False)
        assert [one.name for one in (learned, better)] == ["learned", "better"]
        assert [one.passed for one in (learned, better)] == passes
    doubtful = over_version(0.5, 0.4)
    assert not asked(doubtful, GateConfig(better_alpha=0.01), over_base=False)[1].passed


def test_the_base_is_no_version_to_be_better_than() -> None:
    assert "better" not in [one.name for one in asked(over_version(0.5, 0.0))]


def test_however_sure_of_one_thing_a_version_is_not_replaced_by_what_is_surely_worse() -> None:
    nearer = [
        replace(one, likeness=one.liked + n % 3 / 5)
        for n, one in enumerate(over_version(0.5, 0.4))
    ]
    assert asked(nearer, over_base=False)[1].passed
    for head in (1.0, 2.0):
        with_worse_head = with_heads(nearer, 1.0, head)
        assert asked(with_worse_head, over_base=False)[1].passed is (head == 1.0)


def test_the_first_failed_check_is_the_sentence() -> None:
    checks = asked(votes(0.0, 0.0, 24))
    outcome, sentence = conclude(votes(0.0, 0.0, 24), checks, GateConfig())
    assert outcome == "reject"
    assert sentence == f"Rejected: {checks[0].reason}"
