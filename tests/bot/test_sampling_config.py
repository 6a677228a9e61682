"""What operators may write under [sampling], and what the engine is asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bot.app import open_app
from bot.config import Config, SamplingConfig
from bot.config.file import load_config
from bot.config.spelling import spellings
from bot.engine.base import Request, whole
from bot.engine.template import ChatTemplate
from bot.errors import ConfigError
from bot.types import Sampling
from tests.engine.tiny import make_model, make_tokenizer


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate(make_tokenizer())


def test_what_is_written_is_what_is_asked(template: ChatTemplate, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[sampling]\nmin_tokens = 3\nmin_p = 0.1\nstop = ["\\nUser:"]\nbad_words = ["kettle"]\n'
        "temperature = 0\nbeams = 3\nlength_penalty = 0.5\n"
    )
    asked = load_config(file).sampling.settings(template.encode)
    assert (asked.min_tokens, asked.min_p, asked.stop) == (3, 0.1, ("\nUser:",))
    assert {template.decode(ids) for ids in asked.bad_words} == {"kettle", " kettle"}
    assert (asked.beams, asked.length_penalty) == (3, 0.5)
    plain = SamplingConfig().settings(template.encode)
    assert (plain.min_tokens, plain.stop, plain.bad_words, plain.beams) == (0, (), (), 1)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('stop = ["x", ""]', r"sampling\.stop: .*an empty text is in every reply"),
        ('bad_words = ["  "]', r"sampling\.bad_words: .*a blank text is no word"),
        (f"stop = {['x'] * 65}", r"sampling\.stop: .*65 texts are too many: list 64 at most"),
        (f"bad_words = {['x'] * 65}", r"sampling\.bad_words: .*65 texts are too many"),
        ("min_tokens = -1", r"sampling\.min_tokens"),
        ("beams = 9", r"sampling\.beams"),
        ("beams = 2", r"sampling\.beams is 2, but sampling\.temperature is 0\.8: .*set it to 0"),
        ("temperature = 0\nbeams = 4\n[engine]\nrows = 3", r"beams is 4, but engine\.rows is 3"),
        ("min_tokens = 121", r"sampling\.min_tokens is 121, but sampling\.max_tokens is 120"),
    ],
)
def test_what_cannot_be_meant_is_refused(line: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[sampling]\n{line}\n")
    with pytest.raises(ConfigError, match=told):
        load_config(file)


@pytest.mark.parametrize(("best_by", "drawn"), [("liked", 1), ("likely", 3)])
async def test_a_version_that_has_learned_no_taste_says_the_likeliest_if_that_is_configured(
    best_by: str, drawn: int, tmp_path: Path
) -> None:
    config = Config.model_validate({
        "model": {"name": str(make_model(tmp_path / "model")), "device": "cpu", "threads": 1},
        "sampling": {"best_by": best_by},
    })
    async with open_app(config, tmp_path / "data") as app:
        sampling = Sampling(seed=1, max_tokens=6)
        said = await whole(app.engine, Request(range(5, 20), sampling=sampling, best_of=3))
    assert said.timings is not None
    assert said.timings.drawn == drawn


def test_a_word_is_spelled_with_and_without_a_space_before_it(template: ChatTemplate) -> None:
    asked = ("the", " moon ", "the")
    texts = ("the", " the", "moon", " moon")
    assert spellings(asked, template.encode) == tuple(tuple(template.encode(t)) for t in texts)


def test_a_tokenizer_that_puts_a_space_before_every_text_is_seen_through() -> None:
    pieces = ["▁", "\n", "a", "c", "t", "▁cat", "cat"]
    merges = [("c", "a"), ("ca", "t"), ("▁", "cat")]
    known = {piece: number for number, piece in enumerate([*pieces, "ca"])}
    tokenizer = Tokenizer(models.BPE(known, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text).ids)

    assert encode("cat") == [known["▁cat"]]
    assert set(spellings(["cat"], encode)) == {(known["cat"],), (known["▁cat"],)}


def test_a_line_break_that_joins_a_word_leaves_the_word_as_it_is_alone() -> None:
    def encode(text: str) -> list[int]:
        return [len(text)]

    assert spellings(["cat"], encode) == ((3,), (4,))
