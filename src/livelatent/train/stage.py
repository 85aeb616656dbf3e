"""One stage of training: what trains, on which loss terms and rows, and when to stop."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What trains, on which loss terms and rows, and when to stop."""

    name: str
    trains: tuple[str, ...]
    """Prefixes of parameter names; everything else is frozen and in evaluation mode."""
    weights: dict[str, float] = field(default_factory=dict)
    """Loss term → its factor in the total."""
    epochs: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    no_decay: tuple[str, ...] = ()
    """Prefixes of parameter names that weight decay leaves alone."""
    warmup_epochs: int = 0
    """The learning rate rises over these from a quarter, then falls along a cosine to the last epoch."""
    patience: int | None = None
    """Epochs without a lower validation loss after which the stage ends; its best weights are kept."""
    rows: Literal["labelled", "all"] = "labelled"
    moves_latent: bool = True
    """Whether the latent is another one afterwards; what needs the latent only may leave such stages at the end out."""

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
        return torch.optim.Adam([group for group in groups if group["params"]], lr=self.learning_rate)

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate `epoch` epochs (a step is a fraction of one) into the stage."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * (0.25 + 0.75 * epoch / self.warmup_epochs)
        done = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def _spared(self, name: str) -> bool:
        return bool(self.no_decay) and name.startswith(self.no_decay)
