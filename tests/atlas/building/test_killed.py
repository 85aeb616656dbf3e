"""`kill -9` at random moments of an ingest or append: what was there is whole, and the same call ends the same."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from livelatent.atlas import Atlas, ingest
from livelatent.atlas.layout import Layout

SMALL = Layout(chunk_cells=16, shard_elements=40_000)

# Imports once, then forks for every trial: `trials` lines of "target share", share of the time that it takes.
TRIALS = """
import os, signal, sys, time
from livelatent.atlas import append, ingest
from livelatent.atlas.building import shuffle
from livelatent.atlas.layout import Layout
shuffle.SAVE_EVERY_S = 0.0
what, sources = sys.argv[1], sys.argv[2:]

def work(target):
    if what == "append":
        append(target, sources, memory="120MB", progress=False)
    else:
        layout = Layout(chunk_cells=16, shard_elements=40_000)
        ingest(sources, target, label="kind", memory="120MB", layout=layout, overwrite=True, progress=False)

takes_s = None
for line in sys.stdin:
    target, share = line.split()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        work(target)
        os._exit(0)
    if float(share) < 1:
        time.sleep(takes_s * float(share))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        # The first has warmed the disk and the kernels up; moments are drawn from what it takes then.
        takes_s = min(takes_s or 1e9, time.monotonic() - began)
    print("killed" if os.WIFSIGNALED(status) else f"ended {status}", flush=True)
"""


def files(store: Path) -> dict[str, str]:
    """Hash of every file; what differs by the store's uuid alone is left out."""
    found = {}
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store).as_posix()
        if path.is_file() and not name.startswith(("uns/livelatent/uuid", "obs/store_uuid")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def make_source(path: Path, n_cells: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    adata = anndata.AnnData(sparse.csr_matrix(rng.poisson(0.2, (n_cells, 300)).astype(np.float32)))
    adata.obs["kind"] = rng.choice(["a", "b", "c"], n_cells)
    adata.layers["half"] = adata.X * 0.5
    adata.obsm["X_own"] = rng.normal(size=(n_cells, 5))
    adata.write_h5ad(path)
    return path


class Trials:
    """The process that forks; `kill(target, share)` tells how it ended."""

    def __init__(self, what: str, sources: list[Path]) -> None:
        arguments = [sys.executable, "-W", "ignore", "-c", TRIALS, what, *map(str, sources)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, target: Path, share: float) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{target} {share}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def moments(n: int, seed: int) -> Iterator[tuple[int, float]]:
    """Many more than are needed, since one that comes after the end kills nothing."""
    yield from enumerate(np.random.default_rng(seed).uniform(0, 1, 3 * n + 3) * 0.98)


def killed_ingests(folder: Path, n: int, seed: int, n_cells: int) -> int:
    """Half of the trials over an older store; how many were killed before the end."""
    source, older = make_source(folder / "a.h5ad", n_cells, 1), make_source(folder / "older.h5ad", 500, 2)
    trials, n_killed = Trials("ingest", [source]), 0
    try:
        assert trials.run(folder / "straight.zarr", 1) == "ended 0"
        straight = files(folder / "straight.zarr")
        for number, share in moments(n, seed):
            if n_killed == n:
                break
            home = folder / f"trial{number}"
            home.mkdir()
            target = home / "blood.zarr"
            before = None
            if number % 2:
                before = files(ingest(older, target, label="kind", layout=SMALL, progress=False).path)
            n_killed += trials.run(target, share) == "killed"
            now = files(target) if target.exists() else None
            assert now in (before, straight), f"killed at {share}"
            if now is not None:
                Atlas.open(target)  # its manifest fits as well
            assert trials.run(target, 1) == "ended 0"
            assert files(target) == straight, f"killed at {share}"
            Atlas.open(target)
            assert {p.name for p in home.iterdir()} == {"blood.zarr", "blood.manifest.json", ".blood.zarr.lock"}
    finally:
        trials.close()
    return n_killed


def killed_appends(folder: Path, n: int, seed: int, n_cells: int) -> int:
    first, more = make_source(folder / "first.h5ad", n_cells, 1), make_source(folder / "more.h5ad", 2 * n_cells, 2)
    trials, n_killed = Trials("append", [more]), 0
    try:
        for number, share in [(-1, 1.0), *moments(n, seed)]:
            if n_killed == n:
                break
            home = folder / f"trial{number}"
            home.mkdir()
            target = home / "blood.zarr"
            atlas = ingest(first, target, label="kind", layout=SMALL, progress=False)
            before = files(target)
            ended = trials.run(target, share)
            if share == 1:
                straight = files(target)
                assert ended == "ended 0" and Atlas.open(target).n_cells == 3 * n_cells
                continue
            n_killed += ended == "killed"
            assert files(target) in (before, straight), f"killed at {share}"
            assert Atlas.open(target).uuid == atlas.uuid
            if Atlas.open(target).n_cells == n_cells:
                assert trials.run(target, 1) == "ended 0"
            assert files(target) == straight, f"killed at {share}"
    finally:
        trials.close()
    return n_killed


def test_an_ingest_killed_at_any_moment_goes_on_to_the_same_store(tmp_path: Path) -> None:
    assert killed_ingests(tmp_path, 2, seed=0, n_cells=2_000) == 2  # one over an older store


def test_an_append_killed_at_any_moment_goes_on_to_the_same_store(tmp_path: Path) -> None:
    assert killed_appends(tmp_path, 1, seed=0, n_cells=1_000) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_ingest_killed_at_50_moments_goes_on_to_the_same_store(tmp_path: Path) -> None:
    assert killed_ingests(tmp_path, 50, seed=1, n_cells=6_000) == 50


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_append_killed_at_30_moments_goes_on_to_the_same_store(tmp_path: Path) -> None:
    assert killed_appends(tmp_path, 30, seed=1, n_cells=3_000) == 30
