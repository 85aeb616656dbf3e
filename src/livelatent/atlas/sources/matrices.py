"""Dense matrices, and sparse ones stored by cell (CSR), of HDF5 files and Zarr groups, in row order."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import zarr
from numpy import ndarray

from livelatent.atlas.on_zarrs import on_zarrs
from livelatent.atlas.sources.faults import Unfit, check_numbers
from livelatent.atlas.sources.source import Csr
from livelatent.errors import SourceError

POINTERS = 2**20
"""Row pointers read at once: 8 MB."""


VERSIONS = {
    "": ("",),
    "array": ("0.2.0",),
    "string-array": ("0.2.0",),
    "csr_matrix": ("0.1.0",),
    "csc_matrix": ("0.1.0",),
    "categorical": ("0.2.0",),
    "nullable-integer": ("0.1.0",),
    "nullable-boolean": ("0.1.0",),
    "nullable-string-array": ("0.1.0",),
    "dataframe": ("0.1.0", "0.2.0"),
}
"""Elements of an AnnData that are read, and the versions in which they are written."""


class Container(Protocol):
    """A file or folder with groups and arrays in it, opened for each read and no longer."""

    @property
    def path(self) -> Path:
        """Its place, for messages."""
        ...

    def opened(self) -> AbstractContextManager[Any]:
        """Its root group; whatever breaks inside the block names the path."""
        ...


def is_group(item: Any) -> bool:
    """Whether it is a group of HDF5 or Zarr."""
    return isinstance(item, h5py.Group | zarr.Group)


def is_array(item: Any) -> bool:
    """Whether it is an array of HDF5 or Zarr."""
    return isinstance(item, h5py.Dataset | zarr.Array)


def array_in(group: Any, name: str) -> Any:
    """An array of a group; in Zarr v3 decoded by zarrs, in threads, where it checks what zarr-python checks."""
    if isinstance(group, zarr.Group) and group.metadata.zarr_format == 3:
        array = group[name]
        if isinstance(array, zarr.Array) and zarrs_suits(array.metadata.to_dict()["codecs"]):
            return on_zarrs(array)
        return array
    return group[name]


def zarrs_suits(codecs: Any) -> bool:
    """Whether zarrs decodes these: zarrs 0.2.3 leaves `crc32c` unchecked where it decodes a part of a shard."""
    return all(
        codec["name"] in ("bytes", "blosc", "zstd", "gzip")
        or (codec["name"] == "sharding_indexed" and zarrs_suits(codec["configuration"]["codecs"]))
        for codec in codecs
    )


def encoding(item: Any) -> str:
    """What anndata says that an element is, such as `array`; nothing where older versions said nothing.

    Raises
    ------
    Unfit
        If it says so in a way, or in a version, that is not known.
    """
    # Not `get`: it takes an attribute that is damaged for one that is absent.
    names = ("encoding-type", "encoding-version")
    kind, version = (item.attrs[name] if name in item.attrs else "" for name in names)
    kind, version = (each.decode() if isinstance(each, bytes) else each for each in (kind, version))
    is_known = isinstance(kind, str) and isinstance(version, str) and version in VERSIONS.get(kind, ())
    if not is_known:
        raise Unfit(f"is of the kind {str(kind)[:50]!r}, version {str(version)[:50]!r}")
    return kind


def plain_values(values: ndarray) -> ndarray:
    """Values in the machine's own byte order; half precision and truth values in a type that kernels know."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def plain_indices(indices: ndarray) -> ndarray:
    """Indices as u16, i32 or i64; numbers beyond i64 become negative, which is as much out of range."""
    if indices.dtype.kind == "u":
        kinds = {1: np.uint16, 2: np.uint16, 4: np.int64, 8: np.int64}
    else:
        kinds = {1: np.int32, 2: np.int32, 4: np.int32, 8: np.int64}
    return indices.astype(kinds[indices.dtype.itemsize], copy=False)


def pointers_between(path: Path, where: str, group: Any, first: int, stop: int, n_values: int, longest: int) -> ndarray:
    """Pointers `first` to `stop`, checked: none falls, all lie in the stored values, no stretch is too long."""
    pointers = np.asarray(group["indptr"][first : stop + 1]).astype(np.int64)
    lengths = np.diff(pointers)
    n_all = int(group["indptr"].shape[0]) - 1
    sound = (
        pointers.size == stop + 1 - first
        and bool((lengths >= 0).all())
        and 0 <= pointers[0]
        and pointers[-1] <= n_values
        and (first > 0 or pointers[0] == 0)
        and (stop < n_all or pointers[-1] == n_values)
    )
    if not sound:
        raise SourceError(
            f"{path}: the pointers of `{where}` are damaged (between {first} and {stop} they must rise within 0 to "
            f"{n_values}). Get the file again."
        )
    if int(lengths.max(initial=0)) > longest:
        at = first + int(lengths.argmax())
        raise SourceError(
            f"{path}: row {at} of `{where}` has {int(lengths.max())} values, but there is room for {longest}. The "
            "file is damaged; get it again."
        )
    return pointers


def pieces(pointers: ndarray, max_elements: int) -> Iterator[tuple[int, int]]:
    """(Start, stop) of neighbouring rows with at most `max_elements` values together, one row at least."""
    start, n_rows = 0, pointers.size - 1
    while start < n_rows:
        stop = int(np.searchsorted(pointers, pointers[start] + max_elements, side="right")) - 1
        stop = min(max(stop, start + 1), n_rows)
        yield start, stop
        start = stop


@dataclass(frozen=True, kw_only=True)
class CsrMatrix:
    """A sparse matrix stored by cell."""

    container: Container
    where: str
    n_rows: int
    n_columns: int
    n_elements: int
    scratch_bytes: int = 0

    def chunks(self, max_elements: int, *, first_row: int = 0, scratch: Path) -> Iterator[tuple[int, Csr]]:
        """(First row, rows), as `Matrix` has it."""
        with self.container.opened() as root:
            group = root[self.where]
            data, indices = array_in(group, "data"), array_in(group, "indices")
            for block in range(first_row, self.n_rows, POINTERS):
                block_stop = min(block + POINTERS, self.n_rows)
                pointers = pointers_between(
                    self.container.path, self.where, group, block, block_stop, self.n_elements, self.n_columns
                )
                for start, stop in pieces(pointers, max_elements):
                    first, last = int(pointers[start]), int(pointers[stop])
                    yield (
                        block + start,
                        Csr(
                            data=plain_values(np.asarray(data[first:last])),
                            indices=plain_indices(np.asarray(indices[first:last])),
                            indptr=pointers[start : stop + 1] - first,
                        ),
                    )


@dataclass(frozen=True, kw_only=True)
class DenseMatrix:
    """A matrix with every value stored; its zeros are dropped as it is read."""

    container: Container
    where: str
    n_rows: int
    n_columns: int
    scratch_bytes: int = 0

    @property
    def n_elements(self) -> int:
        """All values."""
        return self.n_rows * self.n_columns

    def chunks(self, max_elements: int, *, first_row: int = 0, scratch: Path) -> Iterator[tuple[int, Csr]]:
        """(First row, rows), as `Matrix` has it."""
        n_rows = max(1, max_elements // max(self.n_columns, 1))
        column = np.arange(self.n_columns, dtype=np.int32)
        with self.container.opened() as root:
            array = array_in(root, self.where)
            for start in range(first_row, self.n_rows, n_rows):
                block = plain_values(np.asarray(array[start : min(start + n_rows, self.n_rows)]))
                stored = block != 0
                indptr = np.zeros(block.shape[0] + 1, np.int64)
                np.cumsum(stored.sum(axis=1), out=indptr[1:])
                indices = np.broadcast_to(column, block.shape)[stored]
                yield start, Csr(data=block[stored], indices=indices, indptr=indptr)


@dataclass(frozen=True, kw_only=True)
class DenseRows:
    """One dense vector per cell."""

    container: Container
    where: str
    n_rows: int
    n_columns: int
    dtype: "np.dtype[Any]"

    def chunks(self, max_elements: int) -> Iterator[tuple[int, ndarray]]:
        """(First row, rows), as `Rows` has it."""
        n_rows = max(1, max_elements // max(self.n_columns, 1))
        with self.container.opened() as root:
            array = array_in(root, self.where)
            for start in range(0, self.n_rows, n_rows):
                yield start, np.asarray(array[start : min(start + n_rows, self.n_rows)]).astype(self.dtype, copy=False)


def sparse_format(group: Any) -> str:
    """`csr`, `csc`, or whatever else the group says it is."""
    kind = encoding(group) or group.attrs.get("h5sparse_format", "unmarked")
    kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    return kind.removesuffix("_matrix")


def sparse_shape(group: Any) -> tuple[int, int]:
    """Rows and columns of a sparse matrix, checked against the lengths of its three arrays."""
    for part in ("data", "indices", "indptr"):
        array: Any = group[part] if part in group else None
        if not is_array(array) or len(array.shape) != 1 or (part != "data" and array.dtype.kind not in "iu"):
            raise Unfit(f"has no list of {'numbers' if part == 'data' else 'integers'} `{part}`")
    check_numbers(group["data"].dtype)
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    try:
        n_rows, n_columns = (int(n) for n in shape)
    except (TypeError, ValueError):
        raise Unfit("does not say its shape") from None
    if not (0 <= n_rows < 2**62 and 0 <= n_columns < 2**31):
        raise Unfit(f"says its shape is {n_rows} x {n_columns}")
    n_lines = n_rows if sparse_format(group) == "csr" else n_columns
    if group["indptr"].shape[0] != n_lines + 1 or group["indices"].shape != group["data"].shape:
        raise Unfit(
            f"is damaged: for {n_rows} x {n_columns} it has {group['indptr'].shape[0]} pointers, "
            f"{group['indices'].shape[0]} indices and {group['data'].shape[0]} values"
        )
    return n_rows, n_columns
