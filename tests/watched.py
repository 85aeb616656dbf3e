"""Small runs to look at: an atlas with one type hidden, and a run of two epochs on it."""

import threading
from collections.abc import Callable
from pathlib import Path

from livelatent.atlas import Atlas, ingest
from livelatent.models.cellular import Cellular
from livelatent.stream.plan import StreamConfig
from livelatent.train.run import Run

HIDDEN = "NK cell"
CONFIG = StreamConfig(minibatch_cells=100, block_cells=16, buffer_cells=200)


def hidden_atlas(sources: list[Path], folder: Path) -> Atlas:
    """The tiny store with one of its four types hidden, and no batches: held-back batches cost half a minute."""
    return ingest(sources, folder / "hidden.zarr", label="cell_type", unlabelled=["unassigned", HIDDEN], seed=7)


def small_run(atlas: Atlas, folder: Path, epochs: int = 2, **settings: object) -> Run:
    return Run(Cellular(atlas, n_genes=120, n_latent=8, **settings), atlas, epochs, folder, CONFIG, "cpu")


def until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    """Wait until something holds; how long it takes is nobody's claim."""
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it never came to that")


def finished_run(sources: list[Path], folder: Path) -> Run:
    """A run of eight epochs on the atlas with a hidden type."""
    run = small_run(hidden_atlas(sources, folder), folder / "run", epochs=8)
    run.start()
    run.wait()
    return run
