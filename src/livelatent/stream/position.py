"""Where a stream stands: enough to deliver the same next cell on another day."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Self

import numpy as np

from livelatent.arrays import Int, Rows, ndarray
from livelatent.errors import ResumeError
from livelatent.stream.plan import StreamConfig


def hash_rows(rows: Rows, *facts: Int[ndarray, " cell"]) -> str:
    """Sha256 of row numbers and what else decides the order of cells, the same on every byte order."""
    found = hashlib.sha256()
    for numbers in (rows, *facts):
        found.update(np.ascontiguousarray(numbers, dtype="<i8").data)
    return found.hexdigest()


@dataclass(frozen=True)
class Position:
    """The next minibatch of a stream: epoch and step, and what they count."""

    epoch: int
    step: int
    rows_sha256: str
    config: StreamConfig

    def to_json(self) -> str:
        """The position as one JSON object."""
        return json.dumps({**dataclasses.asdict(self), "config": self.config.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ResumeError
            If the text is no position.
        """
        try:
            value = json.loads(text)
            return cls(
                epoch=int(value["epoch"]),
                step=int(value["step"]),
                rows_sha256=str(value["rows_sha256"]),
                config=StreamConfig.from_dict(value["config"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ResumeError(f"this is no saved position of a stream ({error!r}): {text[:80]!r}.") from error

    def check(self, rows: Rows, config: StreamConfig, *facts: Int[ndarray, " cell"]) -> None:
        """Refuse to go on over other cells or in another order; `facts` as in `hash_rows`.

        Raises
        ------
        ResumeError
            If rows or configuration differ from those that the position counts in.
        """
        if hash_rows(rows, *facts) != self.rows_sha256:
            raise ResumeError(
                f"the stream was at epoch {self.epoch}, step {self.step} of other cells than the {len(rows)} given "
                "now: the store, its labels or its splits have changed since. Start a new run on the store as it is."
            )
        # How far ahead groups are read changes no cell's place.
        mine = dataclasses.replace(config, groups_ahead=self.config.groups_ahead)
        if mine != self.config:
            differ = [
                f"{field.name} {getattr(self.config, field.name)} then, {getattr(mine, field.name)} now"
                for field in dataclasses.fields(StreamConfig)
                if getattr(mine, field.name) != getattr(self.config, field.name)
            ]
            raise ResumeError(
                f"the stream was cut up differently ({'; '.join(differ)}), so its position means other cells. "
                "Resume with the configuration that it was saved with."
            )
