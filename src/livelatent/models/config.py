"""A model's config: what every one holds, which values mean something, and what its file and its hash are made of."""

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LATER", "ModelConfig", "check_amounts", "check_choice", "check_counts", "check_shares", "config_facts"]

MOST = 2**63 - 1
"""Of a whole number, where nothing else bounds it: what other programs can read."""

LATER = {"later": True}
"""Metadata of a config's field that models of the same class were saved without.

Where such a field has its default it is neither written nor hashed, so a model saved before the field existed keeps
its sha256, which labels and judge's files name it by.
"""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a model takes from its atlas; each model's own settings come after.

    Raises
    ------
    ValueError
        If there is no gene, or the mean total is no positive number.
    """

    genes: tuple[str, ...]
    label_names: tuple[str, ...]
    batch_names: tuple[str, ...]
    mean_total: float
    """Mean total count of the training atlas (L of equation 2.3, docs/equations.md)."""
    atlas_path: str = ""

    def __post_init__(self) -> None:
        # JSON, which a config is hashed and saved as, has no numpy scalars.
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, one.name, value.item())
        if not self.genes or isinstance(self.genes, str):
            raise ValueError(f"{type(self).__name__}: names of genes were wanted; got {self.genes!r}.")
        check_amounts(self, "mean_total", above=True)


def check_counts(config: Any, *names: str, least: int = 1, most: int = MOST) -> None:
    """Raise where a field is not a whole number from `least` to `most`."""
    bounds = f"of at least {least}" + (f" and at most {most:,}" if most < MOST else "")
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{_of(config, name)} is a whole number {bounds}; got {value!r}.")


def check_shares(config: Any, *names: str) -> None:
    """Raise where a field is not a share from 0 up to less than 1."""
    for name in names:
        value = getattr(config, name)
        if not _is_number(value) or not 0 <= value < 1:
            raise ValueError(f"{_of(config, name)} is a share, from 0 up to less than 1; got {value!r}.")


def check_amounts(config: Any, *names: str, above: bool = False) -> None:
    """Raise where a field is not a finite number of at least 0, or `above` it."""
    for name in names:
        value = getattr(config, name)
        if not _is_number(value) or not math.isfinite(value) or value < 0 or (above and value == 0):
            least = "more than 0" if above else "0 or more"
            raise ValueError(f"{_of(config, name)} is a finite number, {least}; got {value!r}.")


def check_choice(config: Any, name: str, choices: Collection[str]) -> None:
    """Raise where a field is none of some words."""
    value = getattr(config, name)
    if value not in choices:
        raise ValueError(f"{_of(config, name)} is one of {', '.join(map(repr, choices))}; got {value!r}.")


def config_facts(config: Any) -> dict[str, Any]:
    """Fields of a config by name, without those added later that have their default."""
    facts = dataclasses.asdict(config)
    for one in dataclasses.fields(config):
        if one.metadata.get("later") and facts[one.name] == one.default:
            del facts[one.name]
    return facts


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of(config: Any, name: str) -> str:
    return f"{type(config).__name__.removesuffix('Config')}: {name}"
