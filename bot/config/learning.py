"""The keys of ``[learning]`` and of how an adapter is trained.

What votes weigh, what a candidate must show and how a version is watched have modules beside
this one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bot.config.gate import GateConfig
from bot.config.sections import Count, Positive, Section, Share
from bot.config.taste import TasteConfig
from bot.config.tracking import TrackingConfig
from bot.config.watch import WatchConfig
from bot.config.weighing import WeighingConfig


class SftConfig(Section):
    """Training of an adapter; supervised, on liked replies, unless learning.objective says more."""

    learning_rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Peak learning rate; 0 takes one that suits the model: 1e-3 for small ones, 2e-4 for
    others."""
    epochs: Positive = 3
    """Most passes over the examples; early stopping may end sooner."""
    batch: Positive = 16
    """Examples in an optimiser step (a pair for dpo is one); small sets are cut into at least four
    steps a pass."""
    micro_batch: Positive = 8
    """Examples in one forward and backward pass: smaller needs less memory and yields sooner."""
    rank: Positive = 16
    """LoRA rank of a new adapter; at most engine.adapter_rank."""
    alpha: Positive = 32
    """LoRA alpha; the adapter's output is scaled by alpha / rank."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead (rsLoRA), which suits high ranks; alpha then wants to be
    lower, and the same learning rate goes further."""
    replay: Share = 0.2
    """Replies of the base model mixed in, as a share of the examples, against forgetting (0 to
    1)."""
    kl: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight of the pull towards the base model on those replies."""
    most_drift: Share = 0.03
    """How much harder the base's own replies may become for an adapter (0.03 = 3 %): one that
    went further is weakened until it keeps to it; 0 leaves every adapter as it was trained."""
    gauge: Positive = 96
    """Replies of the base that most_drift is measured on; they are not trained on."""
    patience: Positive = 1
    """Passes without a better validation loss after which a run stops."""
    stop_items: Positive = 16
    """Fewest liked replies set aside by which a run may stop early; with fewer, that would be
    luck."""


class PreferenceConfig(Section):
    """Training on liked replies against disliked ones (`kto`, `dpo`).

    The keys of learning.sft hold there as well, but for the learning rate.
    """

    min_rated: Positive = 300
    """Fewest rated replies from which objective "auto" trains on dislikes as well."""
    min_disliked: Positive = 50
    """Fewest disliked replies among them."""
    learning_rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Peak learning rate; 0 takes one that suits the model: 5e-4 for small ones, 5e-5 for
    others."""
    beta: Annotated[float, Field(gt=0.0)] = 0.1
    """How soon a reply has moved far enough from what the base model makes of it: larger is
    sooner."""
    nll: Share = 0.15
    """Share of plain training on liked replies that is added (0 to 1)."""
    class_weight_low: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Least weight of liked or of disliked replies, where one kind outnumbers the other."""
    class_weight_high: Annotated[float, Field(ge=1.0)] = 4.0
    """Most weight of liked or of disliked replies."""


class ScheduleConfig(Section):
    """When a run starts by itself."""

    cron: str = ""
    """When a run starts by itself, as a crontab line: "0 4 * * 1" is Mondays at 4; empty is
    never."""
    every_votes: Count = 0
    """Start a run after this many new votes; 0 switches it off."""
    quiet_hours: str = ""
    """Hours in which no run starts by itself, such as "08:00-23:00": it waits for their end."""
    timezone: str = "UTC"
    """The time zone cron and quiet_hours are read in (IANA name)."""


class LearningConfig(Section):
    """How votes become adapters."""

    enabled: bool = True
    """Whether votes may become adapters. Votes are kept either way."""
    approval: Literal["auto", "admin"] = "auto"
    """Who lets a version serve that has passed the gate: "auto" swaps at once, "admin" waits for
    an operator's /learn approve (or /learn veto)."""
    share: Share = 0.25
    """The share of the model's time a run may take while people are waiting for replies (0 to
    1)."""
    private_channels: bool = False
    """Whether direct messages and private channels may be learned from."""
    consent: Literal["ask", "opt-in", "opt-out", "granted"] = "ask"
    """Whose words on Discord and Slack may be learned from: "ask" asks each person once and takes
    a yes, "opt-in" takes a yes given by /mydata consent, "opt-out" takes everybody who has not
    said no, "granted" too: you have asked everybody yourself, and still nobody's no is
    overruled."""
    platform_terms_acknowledged: bool = False
    """Whether you have read what the platform's terms say about training on its messages, and
    answer for it. Until then nothing said on Discord or Slack is learned from."""
    retention_days: Count = 30
    """Days that words of people who have not consented are kept on Discord and Slack; 0 is for
    ever."""
    min_examples: Positive = 4
    """Fewest liked replies a run starts with, those kept for judging not counted."""
    objective: Literal["auto", "taste", "sft", "kto", "dpo"] = "auto"
    """What a run learns from: "taste" liked replies, and replies of the base chosen by a head
    that has learned the votes; "sft" liked replies alone; "kto" liked and disliked ones;
    "dpo" a liked and a disliked one to the same prompt. "auto" is taste where likes can be told
    from dislikes, otherwise sft, and from learning.preference.min_rated replies kto, with dpo
    where it can."""
    seed: int = 0
    """The seed of a run: the same frozen votes, settings and seed make the same adapter."""
    keep_versions: Positive = 8
    """Versions kept on disk; older ones are removed, the serving one and its predecessor
    never."""
    votes: WeighingConfig = WeighingConfig()
    sft: SftConfig = SftConfig()
    taste: TasteConfig = TasteConfig()
    preference: PreferenceConfig = PreferenceConfig()
    gate: GateConfig = GateConfig()
    watch: WatchConfig = WatchConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    tracking: TrackingConfig = TrackingConfig()
