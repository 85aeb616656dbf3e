"""Obs as it lies in a store: a column by itself, since all of them may be more than a stream may hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import zarr

from livelatent.atlas.elements import read_element
from livelatent.atlas.layout import text_index
from livelatent.atlas.opening import damage_named, group_in, warm, zarr_of
from livelatent.atlas.stored_matrix import Standing
from livelatent.errors import StoreError


class StoredObs:
    """The table of cells of the store that was opened, whatever has grown or been put in its place since."""

    def __init__(self, n_cells: int, standing: Standing) -> None:
        self.n_cells = n_cells
        self._standing = standing

    def names(self) -> tuple[str, ...]:
        """The columns."""
        return self._read("obs/zarr.json", _names)

    def column(self, name: str) -> "pd.Series[Any] | None":
        """One column; None where there is none of that name."""

        def read(obs: zarr.Group) -> Any:
            return read_element(obs[name]) if name in _names(obs) else None

        values = self._read(f"obs/{name}", read, f"obs/{name}/")
        if values is None:
            return None
        if not isinstance(values, np.ndarray | pd.api.extensions.ExtensionArray) or values.ndim != 1:
            raise self._unfit(f"obs/{name}")
        self._check_length(f"obs/{name}", len(values))
        return pd.Series(values[: self.n_cells])

    def table(self) -> pd.DataFrame:
        """All of it."""
        obs = self._read("a file of obs", read_element, "obs/")
        if not isinstance(obs, pd.DataFrame):
            raise self._unfit("obs")
        self._check_length("obs", len(obs))
        obs = obs.iloc[: self.n_cells]
        obs.index = text_index(obs.index)
        return obs

    def _read[T](self, where: str, read: Callable[[zarr.Group], T], small_files: str | None = None) -> T:
        place = self._standing.place

        def read_now() -> T:
            if small_files is not None:
                warm(place, small_files)
            return read(group_in(zarr.open_group(zarr_of(place), mode="r", zarr_format=3), "obs"))

        with damage_named(place, lambda: where):
            if not self._standing.is_as_opened():
                self._standing.check()
            return self._standing.read(read_now)

    def _check_length(self, what: str, length: int) -> None:
        if not self._standing.fits(length, self.n_cells):
            raise self._unfit(what)

    def _unfit(self, what: str) -> StoreError:
        return StoreError(
            f"{self._standing.place}: {what} is not of {self.n_cells} cells. Copy the store again, or ingest its "
            "sources again."
        )


def _names(obs: zarr.Group) -> tuple[str, ...]:
    order: Any = obs.attrs["column-order"]
    return tuple(str(name) for name in order)
