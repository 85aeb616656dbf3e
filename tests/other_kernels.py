"""Packages that stand beside the environment, not in it: earlier ipykernels, marimo. Kept from one run to the next."""

import subprocess
import sys
import tempfile
from pathlib import Path

KEPT = Path(tempfile.gettempdir()) / "livelatent-packages"


class NotToBeHadError(Exception):
    """pip could not bring it: no network, or no such release."""


def ipykernel(version: str) -> Path:
    """A folder with that ipykernel alone; what it needs is the environment's."""
    return package(f"ipykernel=={version}", "--no-deps")


def marimo() -> Path:
    """A folder with marimo and what it needs, to be looked at after the environment."""
    return package("marimo==0.25.2")


def package(requirement: str, *options: str) -> Path:
    """A folder with a package, installed where it is not there yet.

    Raises
    ------
    NotToBeHadError
        If pip can't bring it.
    """
    folder = KEPT / requirement
    if folder.exists():
        return folder
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options]
        done = subprocess.run(
            [*command, "--target", f"{name}/it", requirement], capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            raise NotToBeHadError(f"pip install {requirement} failed: {done.stderr.strip()[-300:]}")
        (Path(name) / "it").rename(folder)  # whole or not at all
    return folder
