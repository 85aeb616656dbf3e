"""`livelatent lab`: JupyterLab with a notebook that is ready for a store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livelatent.cli.options import CellCycle
from livelatent.extras import how_to_install
from livelatent.shell import stderr, stdout


def lab(
    store: Annotated[
        Path | None, typer.Argument(help="A store, or a notebook to open; none: JupyterLab alone.", metavar="STORE")
    ] = None,
    cell_cycle: CellCycle = None,
    write_only: Annotated[bool, typer.Option("--write-only", help="Write the notebook, and open nothing.")] = False,
) -> None:
    """Open JupyterLab with a notebook prepared for a store: train, watch, name what is new.

    The notebook is written into the working directory under the store's name. One that is there already is yours, and
    is opened as it is.
    """
    if store is None or store.suffix == ".ipynb":
        if cell_cycle is not None:
            raise typer.BadParameter("for the notebook of a store, and none is named.", param_hint="--cell-cycle")
        notebook = store
    else:
        from livelatent.atlas.atlas import Atlas
        from livelatent.store_notebook import write_store_notebook

        notebook, is_new = write_store_notebook(Atlas.open(store), Path.cwd(), cell_cycle=cell_cycle)
        said = "written" if is_new else "was here already, and is opened as it is"
        said += ", without --cell-cycle" if cell_cycle is not None and not is_new else ""
        stdout.print(escape(f"{notebook}: {said}."), highlight=False, soft_wrap=True)
    if not write_only:
        open_lab(notebook)


def open_lab(notebook: Path | None) -> None:
    """Run JupyterLab until it ends, and end as it does."""
    import importlib.util

    if importlib.util.find_spec("jupyterlab") is None:
        stderr.print(f"[bold red]error:[/] JupyterLab is not installed: {escape(how_to_install('lab'))}")
        raise typer.Exit(1)
    command = [sys.executable, "-m", "jupyter", "lab"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # In a container one is root, and Jupyter would refuse after all the work is done.
        command.append("--allow-root")
    raise typer.Exit(_until_it_ends([*command, *([str(notebook)] if notebook else [])]))


def _until_it_ends(command: Sequence[str]) -> int:
    """Its exit status; what asks us to end asks it."""
    process = subprocess.Popen(command)
    # Ctrl-C reaches JupyterLab by itself: it asks, and shuts its kernels down.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
