"""The configuration as frozen values.

Every key has a default, so that no file at all is a valid configuration; the file is read
by `bot.config_file`. Secrets never live here: tokens come from the environment, where the
platforms read them. What stands below a key is what people read about it: `bot.settings`
makes `config.toml` and the table in the documentation of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bot.gate_config import GateConfig
from bot.sections import Count, Positive, Section, Share
from bot.types import Sampling
from bot.votes_config import WeighingConfig
from bot.watch_config import WatchConfig


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
    """Requests that may wait for a row; beyond it people are told at once that it is busy."""
    context: Count = 0
    """Longest prompt plus reply, in tokens; 0 takes what the model was made for."""
    prefill_chunk: Annotated[int, Field(ge=16)] = 256
    """Tokens of a new prompt read in one step, so that a long one does not stall the others."""
    prefix_cache_mb: Count = 256
    """Memory for conversations already read (KV cache), in MB; the least recently used go
    first."""
    adapter_slots: Annotated[int, Field(ge=2)] = 4
    """Adapter versions held in memory at once, so that a swap lets running replies finish."""
    adapter_rank: Positive = 16
    """The highest LoRA rank those slots have room for; a higher one cannot be loaded."""


class SamplingConfig(Section):
    """How replies are drawn."""

    temperature: Annotated[float, Field(ge=0.0, le=5.0)] = 0.8
    """How adventurous the choice of words is: 0 always takes the likeliest word."""
    top_k: Count = 0
    """Choose among this many likeliest tokens; 0 sets no limit."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Choose among the likeliest tokens that hold this share of the probability (0 to 1)."""
    repetition_penalty: Annotated[float, Field(ge=1.0, le=2.0)] = 1.0
    """Makes tokens that were already used less likely; 1.0 switches it off."""
    max_tokens: Positive = 120
    """Longest reply, in tokens."""

    def settings(self, seed: int | None = None) -> Sampling:
        """These settings as the value a request carries."""
        return Sampling(
            self.temperature, self.top_k, self.top_p, self.repetition_penalty,
            self.max_tokens, seed,
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
    replay: Share = 0.2
    """Replies of the base model mixed in, as a share of the examples, against forgetting (0 to
    1)."""
    kl: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight of the pull towards the base model on those replies."""
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


class ModerationConfig(Section):
    """What the bot must not say."""

    words: tuple[str, ...] = ()
    """Words the bot must not say, found whole and in any case. A reply with one is withheld."""
    patterns: tuple[str, ...] = ()
    r"""The same as regular expressions, in any case, such as "\\bssn\\b"."""
    classifier: str = ""
    """A function of yours that is given a whole reply and returns a reason to withhold it, or
    None, as "package.module:function". With it replies are shown when they are whole."""


class VotesConfig(Section):
    """Which reactions are votes."""

    up: tuple[str, ...] = ("👍", "❤️")
    """Reactions that say a reply was good; skin tones make no difference."""
    down: tuple[str, ...] = ("👎",)
    """Reactions that say a reply was bad."""


class DiscordConfig(Section):
    """Where and how the bot talks on Discord."""

    message_content: bool = True
    """Whether the bot may read messages that do not mention it (the privileged "message content"
    intent of the developer portal); without it mentions and direct messages still work."""
    always: tuple[str, ...] = ()
    """Channels (or categories) where the bot answers every message, not only mentions."""
    thread_per_mention: bool = False
    """Whether a mention in a channel opens a thread for the answer."""
    buttons: bool = False
    """Whether replies carry 👍 and 👎 buttons; reactions work either way."""
    ping: bool = False
    """Whether an answer pings the person who asked."""
    receipt: bool = False
    """Whether a question that has to wait behind another gets a 👀 until its answer begins."""
    edit_seconds: Annotated[float, Field(ge=0.2)] = 1.2
    """Seconds between two edits of an answer that is being written; below 1 Discord slows it
    down."""
    attachment_characters: Count = 2000
    """How much of attached text files is read with a message, in characters."""
    api_base: str = ""
    """Another server that speaks Discord's API, such as "http://127.0.0.1:8000/api/v10"."""


class SlackConfig(Section):
    """Where and how the bot talks on Slack."""

    mode: Literal["socket", "http"] = "socket"
    """How Slack's events arrive: "socket" needs no public address, "http" serves Slack's requests
    (and needs SLACK_SIGNING_SECRET)."""
    http_host: str = "127.0.0.1"
    """Where requests are served in the mode "http"; put what ends TLS in front of it."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 3000
    """The port they are served on, under /slack/events; 0 takes one that is free."""
    always: tuple[str, ...] = ()
    """Channels where the bot answers every message, not only mentions."""
    thread_replies: bool = True
    """Whether a mention in a channel is answered in a thread of its own."""
    agent_view: bool = False
    """Whether Slack shows the bot as an agent, where each direct question opens a thread; `rapport
    slack-manifest` then describes such an app."""
    feedback_buttons: bool = True
    """Whether replies carry 👍 and 👎 buttons; reactions work either way."""
    receipt: bool = False
    """Whether a question that has to wait behind another gets a 👀 until its answer begins."""
    edit_seconds: Annotated[float, Field(ge=0.2)] = 1.2
    """Seconds between two edits of an answer that is being written; below 1 Slack slows it
    down."""
    attachment_characters: Count = 2000
    """How much of attached text files is read with a message, in characters."""
    api_base: str = ""
    """Another server that speaks Slack's Web API, such as "http://127.0.0.1:8000/api/"."""


class UsersConfig(Section):
    """Which people the bot obeys and talks to, by their ids; an empty list is everybody.

    Ids are written as text: a Discord id is the long number behind "Copy ID" (developer
    mode), a Slack id begins with U (a person) or C (a channel).
    """

    admin_ids: tuple[str, ...] = ()
    """Who owns the bot: /learn is theirs. Empty: the owner of the Discord application, the owners
    of the Slack workspace."""
    allowed_ids: tuple[str, ...] = ()
    """The only people the bot answers; where no roles are listed, the only ones who vote."""
    blocked_ids: tuple[str, ...] = ()
    """People the bot never answers, and whose votes and commands it does not take."""


class RolesConfig(Section):
    """Which roles the bot talks to, by their ids."""

    allowed_ids: tuple[str, ...] = ()
    """The only roles the bot answers."""
    blocked_ids: tuple[str, ...] = ()
    """Roles the bot never answers."""


class ChannelsConfig(Section):
    """Where the bot talks, by the ids of channels and categories."""

    allowed_ids: tuple[str, ...] = ()
    """The only channels or categories the bot answers in; threads count as their channel."""
    blocked_ids: tuple[str, ...] = ()
    """Channels or categories the bot never answers in."""


class PermissionsConfig(Section):
    """Who may talk with the bot, and where; nothing listed is everybody."""

    users: UsersConfig = UsersConfig()
    roles: RolesConfig = RolesConfig()
    channels: ChannelsConfig = ChannelsConfig()


class LimitsConfig(Section):
    """How often the bot answers.

    The terminal has no limits, nor has whoever stands in permissions.users.admin_ids.
    """

    user_per_minute: Count = 12
    """Messages a minute that one person is answered; 0 sets no limit."""
    guild_per_minute: Count = 120
    """Messages a minute that one server is answered, direct messages aside; 0 sets no limit."""


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
    objective: Literal["auto", "sft", "kto", "dpo"] = "auto"
    """What a run learns from: "sft" liked replies; "kto" liked and disliked ones; "dpo" a liked
    and a disliked one to the same prompt; "auto" sft, and from learning.preference.min_rated
    replies kto, with dpo where it can."""
    seed: int = 0
    """The seed of a run: the same frozen votes, settings and seed make the same adapter."""
    keep_versions: Positive = 8
    """Versions kept on disk; older ones are removed, the serving one and its predecessor
    never."""
    votes: WeighingConfig = WeighingConfig()
    sft: SftConfig = SftConfig()
    preference: PreferenceConfig = PreferenceConfig()
    gate: GateConfig = GateConfig()
    watch: WatchConfig = WatchConfig()
    schedule: ScheduleConfig = ScheduleConfig()


class LogConfig(Section):
    """What is written about the bot's own doings."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important thing that is logged: debug, info, warning or error."""
    file: str = "rapport.log"
    """The log file, inside the data folder."""


class Config(Section):
    """The whole configuration."""

    model: ModelConfig = ModelConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    conversation: ConversationConfig = ConversationConfig()
    memory: MemoryConfig = MemoryConfig()
    permissions: PermissionsConfig = PermissionsConfig()
    limits: LimitsConfig = LimitsConfig()
    moderation: ModerationConfig = ModerationConfig()
    votes: VotesConfig = VotesConfig()
    discord: DiscordConfig = DiscordConfig()
    slack: SlackConfig = SlackConfig()
    learning: LearningConfig = LearningConfig()
    log: LogConfig = LogConfig()
