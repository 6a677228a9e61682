"""`benchmarks.engine`: whoever says something else than the model is not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers import Peer, Spoken, check, generate_peer
from bot.config import EngineConfig
from bot.engine.model import LoadedModel
from tests.engine.tiny import load

PROMPTS = [[10, 11, 12], [20, 21, 22], [30, 31, 32]]


@pytest.fixture
def loaded(folders: dict[str, Path]) -> LoadedModel:
    model = load(folders["llama"], EngineConfig(rows=4))
    model.model.generation_config.eos_token_id = None
    return model


def changed(peer: Peer, wrong: int) -> Peer:
    """The same peer, but with another first token in so many of its replies."""

    async def speak(prompts: list[list[int]]) -> list[Spoken]:
        spoken = await peer(prompts)
        return [
            replace(one, ids=(one.ids[0] ^ 1, *one.ids[1:])) if n < wrong else one
            for n, one in enumerate(spoken)
        ]

    return speak


async def test_a_peer_that_says_what_the_model_says_passes(loaded: LoadedModel) -> None:
    peer = generate_peer(loaded)
    await check({"generate": peer, "off by one": changed(peer, 1)}, loaded, PROMPTS)


async def test_a_peer_that_says_mostly_something_else_is_refused(loaded: LoadedModel) -> None:
    peers = {"other": changed(generate_peer(loaded), 2)}
    with pytest.raises(SystemExit, match="other begins 1 of 3"):
        await check(peers, loaded, PROMPTS)


async def test_a_peer_that_ends_its_replies_early_is_refused(loaded: LoadedModel) -> None:
    async def hasty(prompts: list[list[int]]) -> list[Spoken]:
        spoken = await generate_peer(loaded)(prompts)
        return [replace(one, ids=one.ids[:-1]) for one in spoken]

    with pytest.raises(SystemExit, match="hasty does not give 48 tokens"):
        await check({"hasty": hasty}, loaded, PROMPTS)
