"""What `ingest` costs beside annbatch's `add_adatas`: `python benchmarks/ingest.py --json --work FOLDER [--quick]`.

Simulated atlases (`livelatent.simulate`, donors one after another, half of them sorted by type) as one `.h5ad` each,
uncompressed and gzip, are made once per work folder. Each run is a fresh process that imports, warms up on a tiny file
(compiled kernels, thread pools), and makes one call, whose CPU seconds (user and system, all threads), wall seconds
and peak memory are read. Runs are interleaved over rounds, and files are in the page cache. How each figure is
counted: `docs/decisions.md`.
"""

import argparse
import contextlib
import gc
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

LIMITS = {"1GB": 10**9, "4GB": 4 * 10**9}
TYPES, BATCHES = 30, 20
PACKAGES = ("livelatent", "annbatch", "anndata", "zarr", "zarrs", "h5py", "numpy", "numba", "dask")


class Atlas(NamedTuple):
    """A simulated atlas."""

    cells: int
    genes: int
    values_per_cell: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.cells}x{self.genes}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line")
    parser.add_argument("--work", type=Path, default=Path("/tmp/livelatent-ingest"), help="6 GB of sources, 6 GB more")
    parser.add_argument("--cells", type=int, default=1_000_000, help="of the larger atlas; the others have a fifth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="100,000 and 20,000 cells, one round: a minute or two")
    parser.add_argument("--prepare", action="store_true", help="only make the sources")
    parser.add_argument("--only", choices=("ours", "annbatch"), help="leave the other out (no ratio then)")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one_call(*args.one)))
        return
    cells, rounds = (100_000, 1) if args.quick else (args.cells, args.rounds)
    small = Atlas(cells // 5, 2_000, 207)
    atlases = (Atlas(cells, 2_000, 207), Atlas(cells // 5, 20_000, 1_350))
    args.work.mkdir(parents=True, exist_ok=True)
    files = {
        (atlas, gzip): made(args.work, atlas, gzip)
        for atlas in (*atlases, small)
        for gzip in (False, True)
        if not (gzip and atlas == small)
    }
    tiny = {atlas.genes: made(args.work, Atlas(3_000, atlas.genes, atlas.values_per_cell), False) for atlas in atlases}
    if args.prepare:
        return
    facts = about(args)
    runs = []
    for number in range(rounds):
        for (atlas, gzip), file in files.items():
            for who, limit in (*(("ours", limit) for limit in LIMITS), ("annbatch", "")):
                if (atlas == small and who == "annbatch") or (args.only and who != args.only):
                    continue
                asked = {"who": who, "memory": limit, "atlas": atlas.name, "gzip": gzip, "round": number}
                measured = run(args.work, who, file, limit, tiny[atlas.genes])
                runs.append(asked | measured | {"cells_per_s": round(atlas.cells / measured["wall_s"])})
                print(json.dumps(runs[-1]), file=sys.stderr)
    result = figures(runs, atlases, small) | facts | {"rounds": rounds, "runs": runs}
    print(json.dumps(result, indent=None if args.json else 1))


def made(work: Path, atlas: Atlas, gzip: bool) -> Path:
    """The atlas as an `.h5ad` with ten columns of obs; made where it is not there yet."""
    import livelatent as ll

    path = work / f"{atlas.name}{'.gzip' if gzip else ''}.h5ad"
    if path.exists():
        return path
    print(f"making {path}", file=sys.stderr)
    aside = path.with_name(f"making-{path.name}")
    ll.simulate(
        aside,
        atlas.cells,
        atlas.genes,
        n_types=TYPES,
        n_batches=BATCHES,
        genes_per_cell=atlas.values_per_cell,
        rare={7: 0.001, 19: 0.0004},
        hidden=[11],
        unlabelled=0.05,
        empty=0.0005,
        order="donors",
        compression="gzip" if gzip else None,
        memory="4GB",
    )
    add_columns(aside, atlas.cells)
    aside.with_suffix(".truth.json").rename(path.with_suffix(".truth.json"))
    aside.rename(path)
    return path


def add_columns(path: Path, n_cells: int) -> None:
    """What obs of a published atlas has besides: numbers, a flag, a sample per cell."""
    import h5py
    import pandas as pd

    from livelatent.atlas.elements import plain_frame, read_element, write_element

    rng = np.random.default_rng(1)
    with h5py.File(path, "r+") as file:
        obs = read_element(file["obs"])
        sample = np.array([f"sample {number}" for number in range(3 * BATCHES)], dtype=object)
        obs["sample"] = pd.Categorical(sample[3 * obs["batch"].cat.codes.to_numpy() + rng.integers(0, 3, n_cells)])
        obs["age"] = rng.integers(20, 80, n_cells)
        obs["pct_mito"], obs["s_score"] = (rng.normal(6, 1, n_cells).astype(np.float32) for _ in range(2))
        obs["doublet_score"] = rng.random(n_cells)
        obs["is_doublet"] = rng.random(n_cells) < 0.05
        del file["obs"]
        write_element(file, "obs", plain_frame(obs))


def run(work: Path, who: str, source: Path, memory: str, tiny: Path) -> dict[str, Any]:
    """One call in a process of its own; what it wrote is measured and removed."""
    target = work / "target.zarr"
    remove(target)
    with open(source, "rb") as file:
        # Into the page cache, where the user's last step has left it.
        while file.read(2**24):
            pass
    command = [sys.executable, __file__, "--one", who, str(source), str(target), memory or "-", str(tiny)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return measured | {"disk_mb": round(sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) / 1e6)}
    finally:
        remove(target)


def remove(target: Path) -> None:
    """A store and what lies beside it."""
    for path in target.parent.glob(f"*{target.stem}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def one_call(who: str, source: str, target: str, memory: str, tiny: str) -> dict[str, Any]:
    """In a fresh process: import, warm up, then the call that is measured."""
    call = ours if who == "ours" else annbatch
    importlib.import_module("livelatent.atlas.ingest" if who == "ours" else "annbatch")
    imports = memory_of("VmRSS")
    call(tiny, f"{target}.warm-up.zarr", memory)
    remove(Path(f"{target}.warm-up.zarr"))
    gc.collect()
    give_back_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory_of("VmRSS")
    started, cpu = time.monotonic(), cpu_seconds()
    with contextlib.redirect_stdout(sys.stderr):
        call(source, target, memory)
    used, wall = cpu_seconds() - cpu, time.monotonic() - started
    peak = memory_of("VmHWM")
    return {
        "cpu_s": round(used, 2),
        "wall_s": round(wall, 2),
        "peak_mb": round((peak - before) / 1e6),
        "peak_above_imports_mb": round((peak - imports) / 1e6),
    }


def ours(source: str, target: str, memory: str) -> None:
    import livelatent as ll

    ll.ingest(source, target, label="cell_type", batch="batch", unlabelled=["unassigned"], memory=memory)


def annbatch(source: str, target: str, memory: str) -> None:
    """As its documentation has it: zarrs for the codecs, all else by default; obs goes along by default."""
    import zarr
    from annbatch import DatasetCollection

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    DatasetCollection(target).add_adatas([source], rng=np.random.default_rng(0))


def cpu_seconds() -> float:
    """User and system, of every thread and of children."""
    return sum(os.times()[:4])


def memory_of(what: str) -> int:
    """Bytes from this process's status: VmRSS is held now, VmHWM was held at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(what)


def give_back_memory() -> None:
    """What the warm-up has freed goes back to the system: what the call takes again then counts as its own."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def figures(runs: list[dict[str, Any]], atlases: tuple[Atlas, ...], small: Atlas) -> dict[str, Any]:
    """Medians over rounds, the worse of the atlases and limits; of peaks the largest there was."""

    def middle(what: str, atlas: Atlas, gzip: bool, who: str, memory: str = "") -> float | None:
        found = [
            r[what] for r in runs if (r["atlas"], r["gzip"], r["who"], r["memory"]) == (atlas.name, gzip, who, memory)
        ]
        return median(found) if found else None

    medians: dict[str, Any] = {}
    worst: dict[bool, list[float]] = {False: [], True: []}
    for atlas in atlases:
        for gzip in (False, True):
            place = medians.setdefault(f"{atlas.name}{' gzip' if gzip else ''}", {})
            theirs = middle("cpu_s", atlas, gzip, "annbatch")
            for who, memory in (*(("ours", limit) for limit in LIMITS), ("annbatch", "")):
                name = f"{who} {memory}".strip()
                facts = {k: middle(k, atlas, gzip, who, memory) for k in ("cpu_s", "wall_s", "peak_mb", "disk_mb")}
                if facts["cpu_s"] is None:
                    continue
                place[name] = facts | {"cells_per_s": round(atlas.cells / facts["wall_s"])}
                if who == "ours" and theirs:
                    place[name]["cpu_vs_annbatch"] = round(facts["cpu_s"] / theirs, 3)
                    worst[gzip].append(place[name]["cpu_vs_annbatch"])
    peaks = [(r["peak_mb"] * 1e6 / LIMITS[r["memory"]], r) for r in runs if r["who"] == "ours"]
    growth = []
    for limit in LIMITS:
        large, little = (middle("peak_mb", atlas, False, "ours", limit) for atlas in (atlases[0], small))
        if large and little:
            growth.append(round(large / little, 3))
    return {
        "cpu_vs_annbatch": max(worst[False], default=None),
        "cpu_vs_annbatch_gzip": max(worst[True], default=None),
        "peak_over_limit": round(max((share for share, _ in peaks), default=0.0), 3),
        "peak_1m_over_200k": max(growth, key=lambda ratio: abs(np.log(ratio)), default=None),
        "peak_1m_over_200k_at": dict(zip(LIMITS, growth, strict=False)),
        "medians": medians,
    }


def about(args: argparse.Namespace) -> dict[str, Any]:
    """Where and when, and with what."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": cpu[0].split(":")[1].strip() if cpu else platform.processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "load_before": os.getloadavg(),
        },
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "command": " ".join(["python", *sys.argv]),
        "page_cache": "warm",
        "atlas_files": sorted(f"{p.name}: {p.stat().st_size / 1e9:.2f} GB" for p in args.work.glob("*x*.h5ad")),
    }


if __name__ == "__main__":
    main()
