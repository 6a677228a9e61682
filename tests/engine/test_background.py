"""Scoring and training beside the conversations, on the same thread and weights."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from bot.engine.background import DutyShare
from bot.engine.base import Request, Resident, ScoreItem
from bot.errors import AdapterError, EngineClosed, PromptTooLong
from bot.types import BASE
from tests.engine.conftest import Start
from tests.engine.tiny import (
    ENDLESS,
    expected_reply,
    peft_reads_old_names,
    plain_model,
    prompt_ids,
    reply,
    with_adapter,
)


@torch.no_grad()
def direct(model: torch.nn.Module, prompt: list[int], said: list[int]) -> torch.Tensor:
    """Log-probabilities of every token at the reply's positions, ``[reply, vocabulary]``."""
    logits = model(input_ids=torch.tensor([prompt + said])).logits[0].float()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1]


async def test_scores_are_what_a_direct_forward_pass_and_peft_give(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders[kind])
    models = {BASE: plain_model(folders[kind])}
    for number, folder in enumerate(adapters[kind]):
        await engine.load(f"v{number}", folder)
        models[f"v{number}"] = with_adapter(folders[kind], folder)
    items = [
        ScoreItem(prompt_ids(5 + 7 * (n % 6), n), prompt_ids(1 + n % 9, 50 + n), name)
        for n in range(13)
        for name in models
    ]
    for item, score in zip(items, await engine.score(items), strict=True):
        prompt, said = list(item.prompt_ids), list(item.reply_ids)
        log_probs = direct(models[item.adapter], prompt, said)
        base = direct(models[BASE], prompt, said)
        wanted = log_probs[range(len(said)), said]
        torch.testing.assert_close(torch.tensor(score.log_probs), wanted, atol=1e-4, rtol=1e-4)
        kl = float((log_probs.exp() * (log_probs - base)).sum(-1).mean())
        assert score.kl_to_base == pytest.approx(kl, abs=1e-4)
        assert (score.kl_to_base == 0) == (item.adapter == BASE)


async def test_scoring_refuses_what_it_cannot_measure(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["gpt2"])
    assert await engine.score([]) == []
    assert (await engine.score([ScoreItem([5], [])]))[0].log_probs == ()
    with pytest.raises(PromptTooLong):
        await engine.score([ScoreItem(prompt_ids(250), prompt_ids(7))])
    with pytest.raises(AdapterError, match="v9"):
        await engine.score([ScoreItem([5], [6], "v9")])


async def test_an_adapter_stays_until_its_scoring_is_done(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"])
    await engine.load("v0", adapters["llama"][0])
    items = [ScoreItem(prompt_ids(30, n), prompt_ids(9, n), "v0") for n in range(60)]
    scoring = asyncio.create_task(engine.score(items))
    await asyncio.sleep(0)
    await engine.unload("v0")
    assert all(score.kl_to_base > 0 for score in await scoring)


def train(steps: int, losses: list[float]) -> object:
    """A job that teaches one sentence to a fresh adapter on a twin of the model."""
    words = torch.tensor([prompt_ids(24, 3)])

    def job(resident: Resident) -> Iterator[object]:
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        with peft_reads_old_names():
            model = get_peft_model(resident.twin(), config)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=0.02)
        model.train()
        for _ in range(steps):
            loss = model(input_ids=words, labels=words).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item())
            yield loss.item()

    return job


async def test_training_beside_replies_learns_and_leaves_them_as_they_are(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"], share=0.5)
    await engine.load("v0", adapters["llama"][0])
    before = {k: v.clone() for k, v in plain_model(folders["llama"]).state_dict().items()}
    models = {
        BASE: plain_model(folders["llama"]),
        "v0": with_adapter(folders["llama"], adapters["llama"][0]),
    }
    losses: list[float] = []
    training = asyncio.create_task(collect_job(engine.run(train(30, losses))))  # type: ignore[arg-type]  # a job
    for turn in range(6):
        for name, model in models.items():
            prompt = prompt_ids(15 + turn, turn)
            assert await reply(engine, prompt, name) == expected_reply(model, prompt)
    assert await training == losses
    assert losses[-1] < losses[0] / 2
    prompt = prompt_ids(20)
    assert await reply(engine, prompt) == expected_reply(models[BASE], prompt)
    for name, tensor in engine._worker._background._resident.twin().state_dict().items():
        assert torch.equal(tensor, before[name]), name


async def collect_job(values: object) -> list[object]:
    return [value async for value in values]  # type: ignore[attr-defined]  # an async iterator


async def test_a_twin_shares_tensors_but_no_structure_and_no_adapters(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"])
    await engine.load("v0", adapters["llama"][0])

    def job(resident: Resident) -> Iterator[object]:
        twin = resident.twin()
        pairs = zip(twin.named_parameters(), resident.model.named_parameters(), strict=True)
        yield all(a is b and not a.requires_grad for (_, a), (_, b) in pairs)
        linear = [one for one in twin.modules() if isinstance(one, torch.nn.Linear)]
        yield not any(module._forward_hooks for module in linear)
        yield not any(module._forward_hooks for module in resident.model.modules())
        twin.model.layers[0].self_attn.q_proj = torch.nn.Identity()
        yield isinstance(resident.model.model.layers[0].self_attn.q_proj, torch.nn.Linear)
        yield torch.is_grad_enabled() and not torch.is_inference_mode_enabled()

    assert await collect_job(engine.run(job)) == [True] * 5


async def test_jobs_take_turns(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"])
    order: list[str] = []

    def job(name: str, slices: int) -> object:
        def work(resident: Resident) -> Iterator[object]:
            for _ in range(slices):
                order.append(name)
                yield name

        return work

    long = asyncio.create_task(collect_job(engine.run(job("long", 200))))  # type: ignore[arg-type]  # a job
    short = asyncio.create_task(collect_job(engine.run(job("short", 3))))  # type: ignore[arg-type]  # a job
    await asyncio.gather(long, short)
    assert order.index("short") < 100
    assert "long" in order[order.index("short") + 1 :]


async def test_an_exception_of_a_job_reaches_the_one_who_runs_it(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])

    def job(resident: Resident) -> Iterator[object]:
        yield 1
        raise ValueError("no more votes")

    values = engine.run(job)
    assert await anext(values) == 1
    with pytest.raises(ValueError, match="no more votes"):
        await anext(values)
    prompt = prompt_ids(10)
    assert await reply(engine, prompt) == expected_reply(plain_model(folders["llama"]), prompt)


async def test_a_job_that_is_no_longer_wanted_cleans_up_before_close_returns(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"])
    freed = []

    def job(resident: Resident) -> Iterator[object]:
        try:
            while True:
                yield None
        finally:
            freed.append(True)

    values = engine.run(job)
    await anext(values)
    await values.aclose()
    assert freed == [True]


async def test_closing_the_engine_stops_jobs(folders: dict[str, Path], start: Start) -> None:
    engine = start(folders["llama"])

    def job(resident: Resident) -> Iterator[object]:
        while True:
            yield None

    values = engine.run(job)
    await anext(values)
    closing = asyncio.create_task(engine.close())
    with pytest.raises(EngineClosed):
        await collect_job(values)
    await closing


def test_background_work_takes_its_share_of_busy_time_and_no_more() -> None:
    for share in (0.1, 0.25, 0.5, 0.9):
        duty, served, spent = DutyShare(share), 0.0, 0.0
        for _ in range(20_000):
            served += 0.01
            duty.served(0.01)
            if duty.due:
                spent += 0.035
                duty.spent(0.035)
        most = 0.035 / 0.045
        assert spent / (served + spent) == pytest.approx(min(share, most), abs=0.01)


def test_a_share_of_nothing_waits_for_silence_and_a_whole_share_never_waits() -> None:
    never, always = DutyShare(0.0), DutyShare(1.0)
    for duty in (never, always):
        duty.served(1.0)
        duty.spent(0.5)
        duty.served(1.0)
    assert not never.due
    assert always.due


async def test_with_no_share_jobs_wait_until_nobody_talks(
    folders: dict[str, Path], start: Start
) -> None:
    engine = start(folders["llama"], share=0.0)
    running = engine.stream(Request(prompt_ids(8), sampling=ENDLESS))
    await anext(running)
    values = asyncio.create_task(collect_job(engine.run(lambda resident: iter([1, 2]))))
    for _ in range(20):
        await anext(running)
    assert not values.done()
    await running.aclose()
    assert await values == [1, 2]
