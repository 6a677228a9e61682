"""Adapters come and go while people talk; a reply is wholly from one version."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.engine.base import Request
from bot.errors import AdapterError
from bot.types import BASE
from tests.engine.conftest import Start
from tests.engine.tiny import (
    GREEDY,
    collect,
    expected_reply,
    ids_of,
    prompt_ids,
    reply,
    with_adapter,
)


async def test_a_swap_while_replies_run_mixes_no_versions(
    kind: str, folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders[kind])
    old, new = (with_adapter(folders[kind], folder) for folder in adapters[kind][:2])
    await engine.load("v0", adapters[kind][0])
    prompts = [prompt_ids(10 + 5 * n, n) for n in range(3)]
    running = [
        engine.stream(Request(prompt, "v0", GREEDY, f"room {n}"))
        for n, prompt in enumerate(prompts)
    ]
    begun = [await anext(stream) for stream in running]
    await engine.load("v1", adapters[kind][1])
    unloading = asyncio.create_task(engine.unload("v0"))
    fresh = asyncio.gather(
        *(reply(engine, prompt, "v1", key=f"room {n}") for n, prompt in enumerate(prompts))
    )
    said = [
        ids_of([first, *rest])
        for first, rest in zip(begun, await asyncio.gather(*map(collect, running)), strict=True)
    ]
    assert said == [expected_reply(old, prompt) for prompt in prompts]
    assert await fresh == [expected_reply(new, prompt) for prompt in prompts]
    await unloading
    assert engine.loaded() == ("v1",)


async def test_kept_prefixes_of_one_version_are_never_used_by_another(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"])
    prompt = prompt_ids(40)
    for number, folder in enumerate(adapters["llama"]):
        await engine.load(f"v{number}", folder)
        model = with_adapter(folders["llama"], folder)
        assert await reply(engine, prompt, f"v{number}", key="room") == expected_reply(
            model, prompt
        )
    assert engine.stats().reused_tokens == 0


async def test_unloading_waits_for_the_last_reply_and_takes_no_new_ones(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"], rows=1)
    await engine.load("v0", adapters["llama"][0])
    running = engine.stream(Request(prompt_ids(10), "v0", GREEDY, "room"))
    await anext(running)
    queued = asyncio.create_task(reply(engine, prompt_ids(12), "v0"))
    await asyncio.sleep(0)
    unloading = asyncio.create_task(engine.unload("v0"))
    await asyncio.sleep(0)
    assert engine.loaded() == ()
    with pytest.raises(AdapterError, match="v0 is not loaded"):
        await collect(engine.stream(Request(prompt_ids(10), "v0")))
    with pytest.raises(AdapterError, match="never share a name"):
        await engine.load("v0", adapters["llama"][1])
    await collect(running)
    model = with_adapter(folders["llama"], adapters["llama"][0])
    assert await queued == expected_reply(model, prompt_ids(12))
    await unloading
    assert engine.stats().cache_bytes == 0


async def test_slots_are_limited_and_used_again(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start
) -> None:
    engine = start(folders["llama"], adapter_slots=2)
    first, second, third = adapters["llama"]
    await engine.load("v0", first)
    await engine.load("v1", second)
    with pytest.raises(AdapterError, match="no free slot for adapter v2: v0, v1 are loaded"):
        await engine.load("v2", third)
    await engine.unload("v0")
    await engine.load("v2", third)
    prompt = prompt_ids(20)
    expected = expected_reply(with_adapter(folders["llama"], third), prompt)
    assert await reply(engine, prompt, "v2") == expected


async def test_an_adapter_that_fails_to_load_leaves_its_slot_and_name_free(
    folders: dict[str, Path], adapters: dict[str, list[Path]], start: Start, tmp_path: Path
) -> None:
    engine = start(folders["llama"], adapter_slots=2)
    for _ in range(3):
        with pytest.raises(AdapterError, match="missing"):
            await engine.load("v0", tmp_path)
    await engine.load("v0", adapters["llama"][0])
    assert engine.loaded() == ("v0",)
    with pytest.raises(AdapterError, match="cannot be an adapter's name"):
        await engine.load(BASE, adapters["llama"][0])
    with pytest.raises(AdapterError, match="v7 is not loaded"):
        await engine.unload("v7")
