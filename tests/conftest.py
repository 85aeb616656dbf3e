"""Shared by every room's tests: two tiny source files, and the store made of them."""

import os

# Before torch and BLAS are loaded, and for processes that tests start: their threads wait for each other by spinning,
# and there is a test process for every core already. A test that is about threads sets their number itself.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import threading
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from livelatent.atlas import Atlas, ingest, passes
from livelatent.atlas.layout import Layout

SHARED = Path(__file__).parents[2] / "shared"
TINY_LAYOUT = Layout(chunk_cells=16, shard_elements=9_000)


def pytest_configure(config: pytest.Config) -> None:
    # anndata 0.13 asks pandas 3.1 for an option that pandas is about to remove, whenever an AnnData is made.
    config.addinivalue_line("filterwarnings", "ignore:The 'future.infer_string' option")
    # The same, whenever a view of one is made.
    config.addinivalue_line("filterwarnings", "ignore:The 'mode.chained_assignment' option")
    if threading.current_thread() is threading.main_thread():
        # A shell that starts tests in the background has them ignore Ctrl-C, and all they start.
        signal.signal(signal.SIGINT, signal.default_int_handler)


# The longest, longest first, as they take 15 s and more.
LONG = (
    "test_demo.py",
    "test_cli.py",
    "test_hostile.py",
    "test_ingest.py",
    "test_atlas.py",
    "test_another_process.py",
    "test_foreign.py",
    "test_doctor.py",
    "test_live.py",
    "test_on_a_cluster.py",
    "test_remote.py",
    "test_work.py",
    "test_killed.py",
    "test_ingest_any.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Short files last, so that two processes end together; with xdist's `--no-loadscope-reorder`."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


def tiny_adata(n_cells: int, batches: list[str], seed: int) -> anndata.AnnData:
    """Four types with 25 marker genes each, the last gene all zero, cell 3 empty, each ninth cell unlabelled."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, n_cells, p=[0.45, 0.3, 0.17, 0.08])
    # Batches are uneven, and the last lacks type 3.
    batch = np.where(
        kind == 3,
        0,
        rng.choice(len(batches), n_cells, p=np.arange(1, len(batches) + 1) / sum(range(1, len(batches) + 1))),
    )
    mean = np.random.default_rng(0).lognormal(-0.9, 0.8, 300)
    profile = np.tile(mean, (4, 1))
    for k in range(4):
        profile[k, 25 * k : 25 * (k + 1)] *= 12
    shift = np.random.default_rng(1).lognormal(0, 0.25, (3, 300))
    depth = rng.lognormal(0, 0.35, n_cells)
    counts = rng.poisson(rng.gamma(2, profile[kind] * shift[batch] * depth[:, None] / 2)).astype(np.float32)
    counts[:, -1] = 0
    counts[3] = 0
    names = np.array(["T cell", "B cell", "monocyte", "NK cell"], dtype=object)[kind]
    names[::9] = "unassigned"
    names[5] = None
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(names),
            "donor": pd.Categorical(np.array(batches, dtype=object)[batch]),
            "age": rng.integers(20, 80, n_cells),
        },
        index=pd.Index([f"cell{i}" for i in range(n_cells)], dtype=object),
    )
    var = pd.DataFrame(index=pd.Index([f"GENE{g}" for g in range(300)], dtype=object))
    return anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


@pytest.fixture(scope="session")
def tiny_adatas() -> dict[str, anndata.AnnData]:
    """What the tiny files hold, by file name: 370 and 237 cells x 300 genes."""
    return {
        "one.h5ad": tiny_adata(370, ["d1", "d2"], seed=10),
        "two.h5ad": tiny_adata(237, ["d1", "d2", "d3"], seed=20),
    }


@pytest.fixture(scope="session")
def tiny_h5ad(tmp_path_factory: pytest.TempPathFactory, tiny_adatas: dict[str, anndata.AnnData]) -> list[Path]:
    """Two `.h5ad` files; their barcodes clash."""
    folder = tmp_path_factory.mktemp("sources")
    for name, adata in tiny_adatas.items():
        adata.write_h5ad(folder / name, compression="gzip")
    return [folder / name for name in tiny_adatas]


@pytest.fixture(scope="session")
def tiny_atlas(tmp_path_factory: pytest.TempPathFactory, tiny_h5ad: list[Path]) -> Atlas:
    """The store of both files: 607 cells x 300 genes, 4 labels, 3 batches. Shared: change a copy of its folder."""
    return ingest(
        tiny_h5ad,
        tmp_path_factory.mktemp("store") / "tiny.zarr",
        label="cell_type",
        batch="donor",
        unlabelled=["unassigned"],
        layout=TINY_LAYOUT,
        seed=7,
    )


@pytest.fixture
def own_atlas(tmp_path: Path, tiny_atlas: Atlas) -> Atlas:
    """A copy of the tiny store that the test may change."""
    import shutil

    for path in tiny_atlas.path.parent.glob("tiny.*"):
        if path.is_dir() and path.suffix == ".zarr":
            shutil.copytree(path, tmp_path / path.name)
        elif path.suffix == ".json":
            shutil.copy(path, tmp_path / path.name)
    return Atlas.open(tmp_path / tiny_atlas.path.name)


@pytest.fixture(scope="session")
def finished_run(tiny_h5ad: list[Path], tmp_path_factory: pytest.TempPathFactory):
    """A finished run on an atlas of its own, whose hidden type is there to be found."""
    import watched

    return watched.finished_run(tiny_h5ad, tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def finished(finished_run):
    """A session on it, up to date, its map a UMAP: one for all rooms, since UMAP takes its time to warm up."""
    from livelatent.session.live import LiveSession

    session = LiveSession(finished_run)
    session.settle()
    yield session
    session.close()
    finished_run.atlas.labels.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, or a skip."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"real data are not at hand ({folder})")
    return folder


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of a pass also for a tiny atlas."""
    monkeypatch.setattr(passes, "CHUNK_CELLS", 100)


@pytest.fixture(scope="module")
def browser():
    """A real Chromium. One a module: while Playwright runs, nothing else can run an event loop in this thread."""
    from browsing import chromium

    with chromium() as browser:
        yield browser
