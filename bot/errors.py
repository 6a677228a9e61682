"""Everything that can go wrong, in one tree; each message says what to do next.

    RapportError                 shown to the operator as one line, without a traceback
    ├── ConfigError              config.toml or the environment
    ├── ModelError               the base model cannot be loaded or is not supported
    ├── AdapterError             an adapter is missing, damaged or made for another base
    ├── StoreError               the database or the data folder
    │   └── StoreVersionError    the database was written by another version
    ├── DataError                a file handed to a command cannot be used
    ├── LearningError            a run cannot start or go on
    │   └── NothingToLearn       too few votes to make a training set
    └── EngineError              a request the engine cannot serve
        ├── Busy                 the queue is full; carries an estimate in seconds
        ├── PromptTooLong        the prompt does not fit the model's context
        └── EngineClosed         the engine is shutting down
"""

from __future__ import annotations


class RapportError(Exception):
    """The root: an error whose message is written for the operator."""


class ConfigError(RapportError):
    """The configuration is wrong."""


class ModelError(RapportError):
    """The base model cannot be loaded, or its architecture is not supported."""


class AdapterError(RapportError):
    """An adapter is missing, damaged, or was made for another base or rank."""


class StoreError(RapportError):
    """The database or the data folder cannot be used."""


class StoreVersionError(StoreError):
    """The database was written by a version of Rapport that this one does not know."""


class DataError(RapportError):
    """A file handed to a command cannot be used."""


class LearningError(RapportError):
    """A learning run cannot start or go on."""


class NothingToLearn(LearningError):
    """There are too few votes to make a training set."""


class EngineError(RapportError):
    """The engine cannot serve a request."""


class Busy(EngineError):
    """The engine's queue is full.

    Attributes:
        estimate: seconds until a place is likely to be free.
    """

    def __init__(self, estimate: float) -> None:
        super().__init__(f"too many conversations at once; try again in {estimate:.0f} s")
        self.estimate = estimate


class PromptTooLong(EngineError):
    """The prompt and the shortest reply do not fit the model's context."""


class EngineClosed(EngineError):
    """The engine is shutting down."""
