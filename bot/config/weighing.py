"""The keys of ``[learning.votes]``: how votes are weighed, and which likes an operator looks at.

Only keys and what people read about them. The rules themselves, one function each, are
`learning.votes.weights`, `learning.votes.trust` and `learning.votes.novelty`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bot.config.sections import Count, Positive, Section

Weight = Annotated[float, Field(gt=0.0, le=1.0)]


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
