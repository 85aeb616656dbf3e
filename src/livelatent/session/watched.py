"""What a view can watch: anything that trains, or a latent that is there already, by the same few questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy import ndarray

from livelatent.arrays import Int
from livelatent.atlas.atlas import Atlas
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.look import Eye, Predicted
from livelatent.train.history import History
from livelatent.train.run import RunStatus

__all__ = ["LASTING", "HasEye", "Sees", "Watched", "has_types"]

LASTING = ("done", "stopped", "failed", "latent")
"""States in which nothing changes until somebody asks for it."""


def has_types(atlas: Atlas) -> bool:
    """Whether there are labelled cells to learn types from, and others to calibrate on."""
    return all(len(atlas.rows(split, labelled=True)) for split in ("train", "calibration"))


@runtime_checkable
class Watched(Protocol):
    """What trains, or is there already. A `Run` is one."""

    atlas: Atlas
    history: History

    @property
    def folder(self) -> Path | None:
        """Where it is kept, which no page may say; None where it is kept nowhere."""
        ...

    @property
    def status(self) -> RunStatus:
        """Where it stands: a frozen copy."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Facts that are said once."""
        ...

    @property
    def can_start(self) -> bool:
        """Whether `start` begins something: training that nobody described can't be begun."""
        ...

    def start(self) -> Any:
        """Begin, or go on."""
        ...

    def pause(self) -> Any:
        """Stand still after the present step."""
        ...

    def resume(self) -> Any:
        """Go on after a pause."""
        ...

    def stop(self) -> Any:
        """End after the present step."""
        ...


@runtime_checkable
class HasEye(Watched, Protocol):
    """Something watched that shows its latent by itself: a latent that was given, a LightningModule that is watched."""

    def eye(self) -> Eye:
        """How cells look now."""
        ...


@runtime_checkable
class Sees(Protocol):
    """How something watched is looked at and judged: `Finder` for a `Run`, `LatentFinder` for all that has an eye."""

    @property
    def can_judge(self) -> bool:
        """Whether there are types to hold cells against."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to judge: weights at their start say nothing."""
        ...

    def eye(self) -> Eye:
        """How cells look now."""
        ...

    def find(self, eye: Any, query: Atlas | None, target_fpr: float) -> Sequence[JudgedNovelty | None]:
        """Scores and flags of the atlas and, where there is one, the query."""
        ...

    def predict(self, eye: Any, atlas: Atlas, rows: Int[ndarray, " cell"]) -> Predicted:
        """What these sorted rows of an atlas are called, once flags were looked for with this eye."""
        ...
