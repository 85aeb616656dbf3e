"""Every pass on a real cluster of two processes: the same bits as on local threads, and nothing left behind."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from livelatent.atlas import Atlas, passes
from livelatent.atlas import pca as pca_module
from livelatent.atlas.centroids import centroid_distances
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.atlas.pca import pca
from livelatent.atlas.qc import qc
from livelatent.judge.rank_genes import rank_genes

pytestmark = pytest.mark.usefixtures("small_chunks")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two worker processes of one thread."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def held(client: Any) -> int:
    """Tasks and data that the scheduler knows of, once those being forgotten are."""
    deadline = time.monotonic() + 20
    while (n := client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    return n


def test_results_come_in_order_from_other_processes(client: Any, tiny_atlas: Atlas) -> None:
    import os

    rows = np.arange(1, 607, 2)
    got = list(passes.map_cells(lambda counts, own: (os.getpid(), own), tiny_atlas, rows, client=client))
    assert np.concatenate([own for _, own in got]).tolist() == rows.tolist()
    workers = {pid for pid, _ in got}
    assert os.getpid() not in workers and 1 <= len(workers) <= 2
    assert held(client) == 0


def test_moments_are_those_of_local_threads(client: Any, tiny_atlas: Atlas) -> None:
    here, there = passes.gene_moments(tiny_atlas), passes.gene_moments(tiny_atlas, client=client)
    for name in ("mean", "variance", "n_seen"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))


@pytest.mark.parametrize(
    ("flavor", "by_batch"),
    [
        ("cell_ranger", False),
        ("seurat_v3", True),
        pytest.param("cell_ranger", True, marks=pytest.mark.slow),
        pytest.param("seurat_v3", False, marks=pytest.mark.slow),
    ],
)
def test_highly_variable_genes_are_those_of_local_threads(
    client: Any, tiny_atlas: Atlas, flavor: Any, by_batch: bool
) -> None:
    here = highly_variable_genes(tiny_atlas, 50, flavor=flavor, by_batch=by_batch)
    there = highly_variable_genes(tiny_atlas, 50, flavor=flavor, by_batch=by_batch, client=client)
    assert here.tolist() == there.tolist()


@pytest.mark.parametrize("exact", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_components_are_those_of_local_threads(
    client: Any, tiny_atlas: Atlas, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    monkeypatch.setattr(pca_module, "EXACT_GENES", 300 if exact else 0)
    here, there = (pca(tiny_atlas, np.arange(60), 4, client=one) for one in (None, client))
    for name in ("mean", "variance", "components"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))


def test_distances_between_types_are_those_of_local_threads(client: Any, tiny_atlas: Atlas) -> None:
    here, there = centroid_distances(tiny_atlas), centroid_distances(tiny_atlas, client=client)
    np.testing.assert_array_equal(here.mean, there.mean)
    np.testing.assert_array_equal(here.cv, there.cv)


def test_quality_control_is_that_of_local_threads(client: Any, tiny_atlas: Atlas) -> None:
    here, there = qc(tiny_atlas), qc(tiny_atlas, client=client)
    assert here.kept.tolist() == there.kept.tolist() and here.kept_genes.tolist() == there.kept_genes.tolist()
    pd.testing.assert_frame_equal(here.table, there.table)
    np.testing.assert_array_equal(here.cells.pct_top20, there.cells.pct_top20)


@pytest.mark.parametrize("method", ["t-test", pytest.param("wilcoxon", marks=pytest.mark.slow)])
def test_marker_genes_are_those_of_local_threads(client: Any, tiny_atlas: Atlas, method: Any) -> None:
    here, there = rank_genes(tiny_atlas, method=method), rank_genes(tiny_atlas, method=method, client=client)
    pd.testing.assert_frame_equal(here, there)
    assert held(client) == 0


def test_a_pass_left_early_leaves_no_task_behind(client: Any, tiny_atlas: Atlas) -> None:
    results = passes.map_cells(lambda counts, own: own, tiny_atlas, chunk_cells=20, client=client)
    assert next(results).tolist() == list(range(20))
    results.close()
    assert held(client) == 0


def test_a_pass_that_fails_says_why_and_leaves_no_task_behind(client: Any, tiny_atlas: Atlas) -> None:
    def fails(counts: object, own: np.ndarray) -> int:
        if own[0] >= 300:
            raise ArithmeticError("cell 300 is odd")
        return int(own[0])

    with pytest.raises(ArithmeticError, match="cell 300 is odd"):
        list(passes.map_cells(fails, tiny_atlas, chunk_cells=20, client=client))
    assert held(client) == 0


def test_a_store_that_the_workers_cannot_see_is_named(client: Any, own_atlas: Atlas) -> None:
    from livelatent.errors import StoreError

    own_atlas.csr()
    own_atlas.path.rename(own_atlas.path.with_name("away.zarr"))
    with pytest.raises(StoreError, match=r"tiny\.zarr does not exist"):
        list(passes.map_cells(lambda counts, own: 0, own_atlas, client=client))
    assert held(client) == 0


def test_a_worker_opens_the_store_once_for_a_pass(client: Any, tiny_atlas: Atlas) -> None:
    def opened(counts: object, own: np.ndarray) -> tuple[int, int]:
        import os

        return os.getpid(), id(tiny_atlas)

    seen = set(passes.map_cells(opened, tiny_atlas, chunk_cells=20, client=client))
    assert len(seen) == len({pid for pid, _ in seen})
