"""Raw counts of a minibatch over to a GPU, widened, scattered and normalised there.

What crosses is what is stored: two bytes for a count and two for its gene, where a dense float32 cell of 20,000 genes
takes fifteen times as much.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from livelatent.arrays import Float
from livelatent.stream.cells import Cells
from livelatent.stream.kernels import gather


class OnDevice:
    """Makes dense minibatches on one device; the gene maps lie there."""

    def __init__(self, device: torch.device, gene_maps: Sequence[ndarray], n_genes: int) -> None:
        self._device, self._n_genes = device, n_genes
        # What is not wanted goes to a column behind the others, so that nothing has to be counted or waited for.
        self._maps = [
            torch.from_numpy(np.where(own < 0, n_genes, own).astype(np.int64)).to(device) for own in gene_maps
        ]
        self._has_unwanted = [bool((own < 0).any()) for own in gene_maps]

    def dense(self, parts: Sequence[Cells], scale: ndarray | None, n_cells: int) -> Float[Tensor, "cell gene"]:
        """log1p(count * scale), or counts where `scale` is None; equal to the compiled path but for the last bit."""
        width = self._n_genes + any(self._has_unwanted[cells.part.atlas] for cells in parts)
        x = torch.zeros(n_cells * width, dtype=torch.float32, device=self._device)
        for cells in parts:
            lengths = cells.stop - cells.start
            at = np.cumsum(lengths) - lengths
            n_values = int(lengths.sum())
            data, indices = (self._staging(n_values, array.dtype) for array in (cells.part.data, cells.part.indices))
            gather(cells.part.data, cells.part.indices, cells.start, cells.stop, at, data.numpy(), indices.numpy())
            value, gene = self._widened(data, torch.float32), self._widened(indices, torch.int64)
            row = torch.repeat_interleave(
                self._sent(cells.at),
                self._sent(lengths),
                output_size=n_values,  # without it the GPU is waited for
            )
            if scale is not None:
                value = torch.log1p(value * self._sent(scale.astype(np.float32))[row])
            x[row * width + self._maps[cells.part.atlas][gene]] = value
        return x.reshape(n_cells, width)[:, : self._n_genes]

    def _staging(self, n: int, kind: "np.dtype[np.generic]") -> Tensor:
        # torch keeps pinned memory that is given back, and lends it again once the copies out of it are done.
        like = torch.from_numpy(np.empty(0, kind))
        return torch.empty(n, dtype=like.dtype, pin_memory=self._device.type == "cuda")

    def _sent(self, values: ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        tensor = tensor.pin_memory() if self._device.type == "cuda" else tensor
        return tensor.to(self._device, non_blocking=True)

    def _widened(self, values: Tensor, kind: torch.dtype) -> Tensor:
        there = values.to(self._device, non_blocking=True)
        if there.dtype in _AS_SIGNED:
            # Few of torch's operations know unsigned numbers: the same bytes as signed ones, wrapped back.
            signed, wide, mask = _AS_SIGNED[there.dtype]
            there = there.view(signed).to(wide) & mask
        return there.to(kind)


_AS_SIGNED = {torch.uint16: (torch.int16, torch.int32, 0xFFFF), torch.uint32: (torch.int32, torch.int64, 0xFFFFFFFF)}
