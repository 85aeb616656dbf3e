"""Training with and without the view, measured from inside the kernel: `trial = Trial(atlas, cpu_share=0.15)`."""

import asyncio
import resource
import threading
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import livelatent as ll


def example() -> ll.Atlas:
    """The quickstart's atlas: 700 cells, one type hidden."""
    folder = Path(mkdtemp(prefix="livelatent-trials-"))
    return ll.ingest(
        ll.write_example(folder / "blood.h5ad"),
        folder / "blood.zarr",
        label="bulk_labels",
        unlabelled=["CD19+ B"],
        progress=False,
    )


class Trial:
    """One training; `view` is to be shown before it begins.

    Parameters
    ----------
    cpu_share
        Of the view; None: no view.
    """

    def __init__(self, atlas: ll.Atlas, *, cpu_share: float | None, epochs: int) -> None:
        self.run = ll.Run(ll.Cellular(atlas, patience=100_000), atlas, epochs=epochs)
        self.view = None if cpu_share is None else ll.LiveView(self.run, cpu_share=cpu_share)
        if self.view is not None:
            self.view.session.settle(timeout_s=120)  # UMAP is compiled once, whatever is trained

    async def trained(self) -> dict[str, Any]:
        """CPU seconds of the process and of its threads during training."""
        looked = 0.0 if self.view is None else self.view.session.spent_s
        before, began, wall = _threads(), _process(), time.monotonic()
        worker = self._worker_s()
        self.run.start()
        seen, turns = before, 0
        while self.run.status.state in ("training", "stopping"):
            await asyncio.sleep(0.02)  # flags are looked for at the end: not to be counted
            turns += 1
            if turns % 25 == 0:
                seen = seen | _threads()  # a thread that has ended keeps its last figure
        spent, seen = _process() - began, seen | _threads()
        told = {
            "steps": self.run.status.step,
            "wall_s": time.monotonic() - wall,
            "process_s": spent,
            "threads_s": {name: s - before.get(name, 0.0) for name, s in seen.items()},
            "looked_s": 0.0 if self.view is None else self.view.session.spent_s - looked,
            "layout_s": self._worker_s() - worker,
        }
        if self.view is not None:
            self.view.close()
        return told

    def _worker_s(self) -> float:
        worker = None if self.view is None else self.view.session.lookout.worker
        if worker is None:
            return 0.0
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100  # ticks of a hundredth


def _process() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _threads() -> dict[str, float]:
    """CPU seconds of each thread that runs, by its name; those that Python did not start under one name."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    told: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue  # it has just ended
        name = names.get(int(task.name), "native")
        told[name] = told.get(name, 0.0) + spent
    return told
