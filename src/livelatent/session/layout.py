"""The parent's end of the layout worker."""

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float
from livelatent.errors import LivelatentError
from livelatent.session.pipes import receive, send

__all__ = ["FIRST_EPOCHS", "NEXT_EPOCHS", "LayoutError", "LayoutWorker"]

FIRST_EPOCHS = 200
NEXT_EPOCHS = 50
"""Epochs of a layout started from the last one: 1.3 s for 20,000 cells, 5.3 s from scratch."""
NEIGHBORS = 15
SEED = 0


class LayoutError(LivelatentError):
    """The layout worker died, hung or refused; the caller draws a PCA layout instead."""


class LayoutWorker:
    """A process that computes layouts one at a time; it starts at once and warms up by itself.

    Parameters
    ----------
    n_cells
        About how many cells it will lay out: above 4,096 UMAP runs other code, which is compiled as well.
    """

    def __init__(self, n_cells: int = 0) -> None:
        environment = {**os.environ, "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "livelatent.session.layout_worker", str(n_cells)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self.cpu_s = 0.0
        """CPU time that its layouts have taken, as the process itself measured it; its warm-up apart."""
        self.waited_s = 0.0
        """How long callers have waited for them."""
        self._replies: queue.SimpleQueue[tuple[dict[str, Any], list[ndarray]] | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, name="livelatent-layout", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the worker process."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it is warm, so that a layout takes only its own time."""
        return self._ready.is_set() and self.is_alive

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait for the warm-up; False if it took longer or the worker died."""
        self._ready.wait(timeout_s)
        return self.is_ready

    def layout(
        self,
        latent: Float[ndarray, "cell latent"],
        init: Float[ndarray, "cell 2"] | None = None,
        *,
        n_epochs: int | None = None,
        timeout_s: float = 300.0,
    ) -> Float[ndarray, "cell 2"]:
        """Lay out cells, from scratch or from where they were.

        Parameters
        ----------
        n_epochs
            None: 200 from scratch, 50 from where they were.

        Raises
        ------
        LayoutError
            If the worker dies, refuses, or takes longer than `timeout_s`.
        """
        started = time.monotonic()
        try:
            return self._layout(latent, init, n_epochs or (FIRST_EPOCHS if init is None else NEXT_EPOCHS), timeout_s)
        finally:
            self.waited_s += time.monotonic() - started

    def _layout(self, latent: ndarray, init: ndarray | None, n_epochs: int, timeout_s: float) -> ndarray:
        header = {
            "n_epochs": n_epochs,
            "n_neighbors": NEIGHBORS,
            "seed": SEED,
        }
        arrays = [np.asarray(latent, np.float32)] + ([] if init is None else [np.asarray(init, np.float32)])
        try:
            assert self._process.stdin is not None
            send(self._process.stdin, header, *arrays)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise LayoutError(f"the layout worker has gone ({error}).") from error
        try:
            answer = self._replies.get(timeout=timeout_s)
        except queue.Empty:
            self.close()
            raise LayoutError(f"a layout took more than {timeout_s:.0f} s.") from None
        if answer is None:
            code = self._process.wait()
            raise LayoutError(f"the layout worker died (exit status {code}).")
        reply, got = answer
        self.cpu_s += float(reply.get("cpu_s", 0.0))
        if "error" in reply:
            raise LayoutError(f"the layout failed: {reply['error']}")
        return got[0]

    def close(self) -> None:
        """End the process and give back its pipes."""
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _read(self) -> None:
        """Pass replies on; None once the process has gone."""
        pipe = self._process.stdout
        try:
            while True:
                message = receive(pipe)  # type: ignore[arg-type]
                if "ready" in message[0]:
                    self._ready.set()
                else:
                    self._replies.put(message)
        except (EOFError, OSError, ValueError):
            self._replies.put(None)
            self._ready.set()
