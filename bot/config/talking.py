"""The keys of what talks: model, engine, sampling, conversation, memory, moderation, log.

Only keys and what people read about them.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bot.config.sections import Count, Positive, Section
from bot.config.spelling import Encode, spellings
from bot.types import Sampling


class ModelConfig(Section):
    """Which model talks, and where it runs."""

    name: str = "rapport-tiny"
    """The model that talks: "rapport-tiny" (built in), a folder in Hugging Face layout, or a
    Hugging Face hub id. Adapters belong to one model: changing this keeps them, unserved."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where it runs. "auto" takes a CUDA GPU, then Apple's MPS, then the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """The number format of the weights in memory. "auto" suits the device and the model's
    size."""
    threads: Count = 0
    """CPU threads the model may use; 0 uses every core this process is allowed to run on."""


class EngineConfig(Section):
    """How many conversations share the model, and what is kept of them."""

    rows: Positive = 16
    """Replies generated at the same time, in one batch."""
    queue: Positive = 64
    """Requests that may wait for a row; beyond it people are told at once that it is busy. Servers
    full of people are served in turn, and none of several takes more than three quarters of all
    places."""
    deadline_seconds: Count = 120
    """How long a person's reply may take from the question to its end, in seconds. One that still
    waits for a row then is given up, and the person told to ask again; one that runs is cut, and
    not learned from. 0 sets no limit."""
    watchdog_seconds: Count = 60
    """How long one step of the engine may last, in seconds: beyond it the log says where it hangs,
    and /readyz that the bot cannot talk. 0 never asks."""
    context: Count = 0
    """Longest prompt plus reply, in tokens; 0 takes what the model was made for."""
    prefill_ms: Positive = 100
    """How long a step may read new prompts, in milliseconds, as far as can be told from the steps
    before: replies that run wait about that long for their next word at most, or for as long as
    five words take if the model is slower. While none runs a step may read four times as long."""
    prefill_chunk: Annotated[int, Field(ge=16)] = 2048
    """Tokens of new prompts that one step reads at most, however fast that is: what is computed on
    them takes memory."""
    prefix_cache_mb: Literal["auto"] | Count = "auto"
    """Memory for conversations already read (KV cache), in MB; the least recently used go
    first. "auto" takes a fifth of what is free once the model is loaded, but 64 MB at least and
    4096 at most; 0 keeps none."""
    adapter_slots: Annotated[int, Field(ge=2)] = 4
    """Adapter versions held in memory at once, so that a swap lets running replies finish."""
    adapter_rank: Positive = 16
    """The highest LoRA rank those slots have room for; a higher one cannot be loaded."""
    compiled: bool = True
    """Whether parts of a step run as C, compiled at the first start where there is a C compiler;
    for models in float32 on a CPU."""


MOST_TEXTS = 64
"""Words or stop texts that are compared with every token of a reply."""


def _few(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(texts):
        raise ValueError("an empty text is in every reply: leave it out")
    if len(texts) > MOST_TEXTS:
        raise ValueError(f"{len(texts)} texts are too many: list {MOST_TEXTS} at most")
    return texts


def _words(words: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(str.strip, words)):
        raise ValueError("a blank text is no word: leave it out")
    return _few(words)


class SamplingConfig(Section):
    """How replies are drawn."""

    temperature: Annotated[float, Field(ge=0.0, le=5.0)] = 0.8
    """How adventurous the choice of words is: 0 always takes the likeliest word."""
    top_k: Count = 0
    """Choose among this many likeliest tokens; 0 sets no limit."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Choose among the likeliest tokens that hold this share of the probability (0 to 1)."""
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Choose among tokens at least so likely as a share of the likeliest (0 to 1); 0 sets no
    limit."""
    repetition_penalty: Annotated[float, Field(ge=1.0, le=2.0)] = 1.0
    """Makes tokens that were already used less likely; 1.0 switches it off."""
    bad_words: Annotated[tuple[str, ...], AfterValidator(_words)] = ()
    """Words or phrases that replies are steered around, 64 at most, just as they are written here:
    a capital letter makes another word, and longer words that begin so may go with it. To see
    that something is never shown, list it under [moderation]."""
    stop: Annotated[tuple[str, ...], AfterValidator(_few)] = ()
    """Texts that end a reply, such as "\\nUser:", 64 at most; the reply is what stands before. The
    model is not trained to say a reply that ended so, because the end was not its own."""
    min_tokens: Count = 0
    """Shortest reply, in tokens: before so many the model does not end it."""
    max_tokens: Positive = 120
    """Longest reply, in tokens."""
    best_of: Annotated[int, Field(ge=1, le=32)] = 8
    """Replies drawn at once, of which the best is said, where temperature is not 0 and there is
    something to tell it by (best_by). Fewer are drawn where rows are short. A reply that was chosen
    is not shown while it grows; 1 draws one and shows it word by word."""
    best_by: Literal["liked", "likely"] = "liked"
    """Which of several replies is the best: "liked" takes the one that people would like best, once
    a version serves that has learned it from votes, and draws one reply until then; "likely" does
    so too, but until then takes the one whose tokens the model finds likeliest on average."""

    beams: Annotated[int, Field(ge=1, le=8)] = 1
    """Beginnings of a reply that are pursued at once, with temperature 0: of several the one is
    said that ends likeliest. Each takes one of engine.rows, and the reply is not shown while it
    grows; 1 always takes the likeliest word and shows it."""
    length_penalty: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0
    """With several beams, how much a reply's length makes up for being less likely: 0 compares
    replies as they are, 1 by the mean over their tokens, 2 favours long ones."""

    def settings(self, encode: Encode) -> Sampling:
        """These settings as the value a request carries, without a seed.

        Args:
            encode: of the model's tokenizer; bad words are spelled with it.
        """
        return Sampling(
            self.temperature, self.top_k, self.top_p, self.repetition_penalty, self.max_tokens,
            min_p=self.min_p, min_tokens=self.min_tokens,
            bad_words=spellings(self.bad_words, encode), stop=self.stop,
            beams=self.beams, length_penalty=self.length_penalty,
        )


class ConversationConfig(Section):
    """What the model is told, and how much of the past it is shown."""

    persona: str = "You are Rapport, a friendly chatbot."
    """The system prompt: who the bot is. It stands at the top of everything the model reads."""
    history_tokens: Count = 0
    """How much of the past the model is shown, in tokens; 0 takes what the context leaves."""
    max_message_characters: Positive = 4000
    """A longer message is cut before the model sees it, in characters."""
    join: bool = False
    """Messages that come while the bot is answering in their channel: false answers each in turn,
    true answers those that have gathered together."""


class MemoryConfig(Section):
    """Liked exchanges as examples in later prompts of the same channel, without training."""

    enabled: bool = False
    """Whether the model is shown liked exchanges that resemble a question. Off by default: that it
    makes replies better has not been shown yet."""
    examples: Positive = 2
    """Most examples in a prompt."""
    tokens: Positive = 160
    """Most tokens of a prompt for them all; never more than a quarter of what it may have."""
    silence_minutes: Positive = 30
    """Minutes without a question after which examples are chosen anew for the next one."""


class ModerationConfig(Section):
    """What the bot must not say."""

    words: tuple[str, ...] = ()
    """Words the bot must not say, found whole and in any case. A reply with one is withheld."""
    patterns: tuple[str, ...] = ()
    r"""The same as regular expressions, in any case, such as "\\bssn\\b"."""
    classifier: str = ""
    """A function of yours that is given a whole reply and returns a reason to withhold it, or
    None, as "package.module:function". With it replies are shown when they are whole."""


def _inside(file: str) -> str:
    path = PurePath(file)
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise ValueError("the log lies in the data folder: give a name such as rapport.log")
    return file


class LogConfig(Section):
    """What is written about the bot's own doings."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important thing that is logged: debug, info, warning or error."""
    file: Annotated[str, AfterValidator(_inside)] = "rapport.log"
    """The log file, inside the data folder."""
