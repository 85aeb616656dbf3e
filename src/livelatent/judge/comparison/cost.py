"""What a call costs: CPU seconds of all threads, and the most memory it held."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cost", "measured"]


@dataclass
class Cost:
    """Filled in when the block ends."""

    cpu_s: float = 0.0
    peak_bytes: int | None = None
    """Above what the process held before; None where the system does not tell (it is read from /proc)."""

    def plus(self, other: "Cost") -> "Cost":
        """One after the other: times add up, of the peaks the higher counts."""
        peaks = [peak for peak in (self.peak_bytes, other.peak_bytes) if peak is not None]
        return Cost(self.cpu_s + other.cpu_s, max(peaks, default=None))


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block; processes that it starts and waits for are counted in CPU seconds."""
    cost, before, held = Cost(), _cpu_s(), _resident("VmRSS")
    restarted = held is not None and _begin_anew()
    try:
        yield cost
    finally:
        cost.cpu_s = _cpu_s() - before
        highest = _resident("VmHWM") if restarted else None
        cost.peak_bytes = None if highest is None or held is None else max(highest - held, 0)


def _cpu_s() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _resident(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), None)


def _begin_anew() -> bool:
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(descriptor, b"5")  # lets the highest resident set begin anew (proc(5))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
