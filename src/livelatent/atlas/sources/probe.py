"""HDF5 asked in a process of its own first: on damaged files its code may crash, or never come back.

Of 4,245 damaged small files 3 did so (HDF5 2.0.0), all over the heaps that hold attributes and text, anndata's reader
as well. The process takes 0.2 s to start, answers in milliseconds, and goes when nobody has asked it for half a minute.
"""

import atexit
import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import h5py

from livelatent.errors import SourceError

PATIENCE_S = 60.0
Child = subprocess.Popen[str]


class Probe:
    """The process, started when it is first asked; one path at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Child | None = None

    def check(self, path: Path) -> None:
        """Ask about a file.

        Raises
        ------
        SourceError
            If the process died of it, or did not come back.
        """
        if not h5py.is_hdf5(path):
            return
        with self._lock:
            for _ in range(2):  # it may have gone, idle, at this very moment
                child = self._running()
                if child is None or self._answers(child, path):
                    return
                code = self.close()
                if code:
                    how = "never comes back" if code == -9 else "itself crashes"
                    raise SourceError(
                        f"{path} is damaged: HDF5 {how} when it reads the attributes and names in it. Download or "
                        "copy it again."
                    )

    def _running(self) -> Child | None:
        """The process; None where none can be started, which is no fault of the file."""
        if self._child is not None and self._child.poll() is None:
            return self._child
        self.close()
        if getattr(sys, "frozen", False) or not sys.executable:
            return None  # a bundled program would start itself
        command = [sys.executable, "-P", str(Path(__file__).with_name("probe_child.py"))]
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            return None
        self._child = child
        if child.stdout is None or child.stdout.readline() != "ready\n":
            self.close()
            return None
        return child

    def _answers(self, child: Child, path: Path) -> bool:
        """Whether it comes back from the file."""
        patience = threading.Timer(PATIENCE_S, child.kill)
        patience.start()
        try:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(json.dumps(str(path.absolute())) + "\n")
            child.stdin.flush()
            return child.stdout.readline() == "read\n"
        except OSError:
            return False
        finally:
            patience.cancel()

    def close(self) -> int:
        """End the process; how it ended, 0 where it went by itself."""
        child, self._child = self._child, None
        if child is None:
            return 0
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            return child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return 0


PROBE = Probe()
atexit.register(PROBE.close)
