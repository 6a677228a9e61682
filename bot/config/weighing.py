"""The keys of ``[learning.votes]``: how votes are weighed, and which likes an operator looks at.

Only keys and what people read about them. The rules themselves, one function each, are
`learning.votes.weights`, `learning.votes.trust`, `learning.votes.novelty` and
`learning.votes.hints`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bot.config.sections import Count, Positive, Section, Share

Weight = Annotated[float, Field(gt=0.0, le=1.0)]
Hint = Annotated[float, Field(ge=0.0, le=0.25)]


class ImplicitConfig(Section):
    """What people do without voting, as weak labels of replies that nobody voted on.

    They teach, within narrow bounds, and never judge.
    """

    enabled: bool = False
    """Whether hints count at all."""
    thanks: Hint = 0.1
    """What it weighs, as a share of a like, that the person says thanks next; 0 switches it
    off."""
    wrong: Hint = 0.2
    """What it weighs, as a share of a dislike, that the person says next that it is wrong."""
    asked_again: Hint = 0.1
    """What it weighs, as a share of a dislike, that the person asks nearly the same again."""
    edited: Hint = 0.05
    """What it weighs, as a share of a dislike, that the question was edited after the reply."""
    within_seconds: Positive = 120
    """How soon after the reply the person's next message has to come."""
    most: Share = 0.5
    """The weight of all hints together, as a share of the weight of all votes, at most."""
    phrases: str = ""
    """A file with words of thanks and of contradiction in your languages; empty takes the
    built-in one (English and Chinese)."""


class WeighingConfig(Section):
    """What a person's votes weigh, and which liked replies wait for an operator's word.

    One person's votes are never weighed against themselves: where only one person votes, all
    of them weigh 1.
    """

    rater_cap: Annotated[float, Field(ge=0.0)] = 2.0
    """One person's total weight, as a multiple of the fair share (total weight / people); 0 sets
    no such limit."""
    most_share: Weight = 0.05
    """The largest share of all weight that one person may have, once enough people vote; 1 sets no
    such limit."""
    share_raters: Positive = 40
    """How many people have to vote before most_share holds."""
    trust: bool = True
    """Whether votes of people weigh less who disagree with others about the same replies."""
    trust_start: Weight = 0.7
    """How far somebody is trusted whose votes cannot be compared with anybody's yet (up to 1)."""
    trust_strength: Positive = 5
    """How many comparisons trust_start counts for: the more, the slower trust grows and falls."""
    one_sided_votes: Count = 20
    """Votes from which it tells something that somebody nearly always votes the same way; 0
    switches the rule off."""
    one_sided_share: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    """The share of 👍 (or 👎) among somebody's votes above which they weigh less."""
    one_sided_weight: Weight = 0.5
    """What a vote of somebody weighs who always votes the same way; in between, in proportion."""
    min_raters: Positive = 1
    """Fewest people whose votes a run may learn from. From 2 on, none of them may hold more than
    half of the weight; 1 also lets one person teach the bot alone."""
    novelty: bool = True
    """Whether a liked reply waits for /learn review that one person alone likes, and that holds an
    address, a link, a mention or a long number which nobody else has said."""
    implicit: ImplicitConfig = ImplicitConfig()
