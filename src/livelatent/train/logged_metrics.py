"""What a LightningModule logs, as curves: terms by name, training and validation apart."""

import re
from typing import Any

from livelatent.train.history import History

__all__ = ["LoggedMetrics", "curve_of"]

VALIDATION = ("val", "valid", "validation")


def curve_of(name: str) -> tuple[str, str]:
    """The curve that a logged metric belongs to: its term, and "train" or "validation".

    Examples
    --------
    >>> curve_of("val_loss"), curve_of("elbo_train"), curve_of("train_loss_epoch"), curve_of("acc")
    (('loss', 'validation'), ('elbo', 'train'), ('loss', 'train'), ('acc', 'train'))
    """
    words = [word for word in re.split(r"[_/]", name) if word not in ("step", "epoch")]
    is_validation = any(word in VALIDATION for word in words)
    term = "_".join(word for word in words if word not in (*VALIDATION, "train", "training"))
    return term or name, "validation" if is_validation else "train"


class LoggedMetrics:
    """Notes a Trainer's metrics when told to, each value once."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._seen: dict[str, float] = {}

    def note(self, trainer: Any) -> None:
        """Metrics that are new or have changed; a step's value is left out where there is its epoch's mean.

        The training loss is left out too: the watch has it of every step.
        """
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for name, value in logged.items():
            if name.removesuffix("_step") + "_epoch" in logged and not name.endswith("_epoch"):
                continue
            term, split = curve_of(name)
            if self._seen.get(name) != value and (term, split) != ("loss", "train"):
                self._history.add(int(trainer.global_step), {term: value}, split)
            self._seen[name] = value
