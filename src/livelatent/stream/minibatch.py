"""Cells of one or two groups → a minibatch on its device."""

import functools
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from livelatent.arrays import Float, Int
from livelatent.atlas.passes import size_factor
from livelatent.stream import kernels
from livelatent.stream.cells import Cells, Take, cells_by_part
from livelatent.stream.columns import Columns
from livelatent.stream.device import OnDevice
from livelatent.stream.health import Mixture, mixture
from livelatent.stream.slots import Slots, carve, room_for
from livelatent.stream.together import Together

Values = Literal["log1p", "counts"]


@dataclass(frozen=True)
class Minibatch:
    """The cells of one optimiser step."""

    x: Float[Tensor, "cell gene"]
    """log1p(count * mean_total / total), or counts; dense, or sparse CSR where the stream was asked for it."""
    label: Int[Tensor, " cell"]
    """Codes; -1 is no label."""
    batch: Int[Tensor, " cell"]
    cell: Int[Tensor, " cell"]
    """Store rows."""
    total: Float[Tensor, " cell"]
    """Total counts, over all genes measured in the source."""
    atlas: Int[Tensor, " cell"] | None = None
    """Which of the stream's atlases the row is of; None where there is one."""
    obs: dict[str, Tensor] = field(default_factory=dict)
    """Columns asked for: codes (-1 missing) of text and categories, float32 of numbers."""
    obsm: dict[str, Float[Tensor, "cell dim"]] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        """How many cells it holds."""
        return len(self.cell)


@dataclass(frozen=True)
class Form:
    """What a minibatch is made into."""

    genes: tuple[str, ...]
    gene_maps: tuple[Int[ndarray, " gene"], ...]
    """Per atlas: column of each of its genes, -1 where it is not wanted."""
    mean_total: float
    values: Values
    is_sparse: bool

    @property
    def is_as_stored(self) -> bool:
        """Whether a sparse minibatch holds all that is stored of its cells, columns as they are."""
        return self.is_sparse and all(self.is_every_gene(atlas) for atlas in range(len(self.gene_maps)))

    def is_every_gene(self, atlas: int) -> bool:
        """Whether the genes are the atlas's own, in its order."""
        own = self.gene_maps[atlas]
        return len(own) == len(self.genes) and bool((own == np.arange(len(own))).all())


class Assembly:
    """Makes minibatches, several in one go; several threads may at once.

    Parameters
    ----------
    slots
        For `x`: each holds the largest portion.
    """

    def __init__(self, together: Together, form: Form, columns: Columns, slots: Slots, device: torch.device) -> None:
        self._together, self._form, self._columns, self._slots = together, form, columns, slots
        self._map = [None if form.is_every_gene(k) else form.gene_maps[k] for k in range(len(together.atlases))]

        # Ours are in order as stored; of others, and where genes are picked, each minibatch is looked at.
        self._ascends = form.is_as_stored and all(atlas.matrix().ascends for atlas in together.atlases)
        self._device = device
        on_cpu = device.type == "cpu" or form.is_sparse
        self._on_device = None if on_cpu else OnDevice(device, form.gene_maps, len(form.genes))
        if form.is_sparse:
            _hear_of_beta_state()

    def __call__(self, takes: Sequence[Take], sizes: Sequence[int]) -> list[tuple[Minibatch, Mixture]]:
        """Minibatches of so many cells each, of the cells taken in the order given."""
        device, together, form = self._device, self._together, self._form
        rows = takes[0].rows if len(takes) == 1 else np.concatenate([np.empty(0, np.int64), *(t.rows for t in takes)])
        bounds = list(itertools.accumulate(sizes, initial=0))
        atlas = together.atlas_of(rows)
        total = together.per_cell(rows, together.total)
        scale = size_factor(total, form.mean_total) if form.values == "log1p" else None
        parts = cells_by_part(takes)
        if form.is_sparse:
            x = self._sparse(parts, scale, bounds)
        else:
            whole = (
                self._dense(parts, scale, len(rows))
                if self._on_device is None
                else self._on_device.dense(parts, scale, len(rows))
            )
            x = [whole[first:last] for first, last in itertools.pairwise(bounds)]
        label, batch = together.per_cell(rows, together.label), together.per_cell(rows, together.batch)
        along = {
            "label": _tensor(label, np.int64, device),
            "batch": _tensor(batch, np.int64, device),
            "cell": _tensor(rows - together.first[atlas], np.int64, device),
            "total": _tensor(total, np.float32, device),
        }
        if len(together.atlases) > 1:
            along["atlas"] = _tensor(atlas, np.int64, device)
        obs = {
            name: _tensor(together.per_cell(rows, values), values[0].dtype, device)
            for name, values in self._columns.values.items()
        }
        obsm = {
            name: _tensor(np.concatenate([take.group.obsm[name][take.cells] for take in takes]), np.float32, device)
            for name in self._columns.obsm
        }
        return [
            (
                Minibatch(
                    x=x[number],
                    **{name: values[first:last] for name, values in along.items()},
                    obs={name: values[first:last] for name, values in obs.items()},
                    obsm={name: values[first:last] for name, values in obsm.items()},
                ),
                mixture(label[first:last], batch[first:last]),
            )
            for number, (first, last) in enumerate(itertools.pairwise(bounds))
        ]

    def _dense(self, parts: list[Cells], scale: ndarray | None, n_cells: int) -> Tensor:
        n_genes = len(self._form.genes)
        (flat,) = carve(self._slots.take(), (np.dtype(np.float32), n_cells * n_genes))
        flat[:] = 0
        x = flat.reshape(n_cells, n_genes)
        for cells in parts:
            own = (cells.part.data, cells.part.indices, cells.start, cells.stop, self._form.gene_maps[cells.part.atlas])
            if scale is None:
                kernels.scatter_counts(*own, cells.at, x)
            else:
                kernels.scatter_logs(*own, scale[cells.at], cells.at, x)
        return torch.from_numpy(x)

    def _sparse(self, parts: list[Cells], scale: ndarray | None, bounds: list[int]) -> list[Tensor]:
        n_cells = bounds[-1]
        lengths = np.zeros(n_cells, np.int64)
        for cells in parts:
            gene_map = self._map[cells.part.atlas]
            lengths[cells.at] = (
                cells.stop - cells.start
                if gene_map is None
                else kernels.n_wanted(cells.part.indices, cells.start, cells.stop, gene_map)
            )
        indptr = np.zeros(n_cells + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        kinds = sparse_parts(int(indptr[-1]), n_cells)
        needed = room_for(*kinds)
        data, indices, pointers = carve(
            self._slots.take() if needed <= self._slots.n_bytes else np.empty(needed, np.uint8), *kinds
        )
        pointers[:] = indptr
        for cells in parts:
            own = (cells.part.data, cells.part.indices, cells.start, cells.stop)
            kernels.gather(*own, indptr[cells.at], data, indices, self._map[cells.part.atlas])
        if not self._ascends and not kernels.ascend(indptr, indices):
            kernels.sort_columns(indptr, indices, data)
        if scale is not None:
            kernels.log_rows(indptr, data, scale)
        return [
            _csr_tensor(pointers[first : last + 1], indices, data, len(self._form.genes)).to(self._device)
            for first, last in itertools.pairwise(bounds)
        ]


def _csr_tensor(pointers: ndarray, indices: ndarray, data: ndarray, n_genes: int) -> Tensor:
    """The rows that `pointers` tell of, which may begin anywhere in the arrays."""
    first, last = int(pointers[0]), int(pointers[-1])
    return torch.sparse_csr_tensor(
        torch.from_numpy(pointers - pointers[0] if first else pointers),
        torch.from_numpy(indices[first:last]),
        torch.from_numpy(data[first:last]),
        size=(len(pointers) - 1, n_genes),
        check_invariants=False,
    )


@functools.cache
def _hear_of_beta_state() -> None:
    """Let torch say once a process that its sparse interface may change, where nobody listens."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        _csr_tensor(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), 0)


def sparse_parts(n_values: int, n_cells: int) -> list[tuple["np.dtype[Any]", int]]:
    """Types and lengths of a sparse minibatch: values, columns, pointers (32 bits, as torch likes best)."""
    wide = np.dtype(np.int64) if n_values >= 2**31 else np.dtype(np.int32)
    return [(np.dtype(np.float32), n_values), (wide, n_values), (wide, n_cells + 1)]


def _tensor(values: ndarray, kind: Any, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=kind))
    return tensor.to(device)
