"""A measurement in a process of its own, and what it took."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest import give_back_memory, memory_of

ENTRY = Path(__file__).parents[1] / "stream.py"


class MeasurementError(Exception):
    """A process that measures has failed."""


def measured(task: str, *, one_core: bool = False, **asked: Any) -> dict[str, Any]:
    """What `task` answers, in a fresh process.

    Parameters
    ----------
    one_core
        Leave the process one core from its start: every library then sizes its threads by it.
    """
    command = [sys.executable, str(ENTRY), "--one", task, json.dumps(asked, default=str)]
    core = {max(os.sched_getaffinity(0))}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, core)) if one_core else None,
    )
    if done.returncode:
        raise MeasurementError(f"{task} {asked} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps({"task": task} | asked | {"one_core": one_core} | answer, default=str), file=sys.stderr)
    return answer


def into_page_cache(path: Path) -> None:
    """Read a file, or all files of a folder, once."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        with open(file, "rb") as opened:
            while opened.read(2**24):
                pass


@contextmanager
def taking() -> Iterator[dict[str, float]]:
    """Wall and CPU seconds (user and system, all threads, and children that have ended) of a block."""
    took: dict[str, float] = {}
    wall, cpu = time.perf_counter(), cpu_seconds()
    yield took
    took |= {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu}


def cpu_seconds() -> float:
    """In microseconds, where `os.times` counts hundredths of a second."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@contextmanager
def peak_above_now() -> Iterator[dict[str, int]]:
    """Most memory that a block holds, less what was held before it; what was freed is given back first."""
    import gc

    found: dict[str, int] = {}
    gc.collect()
    give_back_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    found["before_bytes"] = before = memory_of("VmRSS")
    yield found
    found["peak_bytes"] = memory_of("VmHWM") - before
