"""A run as it is now, and a copy of its model."""

from dataclasses import dataclass, field
from typing import Literal

from livelatent.models.model import Model
from livelatent.stream.health import Health

__all__ = ["Phase", "RunStatus", "Snapshot"]

Phase = Literal["ready", "training", "paused", "stopping", "done", "stopped", "failed", "latent"]
"""The last is no run's: a latent that is there already, where nothing trains (`session/given.py`)."""


@dataclass(frozen=True)
class RunStatus:
    """A run as it is now."""

    state: Phase
    stage: str
    """The present stage; the last one when all is done."""
    epoch: int
    """Epochs done, over all stages."""
    epochs: int
    """Epochs of the whole run; fewer once a stage has stopped early."""
    step: int
    cells_per_s: float
    wait_share: float
    """Share of the time that training waits for the stream."""
    message: str
    """Why it failed, or what was said at the end."""
    health: Health = field(default_factory=Health)
    """Of the stream that it trains on."""
    alarms: tuple[str, ...] = ()
    """What the model said is wrong with it when it was validated last, such as a collapsed posterior."""

    def __repr__(self) -> str:
        text = f"{self.state}: epoch {self.epoch} of {self.epochs}, step {self.step:,} ({self.stage})"
        if self.cells_per_s:
            text += f", {self.cells_per_s:,.0f} cells/s, {self.wait_share:.0%} of the time waiting for data"
        if self.health.types:
            text += f", {self.health.types:.0f} labels and {self.health.batches:.0f} batches a minibatch"
        if self.health.lone_cells >= 0.5:
            text += f", {self.health.lone_cells:.0f} of its cells alone with their label"
        return f"RunStatus({'. '.join((text, *filter(None, (self.message,)), *self.alarms))})"


@dataclass(frozen=True)
class Snapshot:
    """A copy of the model in evaluation mode, taken between two steps."""

    step: int
    epoch: int
    model: Model
