"""One stage of training: what trains, on which loss terms and rows, and when to stop."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from livelatent.train.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What trains, on which loss terms and rows, and when to stop."""

    name: str
    trains: tuple[str, ...]
    """Prefixes of parameter names; everything else is frozen and in evaluation mode."""
    weights: dict[str, float] = field(default_factory=dict)
    """Loss term → its factor in the total. A model is given those of the present step, a schedule's share in them."""
    schedules: dict[str, Schedule] = field(default_factory=dict)
    """Loss term → how its weight comes and goes; one that is not named counts in full throughout.

    Validation always counts in full: its total would otherwise grow with the weight, and no epoch of a warm-up could
    be held against another."""
    epochs: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    no_decay: tuple[str, ...] = ()
    """Prefixes of parameter names that weight decay leaves alone."""
    eps: float = 1e-8
    """Adam's, beside the root of the second moment."""
    warmup_epochs: int = 0
    """The learning rate rises over these from a quarter."""
    decay: Literal["cosine", "none"] = "cosine"
    """After that it falls along a cosine to the last epoch, or stays."""
    patience: int | None = None
    """Epochs without a lower validation loss after which the stage ends; its best weights are kept."""
    watches: str = "loss"
    """What patience watches in the validation: the total, or one term or metric by name; lower is better."""
    rows: Literal["labelled", "all"] = "labelled"
    compares_cells: bool = False
    """Whether its terms hold cells of one label against each other, so that a cell alone with its label in the
    minibatch, an anchor without a positive, teaches nothing."""
    moves_latent: bool = True
    """Whether the latent is another one afterwards; what needs the latent only may leave such stages at the end out."""

    def __post_init__(self) -> None:
        if strange := sorted(set(self.schedules) - set(self.weights)):
            raise ValueError(f"stage {self.name!r} schedules {', '.join(strange)}, and weighs no such term.")

    def parameters(self, model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
        """Parameters of `model` that train in this stage."""
        return {name: p for name, p in model.named_parameters() if name.startswith(self.trains)}

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Adam:
        """Adam over the stage's parameters, in the order of their names in `parameters`."""
        parameters = self.parameters(model)
        decayed = [p for name, p in parameters.items() if not self._spared(name)]
        spared = [p for name, p in parameters.items() if self._spared(name)]
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]
        return torch.optim.Adam([group for group in groups if group["params"]], lr=self.learning_rate, eps=self.eps)

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate `epoch` epochs (a step is a fraction of one) into the stage."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * (0.25 + 0.75 * epoch / self.warmup_epochs)
        if self.decay == "none":
            return self.learning_rate
        done = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def at(self, epoch: float) -> "Stage":
        """The stage as a model sees it `epoch` epochs in: every weight with its schedule's share in it."""
        if not self.schedules:
            return self
        shares = {name: schedule.share_at(epoch) for name, schedule in self.schedules.items()}
        weights = {name: weight * shares.get(name, 1.0) for name, weight in self.weights.items()}
        return dataclasses.replace(self, weights=weights, schedules={})

    def in_full(self) -> "Stage":
        """The stage with every weight in full."""
        return dataclasses.replace(self, schedules={})

    def lasting(self, epochs: int) -> "Stage":
        """The same stage in another number of epochs: in fewer, warm-ups and cycles shrink with them."""
        share = min(epochs / self.epochs, 1.0)
        return dataclasses.replace(
            self,
            epochs=epochs,
            schedules={name: schedule.scaled(share) for name, schedule in self.schedules.items()},
        )

    def _spared(self, name: str) -> bool:
        return bool(self.no_decay) and name.startswith(self.no_decay)
