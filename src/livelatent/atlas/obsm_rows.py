"""Rows of a vector per cell as they lie in a store: a reference embedding is read with the cells it belongs to."""

import functools
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from jaxtyping import Float32
from numpy import ndarray

from livelatent.atlas.columns import no_column
from livelatent.atlas.on_zarrs import on_zarrs
from livelatent.atlas.opening import damage_named, group_in, zarr_of
from livelatent.atlas.stored_matrix import Standing
from livelatent.errors import ColumnError, StoreError

Inode = tuple[int, int] | None


class Vectors(Protocol):
    """A vector per cell."""

    @property
    def n_dims(self) -> int:
        """Numbers per cell."""
        ...

    def read(self, start: int, stop: int) -> Float32[ndarray, "cell dim"]:
        """Rows `start` to `stop`."""
        ...


class ObsmRows:
    """`obsm/NAME`, opened once, read by rows."""

    def __init__(self, name: str, n_cells: int, standing: Standing) -> None:
        self.name, self.n_cells = name, n_cells
        self._standing = standing
        self.n_dims = int(self._opened[0].shape[1])
        """Numbers per cell."""

    def read(self, start: int, stop: int) -> Float32[ndarray, "cell dim"]:
        """Rows `start` to `stop`.

        Raises
        ------
        StoreError
            If they can't be read, or other vectors were written under this name since it was opened.
        """
        start, stop, _ = slice(start, stop).indices(self.n_cells)

        def rows() -> ndarray:
            # Whoever read last may have met the store that has grown, and this array is still of the one before.
            if self._standing.now() != self._opened[2]:
                self._forget()
            array, folder, _ = self._opened
            found = np.asarray(array[start : max(start, stop)])
            # Another array of the same name has its own chunks, and this one's description may fit them.
            if self._folder() != folder or found.shape[1] != self.n_dims:
                raise StoreError(
                    f"{self._standing.place}: obsm/{self.name} was written again while it was read. Begin anew what "
                    "was under way."
                )
            return found.astype(np.float32, copy=False)

        with damage_named(self._standing.place, lambda: f"obsm/{self.name}, rows {start} to {stop - 1},"):
            return self._standing.read(rows, self._forget)

    def is_current(self) -> bool:
        """Whether what lies under the name is what was opened."""
        return self._folder() == self._opened[1]

    def _forget(self) -> None:
        vars(self).pop("_opened", None)

    @functools.cached_property
    def _opened(self) -> tuple["zarr.Array[Any]", Inode, Inode]:
        """The array; and what its folder, and the store's, were then."""
        place, store = self._standing.place, self._standing.now()
        if not self._standing.is_as_opened():
            self._standing.check()
        folder = self._folder()
        with damage_named(place, lambda: f"obsm/{self.name}"):
            root = zarr.open_group(zarr_of(place), mode="r", zarr_format=3)
            names = sorted(group_in(root, "obsm").keys()) if "obsm" in root else []
            array: Any = root[f"obsm/{self.name}"] if self.name in names else None
        if array is None:
            raise no_column(place, "obsm", self.name, names)
        if not isinstance(array, zarr.Array) or array.ndim != 2 or array.dtype.kind not in "fiub":
            raise ColumnError(f"{place}: obsm/{self.name} is no table of numbers. It can't come along with the cells.")
        if not self._standing.fits(array.shape[0], self.n_cells):
            raise StoreError(
                f"{place}: obsm/{self.name} has {array.shape[0]} rows for {self.n_cells} cells. Write it again with "
                "`atlas.write_obsm`."
            )
        return on_zarrs(array, place), folder, store

    def _folder(self) -> Inode:
        """What a folder keeps for as long as it is not exchanged; None where it is remote, and never written over."""
        place = self._standing.place
        if not isinstance(place, Path):
            return None
        try:
            status = (place / "obsm" / self.name).stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino
