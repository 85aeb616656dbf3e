"""A training whose view is silenced and let speak in turns, measured from inside the kernel."""

import asyncio
import resource
import threading
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import livelatent as ll

WINDOW_S = 2.0
ENOUGH_EPOCHS = 1_000_000


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
    """One training; `view` is to be shown before it is measured."""

    def __init__(self, atlas: ll.Atlas) -> None:
        self.run = ll.Run(ll.Cellular(atlas, patience=ENOUGH_EPOCHS), atlas, epochs=ENOUGH_EPOCHS)
        self.view = ll.LiveView(self.run)
        self.view.session.settle(timeout_s=120)  # UMAP is compiled once, whatever is trained

    async def windows(self, n_pairs: int) -> list[dict[str, Any]]:
        """What each window of training took, those without messages to the browser and those with them in turns."""
        told = []
        self.run.start()
        for number in range(2 * n_pairs + 2):
            # off, on, on, off: what drifts favours neither.
            speaks = number % 4 in (1, 2)
            self._let(speaks=speaks)
            before = self._spent()
            await asyncio.sleep(WINDOW_S)
            after = self._spent()
            if number >= 2:  # what comes first warms up
                told.append({"speaks": speaks} | {name: _less(after[name], before[name]) for name in after})
        self.run.stop()
        self.view.close()
        return told

    def _let(self, *, speaks: bool) -> None:
        """Tell the publisher of changes, or of none."""
        session: Any = self.view.session
        if speaks:
            vars(session).pop("versions", None)
        else:
            session.versions = dict

    def _spent(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "steps": self.run.status.step,
            "wall_s": time.monotonic(),
            "process_s": used.ru_utime + used.ru_stime,
            "threads_s": _threads(),
            "looked_s": self.view.session.spent_s,
            "layout_s": self._worker_s(),
        }

    def _worker_s(self) -> float:
        worker = self.view.session.lookout.worker
        if worker is None:
            return 0.0
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100  # ticks of a hundredth


def _less(after: Any, before: Any) -> Any:
    if isinstance(after, dict):
        return {name: s - before.get(name, 0.0) for name, s in after.items()}
    return after - before


def _threads() -> dict[str, float]:
    """CPU seconds of each thread that runs, by its name; those that Python did not start under one name."""
    names = {thread.native_id: thread.name.split("-")[0] if thread.name.startswith("subshell") else thread.name
             for thread in threading.enumerate()}  # fmt: skip
    told: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue  # it has just ended
        name = names.get(int(task.name), "native")
        told[name] = told.get(name, 0.0) + spent
    return told
