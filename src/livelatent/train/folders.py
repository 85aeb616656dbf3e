"""Folders of runs: which one a person means."""

from pathlib import Path

from livelatent.atlas.layout import beside
from livelatent.errors import ResumeError

__all__ = ["run_folder"]


def run_folder(path: Path) -> Path:
    """A run's folder; of a store, that of the run that was begun last.

    Raises
    ------
    ResumeError
        If it is neither, or no run was begun on the store.
    """
    if (path / "config.json").is_file():
        return path
    runs = beside(path.absolute(), "runs")
    if not runs.is_dir():
        raise ResumeError(f"{path} is no run's folder (no config.json), and no runs lie beside it ({runs.name}).")
    begun = [(file.stat().st_mtime_ns, file.parent) for file in runs.glob("*/config.json")]
    if not begun:
        raise ResumeError(f"{runs}: no run was begun on {path.name}. Train one, or name a run's folder.")
    return max(begun)[1]
