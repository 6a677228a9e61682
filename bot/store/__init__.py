"""The room of facts: what was said, how people liked it, and what was learned from it.

`Store` is the whole public face. The rest of Rapport hands it the values of `bot.types`
and gets them back; it never sees a table, a connection or a transaction.
"""

from bot.store.consent import Consent
from bot.store.store import Store
from bot.store.values import (
    Ban,
    Cast,
    Decision,
    Ending,
    Event,
    FollowUp,
    Judgement,
    Moment,
    Outcome,
    Posted,
    Review,
    Run,
    Said,
    StoredTurn,
    Timed,
    Traces,
    WaitingMessage,
)

__all__ = [
    "Ban", "Cast", "Consent", "Decision", "Ending", "Event", "FollowUp", "Judgement", "Moment",
    "Outcome", "Posted", "Review", "Run", "Said", "Store", "StoredTurn", "Timed", "Traces",
    "WaitingMessage",
]
