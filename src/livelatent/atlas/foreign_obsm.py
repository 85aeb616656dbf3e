"""Vectors per cell in files that we did not write, by rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from livelatent.atlas.columns import no_column
from livelatent.atlas.foreign_parts import Untouched
from livelatent.atlas.sources.matrices import DenseRows, array_in
from livelatent.atlas.sources.source import Source
from livelatent.errors import ColumnError


class ForeignObsm:
    """`obsm/NAME` of one file, or of several behind one another.

    Raises
    ------
    ColumnError
        If a file has none of that name, or it is no table of numbers, or of another width in one of them.
    """

    def __init__(self, path: Path, name: str, sources: Sequence[Source]) -> None:
        self.name = name
        self._parts: list[DenseRows] = []
        for source in sources:
            part = source.obsm.get(name)
            if not isinstance(part, DenseRows):
                why = next((left for left in source.left if left.startswith(f"obsm/{name} (")), None)
                if why is not None:
                    raise ColumnError(
                        f"{source.path}: {why} is no table of numbers. It can't come along with the cells."
                    )
                raise no_column(source.path, "obsm", name, source.obsm)
            self._parts.append(part)
        widths = sorted({part.n_columns for part in self._parts})
        if len(widths) > 1:
            raise ColumnError(
                f"{path}: obsm/{name} has {' and '.join(map(str, widths))} columns in different datasets."
            )
        self.n_dims = widths[0]
        """Numbers per cell."""
        self._first_row = np.cumsum([0, *(part.n_rows for part in self._parts)]).tolist()
        self._untouched = [Untouched(part.container.path, part.where) for part in self._parts]

    def read(self, start: int, stop: int) -> Float32[ndarray, "cell dim"]:
        """Rows `start` to `stop`.

        Raises
        ------
        SourceError, StoreError
            If they can't be read, or the file is not the one that was opened.
        """
        start, stop, _ = slice(start, stop).indices(self._first_row[-1])
        out = np.empty((max(stop - start, 0), self.n_dims), np.float32)
        for part, untouched, first in zip(self._parts, self._untouched, self._first_row, strict=False):
            low, high = max(start - first, 0), min(stop - first, part.n_rows)
            if low < high:
                with part.container.opened() as root:
                    out[first + low - start : first + high - start] = array_in(root, part.where)[low:high]
                untouched.check()
        return out
