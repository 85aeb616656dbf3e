"""Whatever the shape, density, number type and cut: the store holds the source's counts, cell by cell."""

import shutil
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse

from livelatent.atlas import Atlas, append, ingest
from livelatent.atlas.building.look_over import looked_over_counts
from livelatent.atlas.layout import Layout
from livelatent.atlas.sources import open_sources
from livelatent.atlas.sources.source import Csr
from livelatent.errors import CountsError

DTYPES = ["uint8", "int16", "uint16", "int32", "int64", "float32", "float64", "bool"]


@st.composite
def matrices(draw: st.DrawFn, n_genes: int | None = None) -> np.ndarray:
    """Counts with empty cells and all-zero genes, mostly small, a few as large as their type holds."""
    n_cells = draw(st.integers(1, 60))
    n_genes = n_genes or draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dense = rng.poisson(draw(st.floats(0.02, 3)), (n_cells, n_genes)).astype(np.float64)
    dense[rng.random(n_cells) < 0.1] = 0
    dense[:, rng.random(n_genes) < 0.1] = 0
    kind = np.dtype(draw(st.sampled_from(DTYPES)))
    largest = {"b": 1, "u": 2 ** (8 * kind.itemsize) - 1, "i": 2 ** (8 * kind.itemsize - 1) - 1, "f": 2**24}[kind.kind]
    dense = np.minimum(dense, largest)
    dense[0, 0] = draw(st.sampled_from([1, min(largest, 65_535), min(largest, 2**32 - 1), min(largest, 2**53)]))
    return dense.astype(kind)


def written(folder: Path, name: str, dense: np.ndarray, form: str) -> Path:
    """As an `.h5ad` of the form: dense, CSR, CSC, or CSR whose rows are in no order."""
    matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}.get(form, sparse.csr_matrix)(
        dense
    )
    if form == "unsorted":
        for a, b in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            matrix.indices[a:b], matrix.data[a:b] = matrix.indices[a:b][::-1].copy(), matrix.data[a:b][::-1].copy()
        matrix.has_sorted_indices = False
    obs = pd.DataFrame({"row": np.arange(len(dense))}, index=[f"{name}{i}" for i in range(len(dense))])
    var = pd.DataFrame(index=[f"g{i}" for i in range(dense.shape[1])])
    anndata.AnnData(matrix, obs=obs, var=var).write_h5ad(folder / f"{name}.h5ad")
    return folder / f"{name}.h5ad"


def same_cells(atlas: Atlas, wanted: dict[str, np.ndarray]) -> None:
    counts = atlas.read_rows(0, atlas.n_cells).toarray().astype(np.float64)
    assert atlas.n_cells == sum(len(dense) for dense in wanted.values())
    for name, dense in wanted.items():
        mine = np.flatnonzero(atlas.obs["source"].astype(str) == f"{name}.h5ad")
        row = atlas.obs["source_row"].to_numpy()[mine]
        assert sorted(row) == list(range(len(dense)))
        assert (counts[mine] == dense[row].astype(np.float64)).all()
        assert (atlas.obs["row"].to_numpy()[mine] == row).all()
        # A sum that reaches 2**53 depends on the order it was taken in.
        np.testing.assert_allclose(atlas.total[mine], dense[row].astype(np.float64).sum(axis=1), rtol=1e-12)
        assert (atlas.obs["livelatent_n_genes"].to_numpy()[mine] == (dense[row] != 0).sum(axis=1)).all()


# Shrinking means hundreds of ingests: five minutes for one case.
FEW = settings(
    max_examples=5, phases=[Phase.reuse, Phase.generate], deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
any_matrix = given(
    dense=matrices(),
    form=st.sampled_from(["csr", "csc", "dense", "unsorted"]),
    chunk_cells=st.integers(1, 20),
    shard=st.integers(1, 500),
    compression=st.sampled_from(["local", "cloud"]),
    data=st.data(),
)


def comes_through(dense, form, chunk_cells, shard, compression, data) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        source = written(folder, "a", dense, form)
        layout = Layout(chunk_cells=chunk_cells, shard_elements=shard)
        atlas = ingest(source, folder / "s.zarr", layout=layout, compression=compression, progress=False)
        same_cells(atlas, {"a": dense})
        assert (anndata.read_zarr(folder / "s.zarr").X.toarray() == atlas.read_rows(0, atlas.n_cells).toarray()).all()
        more = data.draw(matrices(n_genes=dense.shape[1]))
        grown = append(folder / "s.zarr", written(folder, "b", more, form), progress=False)
        same_cells(grown, {"a": dense, "b": more})
    except CountsError as error:
        assert "every value is 0" in str(error)  # nothing to learn, and said
    finally:
        shutil.rmtree(folder)


@FEW
@any_matrix
def test_any_matrix_comes_through(dense, form, chunk_cells, shard, compression, data) -> None:
    comes_through(dense, form, chunk_cells, shard, compression, data)


@pytest.mark.slow
@settings(FEW, max_examples=60)
@any_matrix
def test_any_of_many_matrices_comes_through(dense, form, chunk_cells, shard, compression, data) -> None:
    comes_through(dense, form, chunk_cells, shard, compression, data)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_genes_that_move_meet_or_go_are_where_they_belong(data) -> None:
    n_genes, n_places = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    places = np.array(data.draw(st.lists(st.integers(-1, n_places - 1), min_size=n_genes, max_size=n_genes)), np.int32)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # Rows in no order, with genes named twice and zeros stored: what no well-kept file holds.
    lengths = rng.integers(0, 9, 7)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    rows = Csr(rng.integers(0, 4, indptr[-1]).astype(np.float32), rng.integers(0, n_genes, indptr[-1]), indptr)
    wanted = np.zeros((7, n_places))
    seen = np.zeros((7, n_genes))
    for row in range(7):
        for k in range(indptr[row], indptr[row + 1]):
            seen[row, rows.indices[k]] += rows.data[k]
            if places[rows.indices[k]] >= 0:
                wanted[row, places[rows.indices[k]]] += rows.data[k]

    source = open_sources(anndata.AnnData(np.ones((7, n_genes), np.float32)))[0]
    total, n_seen = np.empty(7), np.empty(7, np.int32)
    found, at, n_kept, kind = looked_over_counts(source, 0, rows, places, n_places, total, n_seen)
    got = np.zeros_like(wanted)
    for row in range(7):
        for k in range(found.indptr[row], found.indptr[row + 1]):
            if at[found.indices[k]] >= 0:
                got[row, at[found.indices[k]]] += found.data[k]
    assert (got == wanted).all() and kind == np.uint16
    assert (n_kept == (got != 0).sum(axis=1)).all()
    assert (total == seen.sum(axis=1)).all() and (n_seen == (seen != 0).sum(axis=1)).all()


PEAK = """
import os, resource, sys
from livelatent.atlas import ingest
warm, source, target, memory = sys.argv[1:]
ingest(warm, target + ".warm.zarr", progress=False)

def status(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024

before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # VmHWM begins anew
ingest(source, target, memory=memory, progress=False)
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("n_cells", "n_genes"), [(150_000, 500), (12_000, 20_000)])
def test_the_memory_limit_is_never_exceeded(tmp_path: Path, n_cells: int, n_genes: int) -> None:
    import subprocess
    import sys

    import livelatent

    livelatent.simulate(tmp_path / "a.h5ad", n_cells, n_genes)
    livelatent.simulate(tmp_path / "warm.h5ad", 500, 100)
    for memory in (160_000_000, 300_000_000):
        target = tmp_path / f"{memory}.zarr"
        arguments = [sys.executable, "-W", "ignore", "-c", PEAK, tmp_path / "warm.h5ad", tmp_path / "a.h5ad", target]
        done = subprocess.run([*map(str, arguments), str(memory)], capture_output=True, text=True, check=True)
        assert 0 < int(done.stdout) < memory
