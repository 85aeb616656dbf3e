"""What a person may set in mid-run: the learning rate and the loss weights of the stage that trains."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from livelatent.errors import SettingError
from livelatent.train.stage import Stage

__all__ = ["Change", "Settings", "changed", "in_words", "settings_of"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was set, from `step` on."""

    stage: str
    step: int = 0
    learning_rate: float | int | None = None
    """None leaves it as it was."""
    weights: Mapping[str, float | int] = field(default_factory=dict)
    """Those that were set."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "weights": dict(self.weights)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Change":
        """What `to_dict` gave."""
        rate = fields["learning_rate"]
        return cls(
            stage=str(fields["stage"]),
            step=int(fields["step"]),
            learning_rate=None if rate is None else float(rate),
            weights={str(name): float(weight) for name, weight in fields["weights"].items()},
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Learning rate and loss weights of the stage that trains."""

    stage: str
    learning_rate: float
    """The stage's own, which its warm-up rises to and its cosine falls from."""
    learning_rate_now: float
    weights: dict[str, float]
    """In full."""
    weights_now: dict[str, float]
    """With the share of each that its schedule lets count."""
    changes: tuple[Change, ...] = ()
    """What was set so far, over all stages."""


def settings_of(stage: Stage, epoch: float, changes: tuple[Change, ...]) -> Settings:
    """Of a stage, `epoch` epochs (a step is a fraction of one) into it."""
    return Settings(
        stage=stage.name,
        learning_rate=stage.learning_rate,
        learning_rate_now=stage.learning_rate_at(epoch),
        weights=dict(stage.weights),
        weights_now=dict(stage.at(epoch).weights),
        changes=changes,
    )


def changed(stage: Stage, change: Change) -> Stage:
    """The stage with what was set in it; its schedules stay.

    Raises
    ------
    SettingError
        If the stage has no such term, or a value is none that can train.
    """
    for name, weight in change.weights.items():
        if name not in stage.weights:
            raise SettingError(
                f"the stage {stage.name!r} weighs {', '.join(stage.weights) or 'no term'}, and not {name!r}."
            )
        if not _is_number(weight) or weight < 0:
            raise SettingError(f"the weight of {name!r} is a number of 0 or more; got {weight!r}.")
    weights = {**stage.weights, **{name: float(weight) for name, weight in change.weights.items()}}
    if not any(weights.values()):
        raise SettingError(f"with every weight of the stage {stage.name!r} at 0 nothing is learned: leave one above 0.")
    rate = change.learning_rate
    if rate is not None and (not _is_number(rate) or not 0 < rate <= 1):
        raise SettingError(f"the learning rate is a number above 0, and at most 1; got {rate!r}.")
    return dataclasses.replace(
        stage, weights=weights, learning_rate=stage.learning_rate if rate is None else float(rate)
    )


def in_words(before: Stage, after: Stage) -> str:
    """What differs, for a mark in the history; empty where nothing does."""
    parts = []
    if before.learning_rate != after.learning_rate:
        parts.append(f"learning rate {before.learning_rate:g} → {after.learning_rate:g}")
    parts += [
        f"{name} weight {before.weights[name]:g} → {weight:g}"
        for name, weight in after.weights.items()
        if before.weights[name] != weight
    ]
    return ", ".join(parts)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
