from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.config import (
    Config,
    EngineConfig,
    GateConfig,
    LearningConfig,
    PreferenceConfig,
    SftConfig,
    TasteConfig,
)
from bot.engine.local import LocalEngine
from learning.training.choice import choose, passes
from learning.training.supervision import Choice
from learning.types import BaseReply, Snapshot
from tests.engine.tiny import load, make_model
from tests.learning.rated import saying, world
from tests.learning.votes_of_words import END, make_snapshot


def chosen(snapshot: Snapshot, objective: Any = "auto", **preference: Any) -> Choice:
    settings = LearningConfig(objective=objective, preference=PreferenceConfig(**preference))
    return choose(snapshot, (END,), settings)


def only(snapshot: Snapshot, liked: bool) -> Snapshot:
    kept = tuple(one for one in snapshot.examples if one.liked is liked)
    return Snapshot(snapshot.base, kept, snapshot.replay, snapshot.anchors)


def test_a_small_set_learns_from_likes_and_says_what_is_missing() -> None:
    few = chosen(make_snapshot(200, 50, 48))
    assert few.name == "sft"
    assert few.reason.startswith("298 rated replies, 149 of them disliked")
    assert "from 300 and 50" in few.reason


def with_drawn(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, chosen=(BaseReply((1, 2), (20, END)),) * 3)


@pytest.mark.parametrize("objective", ["auto", "taste"])
def test_replies_that_were_drawn_are_learned_from_before_anything_else(objective: str) -> None:
    snapshot = with_drawn(make_snapshot(200, 50, 50, rivals=True))
    found = chosen(snapshot, objective)
    assert found.name == "taste"
    assert found.reason == "100 liked replies, and 3 that were drawn"
    assert chosen(snapshot, "kto").name == "kto"


def test_where_nothing_could_be_drawn_likes_alone_are_learned_from() -> None:
    found = chosen(make_snapshot(), "taste")
    assert found.name == "sft"
    assert "cannot be told from dislikes" in found.reason


def test_with_drawn_replies_passes_and_rate_are_their_own() -> None:
    settings = LearningConfig(
        sft=SftConfig(epochs=7, learning_rate=0.1), taste=TasteConfig(epochs=5)
    )
    taste = choose(with_drawn(make_snapshot()), (END,), settings)
    assert (passes(taste, settings).epochs, passes(taste, settings).learning_rate) == (5, 0.0)
    assert passes(Choice(), settings) == settings.sft


def test_enough_votes_bring_kto_and_pairs_bring_dpo() -> None:
    assert chosen(make_snapshot(200, 50, 50)).name == "kto"
    both = chosen(make_snapshot(200, 50, 50, rivals=True))
    assert both.name == "kto+dpo"
    assert "300 rated replies, 150 of them disliked; 100 pairs" in both.reason


def test_too_few_dislikes_are_not_trained_on() -> None:
    snapshot = make_snapshot(200, 50, 50)
    assert chosen(snapshot, min_disliked=150).name == "kto"
    assert chosen(snapshot, min_disliked=151).name == "sft"


def test_dislikes_that_are_all_kept_for_judging_are_not_enough() -> None:
    snapshot = make_snapshot(8, 0, 8)
    examples = tuple(one for one in snapshot.examples if one.liked or one.part == "holdout")
    kept = Snapshot("tiny", examples, (), ())
    assert chosen(kept, min_rated=4, min_disliked=1).name == "sft"


@pytest.mark.parametrize("objective", ["sft", "kto", "dpo"])
def test_a_named_objective_is_taken_whatever_the_amount(objective: str) -> None:
    assert chosen(make_snapshot(8, 0, rivals=True), objective).name == objective


@pytest.mark.parametrize("liked", [True, False], ids=["only likes", "only dislikes"])
def test_kto_without_both_kinds_falls_back_to_sft_and_says_why(liked: bool) -> None:
    found = chosen(only(make_snapshot(8, 0), liked), "kto")
    assert found.name == "sft"
    assert ("4 are liked and 0 disliked" in found.reason) is liked


def test_dpo_without_a_pair_falls_back_to_sft_and_says_why() -> None:
    found = chosen(make_snapshot(8, 0), "dpo")
    assert found.name == "sft"
    assert "same prompt" in found.reason


@pytest.mark.parametrize("objective", ["auto", "kto"])
async def test_a_run_says_what_it_learns_by_and_the_version_keeps_it(
    tmp_path: Path, objective: Any
) -> None:
    slots = EngineConfig(adapter_rank=4, rows=4, adapter_slots=2)
    sft = SftConfig(epochs=1, batch=4, micro_batch=4, rank=4, alpha=8)
    learning = LearningConfig(
        sft=sft, objective=objective, preference=PreferenceConfig(learning_rate=0.02),
        taste=TasteConfig(draws=0), gate=GateConfig(folds=0, replies=4, anchors=4),
    )
    engine = LocalEngine(load(make_model(tmp_path / "model"), slots), slots, 0.25)
    config = Config(engine=slots, learning=learning)
    async with world(engine, tmp_path / "data", config, judge=saying("promote")) as here:
        await here.rate(24)
        await here.loop.retrain()
        while "training v0001" not in (event := await here.until("stage", "failed")).text:
            assert event.kind == "stage"
        await here.until("finished")
        settings = here.registry.manifest("v0001").settings
        kept = (await here.store.runs(1))[0].settings
    await engine.close()
    if objective == "auto":
        assert "by sft (24 rated replies, 6 of them disliked" in event.text
        assert (settings["objective"], settings["learning_rate"]) == ("sft", 0.0)
        assert "beta" not in settings
    else:
        assert "by kto (as learning.objective says)" in event.text
        assert (settings["objective"], settings["learning_rate"]) == ("kto", 0.02)
        assert settings["beta"] == 0.1
    assert kept["objective"] == objective
    assert kept["preference"]["learning_rate"] == 0.02
