"""The most memory that a call takes, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

def held(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name + ":"))

{warm_up}
before = held("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # VmHWM begins anew
{call}
print(held("VmHWM") - before)
"""

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of resident memory is read from /proc"
)


def peak_bytes(warm_up: str, call: str, *arguments: object) -> int:
    """What `call` held at most, beyond what was held after `warm_up`; both find the arguments in `sys.argv[1:]`."""
    program = PROGRAM.format(warm_up=warm_up, call=call)
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
