import numpy as np
import pytest
import torch

from livelatent.stream import kernels
from livelatent.stream.cells import Cells
from livelatent.stream.device import OnDevice
from livelatent.stream.read import Part
from livelatent.stream.stream import Stream
from streamed import LARGEST, SMALL, bits, dense, held

OURS = list(LARGEST)
OTHERS = ["int8", "uint8", "int16", "int32", "int64", "uint64"]
"""Of files that we did not write."""
CPU = torch.device("cpu")


def cells_of(counts, atlas, kind, gene_kind, pick, at):
    """Some rows of a dense matrix as a minibatch finds them in a group."""
    rows, columns = np.nonzero(counts)
    bounds = np.searchsorted(rows, np.arange(len(counts) + 1))
    part = Part(atlas, counts[rows, columns].astype(kind), columns.astype(gene_kind))
    return Cells(part, bounds[pick], bounds[pick + 1], at)


def two_parts(kind, gene_kind="uint16"):
    """Cells of two atlases, whose genes lie elsewhere among the seven wanted; two of those no atlas has."""
    random = np.random.default_rng(4)
    most = np.iinfo(kind).max if np.dtype(kind).kind in "iu" else LARGEST.get(kind, [2_000])[0]
    one, two = random.poisson(0.8, (9, 13)), random.poisson(0.8, (6, 5))
    one[2], one[4, 3] = 0, min(most, 2**53)
    maps = [np.full(13, -1, np.int32), np.full(5, -1, np.int32)]
    maps[0][[12, 3, 0, 7]] = [0, 1, 3, 6]
    maps[1][[1, 4]] = [3, 0]
    parts = [
        cells_of(one, 0, kind, gene_kind, np.array([4, 2, 8, 0]), np.array([5, 0, 2, 3])),
        cells_of(two, 1, kind, gene_kind, np.array([5, 1]), np.array([4, 1])),
    ]
    wanted = np.zeros((6, 7))
    for cells, counts, pick in ((parts[0], one, [4, 2, 8, 0]), (parts[1], two, [5, 1])):
        own = maps[cells.part.atlas]
        wanted[np.ix_(cells.at, own[own >= 0])] = counts[pick][:, own >= 0]
    return parts, maps, wanted


@pytest.mark.parametrize(
    ("kind", "gene_kind"),
    [*((kind, "uint16") for kind in OURS), ("uint16", "int32"), ("uint32", "int64"), *((k, "int64") for k in OTHERS)],
)
def test_every_number_type_goes_over_as_the_compiled_path_has_it(kind, gene_kind):
    parts, maps, wanted = two_parts(kind, gene_kind)
    scale = np.array([0.3, 2.0, 1.7, 0.9, 0.0, 12.5])
    on_device = OnDevice(CPU, maps, 7)
    counts, logs = on_device.dense(parts, None, 6), on_device.dense(parts, scale, 6)
    assert counts.dtype == logs.dtype == torch.float32 and counts.shape == logs.shape == (6, 7)
    np.testing.assert_allclose(counts, wanted, rtol=1e-6)
    np.testing.assert_allclose(logs, np.log1p(wanted * scale[:, None]), rtol=1e-6)
    compiled = np.zeros((6, 7), np.float32)
    for cells in parts:
        own = (cells.part.data, cells.part.indices, cells.start, cells.stop, maps[cells.part.atlas])
        kernels.scatter_logs(*own, scale[cells.at], cells.at, compiled)
    np.testing.assert_allclose(logs, compiled, rtol=1e-6)


def test_with_every_gene_wanted_and_with_no_cell():
    counts = np.random.default_rng(0).poisson(1, (3, 4))
    order = np.array([2, 0, 3, 1], np.int32)
    cells = cells_of(counts, 0, "uint16", "uint16", np.arange(3), np.array([1, 2, 0]))
    got = OnDevice(CPU, [order], 4).dense([cells], None, 3)
    np.testing.assert_array_equal(got[[1, 2, 0]][:, order], counts)
    assert OnDevice(CPU, [order], 4).dense([], None, 0).shape == (0, 4)
    empty = cells_of(np.zeros((2, 4)), 0, "uint16", "uint16", np.arange(2), np.arange(2))
    assert not OnDevice(CPU, [order], 4).dense([empty], np.ones(2), 2).any()


@pytest.mark.parametrize("values", ["log1p", "counts"])
@pytest.mark.parametrize("kind", OURS)
def test_a_stream_through_it_equals_the_compiled_stream(uneven, other, kind, values):
    atlases = [uneven(kind), other]
    genes = [f"GENE{g}" for g in (36, 3, 49, 12, 20, 31, 40, 17, 28, 11)]
    with Stream(atlases, None, SMALL, genes=genes, values=values) as compiled:
        wanted = list(compiled.minibatches(1))
    with Stream(atlases, None, SMALL, genes=genes, values=values) as stream:
        assembly = stream._assembly
        assembly._on_device = OnDevice(CPU, assembly._form.gene_maps, len(genes))
        for m, one in zip(stream.minibatches(1), wanted, strict=True):
            np.testing.assert_allclose(m.x, one.x, rtol=1e-6)
            assert bits(m)[1:] == bits(one)[1:]


@pytest.mark.gpu
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", OURS)
def test_minibatches_on_a_gpu_are_those_on_the_cpu(uneven, other, kind, is_sparse):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    atlases = [uneven(kind), other]
    genes = [f"GENE{g}" for g in (36, 3, 49, 12, 20, 31, 40, 17, 28, 11)]
    settings = {"genes": genes, "sparse": is_sparse, "obs": ["stage", "age"], "obsm": ["X_ref"]}
    with (
        Stream(atlases, None, SMALL, **settings) as here,
        Stream(atlases, None, SMALL, device="cuda", **settings) as there,
    ):
        for epoch in range(2):
            # All are kept: none may be written over while others are made.
            wanted, got = list(here.minibatches(epoch)), list(there.minibatches(epoch))
            for m, one in zip(got, wanted, strict=True):
                x = m.x.cpu()
                np.testing.assert_allclose(x.to_dense() if is_sparse else x, dense(one), rtol=1e-6)
                for name in ("label", "batch", "cell", "total", "atlas"):
                    assert getattr(m, name).device.type == "cuda"
                    assert torch.equal(getattr(m, name).cpu(), getattr(one, name))
                assert torch.equal(m.obs["stage"].cpu(), one.obs["stage"])
                assert torch.equal(m.obsm["X_ref"].cpu(), one.obsm["X_ref"])
            assert held(atlases[0]).counts.shape[0] + 90 == sum(m.n_cells for m in got)
