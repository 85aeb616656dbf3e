"""`livelatent demo`: the whole loop on one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livelatent.cli.ingest import Batch, Counts, Label, Memory
from livelatent.cli.lab import open_lab
from livelatent.cli.options import Epochs, Seed
from livelatent.shell import Json, bar, print_rows, say, stdout


def demo(
    source: Annotated[
        Path | None, typer.Argument(help="An .h5ad of counts; none: 700 cells from scanpy.", metavar="FILE")
    ] = None,
    label: Label = None,
    batch: Batch = None,
    hide: Annotated[str | None, typer.Option(help="The type to hide; none: the smallest of at least 50 cells.")] = None,
    counts: Counts = "X",
    out: Annotated[Path, typer.Option(help="Folder for the store, the model and the report.")] = Path(
        "livelatent-demo"
    ),
    epochs: Epochs = 50,
    memory: Memory = "4GB",
    seed: Seed = 0,
    lab: Annotated[bool, typer.Option("--lab/--no-lab", help="Open JupyterLab at the end.")] = True,
    as_json: Json = False,
) -> None:
    """Run the whole loop with one type hidden as the thing to discover."""
    from livelatent.demo import run_demo
    from livelatent.quickstart import quickstart_notebook

    with bar() as progress:
        result = run_demo(
            source,
            label=label,
            batch=batch,
            hide=hide,
            counts=counts,
            folder=out,
            epochs=epochs,
            memory=memory,
            seed=seed,
            progress=progress,
        )

    def table() -> None:
        for note in result.notes:
            stdout.print(escape(note), highlight=False)
        print_rows(
            [
                ("cells x genes", f"{result.cells:,} x {result.genes:,}, in {result.seconds:.0f} s"),
                ("5-fold accuracy", f"{result.accuracy:.3f}  livelatent, on {result.accuracy_cells:,} labelled cells"),
                ("", f"{result.lr_raw_accuracy:.3f}  logistic regression on genes"),
                ("", f"{result.lr_pca_accuracy:.3f}  logistic regression on 50 principal components"),
                (
                    "hidden type",
                    f"{result.hidden_type} ({result.hidden_cells:,} cells, their label unseen in training)",
                ),
                *[
                    (
                        f"flag {number}",
                        f"{flag.cells:,} cells, {flag.purity:.0%} of them the hidden type. {flag.reason}",
                    )
                    for number, flag in enumerate(result.flags, start=1)
                ],
                *([] if result.flags else [("flags", "none: no cluster stands out from the false alarms at 5 %")]),
                ("store", result.store),
                ("model", result.model),
                ("report", result.report),
                ("picture", result.picture),
            ]
        )

    say(result.to_json(), as_json, table)
    if lab and not as_json:
        open_lab(
            quickstart_notebook(source, label=label, batch=batch, hide=result.hidden_type, counts=counts, folder=out)
        )
