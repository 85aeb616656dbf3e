"""`livelatent report`: a run's page, from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livelatent.cli.options import CellCycle
from livelatent.shell import Json, bar, print_rows, say, stderr


def report(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, finished or killed; or a store: its latest run.", metavar="RUN")
    ],
    out: Annotated[Path | None, typer.Option(help="The page [default: report.html in the run's folder].")] = None,
    picture: Annotated[Path | None, typer.Option(help="A .png of it as well.")] = None,
    query: Annotated[Path | None, typer.Option(help="Another store, shown and scored beside the run's own.")] = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Number batches, files and single cells instead of naming them.")
    ] = False,
    cell_cycle: CellCycle = None,
    as_json: Json = False,
) -> None:
    """Write a run as one page that opens from disk, with no network and no Python: curves, map, prototypes, flags."""
    from livelatent.atlas.atlas import Atlas
    from livelatent.judge.cycle_lists import cycle_lists
    from livelatent.train.folders import run_folder
    from livelatent.train.run import Run
    from livelatent.widget.report import write_report

    folder = run_folder(run)
    cycle = None if cell_cycle is None else cycle_lists(cell_cycle)  # before the run is read, which may take long
    page = folder / "report.html" if out is None else out
    with bar() as progress:
        progress("reading the run", 0.0)
        resumed = Run.resume(folder)
        progress("judging its cells, drawing the map", 0.3)
        other = None if query is None else Atlas.open(query)
        write_report(resumed, html=page, png=picture, query=other, anonymise=anonymise, cell_cycle=cycle)
    status = resumed.status
    if status.state != "done":
        stderr.print(escape(f"{folder}: the run had not ended; this is its last saved state, step {status.step:,}."))
    facts = {
        "run": str(folder),
        "step": status.step,
        "epoch": status.epoch,
        "report": str(page),
        "picture": None if picture is None else str(picture),
    }
    say(facts, as_json, lambda: print_rows([(name, value) for name, value in facts.items() if value is not None]))
