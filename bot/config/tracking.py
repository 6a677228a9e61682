"""The keys of ``[learning.tracking]``: where the curves of learning runs go besides the database.

Only keys and what people read about them. What is sent, and how, is `learning.tracking`.
"""

from __future__ import annotations

from bot.config.sections import Section


class TrackingConfig(Section):
    """Where else the loss, the speed and the verdicts of learning runs go; no words do."""

    tensorboard: str = ""
    """A folder for TensorBoard, with a folder in it for each version; empty is none. Needs the
    extra "tensorboard"."""
    wandb: str = ""
    """A project at Weights & Biases, with a run in it for each version; empty is none. Needs the
    extra "wandb"; what it may send and to whom is for its own environment to say
    (WANDB_MODE=offline keeps it on this machine)."""
