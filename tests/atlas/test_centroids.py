"""Distances between types, by hand and against scipy."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from livelatent.atlas import Atlas, ingest
from livelatent.atlas.centroids import centroid_distances, distances_within
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.atlas.layout import Layout
from livelatent.atlas.pca import Pca, pca
from livelatent.errors import LabelError
from oracles import log_counts


def test_mean_distances_by_hand() -> None:
    # Batch 0 holds types A, B; batch 1 holds B, C: A and C are never seen together.
    centroid = np.array([[[0.0, 0], [3, 4], [99, 99]], [[99, 99], [0, 0], [0, 10]]])
    seen = np.array([[True, True, False], [False, True, True]])
    assert distances_within(centroid, seen)[0].tolist() == [[0, 0.5, 0], [0.5, 0, 1], [0, 1, 0]]


def test_mean_distances_average_over_batches_that_hold_both() -> None:
    centroid = np.array([[[0.0], [2], [4]], [[0], [6], [50]]])
    seen = np.array([[True, True, True], [True, True, False]])
    # A-B: (2 + 6) / 2 = 4, A-C: 4, B-C: 2; the largest is 4.
    assert distances_within(centroid, seen)[0].tolist() == [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]


def test_types_with_one_centroid_are_still_seen_together() -> None:
    distance = distances_within(np.array([[[1.0], [1.0], [5.0]]]), np.ones((1, 3), bool))[0]
    assert 0 < distance[0, 1] < 1e-300 and distance[0, 2] == 1


@pytest.fixture
def hand_atlas(tmp_path: Path) -> Atlas:
    """Three types x two batches with one gene per axis; A is in batch 0 only, C in batch 1 only."""
    cells = [("A", "0", [9, 0, 0, 1]), ("A", "0", [7, 2, 0, 1]), ("B", "0", [0, 9, 0, 1])]
    cells += [("B", "1", [0, 8, 1, 1]), ("C", "1", [0, 0, 9, 1]), ("C", "1", [1, 0, 8, 1]), ("?", "1", [5, 5, 0, 0])]
    obs = pd.DataFrame({"type": [c[0] for c in cells], "lab": [c[1] for c in cells]})
    obs.index = pd.Index([f"c{i}" for i in range(len(cells))], dtype=object)
    counts = sparse.csr_matrix(np.array([c[2] for c in cells], dtype=np.float32))
    anndata.AnnData(counts, obs=obs).write_h5ad(tmp_path / "hand.h5ad")
    return ingest(
        tmp_path / "hand.h5ad", tmp_path / "hand.zarr", label="type", batch="lab", unlabelled=["?"], layout=Layout()
    )


def test_centroid_distances_by_hand(hand_atlas: Atlas) -> None:
    identity = Pca(np.eye(4), np.zeros(4), np.ones(4))
    got = centroid_distances(hand_atlas, identity, np.arange(4))
    # Every total is 10 and mean_total is 10, so x = log1p(count).
    assert hand_atlas.mean_total == 10

    def centroid(*cells: list[int]) -> np.ndarray:
        return np.mean(np.log1p(np.array(cells, float)), axis=0)

    a, b0 = centroid([9, 0, 0, 1], [7, 2, 0, 1]), centroid([0, 9, 0, 1])
    b1, c = centroid([0, 8, 1, 1]), centroid([0, 0, 9, 1], [1, 0, 8, 1])
    ab, bc = np.linalg.norm(a - b0), np.linalg.norm(b1 - c)
    top = max(ab, bc)
    oracle = [[0, ab / top, 0], [ab / top, 0, bc / top], [0, bc / top, 0]]
    np.testing.assert_allclose(got.mean, oracle, rtol=1e-12)
    assert got.n_batches.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert np.isnan(got.cv).all()
    assert got.names == ("A", "B", "C")


@pytest.mark.usefixtures("small_chunks")
def test_the_spread_over_batches_is_scipys_variation(tiny_atlas: Atlas) -> None:
    got = centroid_distances(tiny_atlas)
    rows = tiny_atlas.rows(labelled=True)
    genes = highly_variable_genes(tiny_atlas, 2000, rows)
    points = pca(tiny_atlas, genes, 50, rows).transform(log_counts(tiny_atlas, rows, tiny_atlas.mean_total)[:, genes])
    apart: dict[tuple[int, int], list[float]] = {}
    for batch in range(3):
        own = tiny_atlas.batch[rows] == batch
        present = sorted(set(tiny_atlas.label[rows][own]))
        at = {code: points[own & (tiny_atlas.label[rows] == code)].mean(axis=0) for code in present}
        for one in present:
            for other in present:
                if one != other:
                    apart.setdefault((one, other), []).append(float(np.linalg.norm(at[one] - at[other])))
    top = max(np.mean(all_of) for all_of in apart.values())
    for (one, other), all_of in apart.items():
        assert got.n_batches[one, other] == len(all_of)
        assert got.mean[one, other] == pytest.approx(np.mean(all_of) / top)
        if len(all_of) > 1:
            assert got.cv[one, other] == pytest.approx(stats.variation(all_of))
        else:
            assert np.isnan(got.cv[one, other])
    # NK cells are in one batch only.
    assert set(got.n_batches[np.triu_indices(4, 1)]) == {1, 3}
    assert got.pairs["cv"].dropna().is_monotonic_decreasing and len(got.pairs) == 6


def test_the_figure_shows_both_matrices_and_leaves_out_what_is_unknown(tiny_atlas: Atlas) -> None:
    distances = centroid_distances(tiny_atlas)
    left, right = (axes.images[0].get_array() for axes in distances.figure().axes[:2])
    assert left.mask.tolist() == np.eye(4, dtype=bool).tolist()
    assert right.mask.tolist() == (distances.n_batches < 2).tolist()
    np.testing.assert_allclose(right.compressed(), distances.cv[distances.n_batches > 1])


def test_distances_need_labels(tmp_path: Path) -> None:
    anndata.AnnData(sparse.csr_matrix(np.eye(5, dtype=np.float32))).write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(LabelError, match="0 of these have a label"):
        centroid_distances(ingest(tmp_path / "bare.h5ad", tmp_path / "bare.zarr"))
