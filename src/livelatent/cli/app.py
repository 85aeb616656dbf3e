"""The commands put together; each lives in a file of its own, and parses, calls and prints."""

from __future__ import annotations

from typing import Annotated

import typer

from livelatent import __version__
from livelatent.cli.benchmark import benchmark
from livelatent.cli.demo import demo
from livelatent.cli.doctor import copy, doctor
from livelatent.cli.ingest import append, info, ingest
from livelatent.cli.judge import annotate, novel
from livelatent.cli.lab import lab
from livelatent.cli.labels import labels_app
from livelatent.cli.qc import qc
from livelatent.cli.report import report
from livelatent.cli.simulate import simulate
from livelatent.cli.train import embed, train
from livelatent.shell import OneMessage, stdout

app = typer.Typer(
    cls=OneMessage,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Learn cell representations from an atlas that does not fit in memory, watch them form, name what is new.",
)
app.add_typer(labels_app, name="labels", epilog="Example: livelatent labels log blood.zarr")
app.command(epilog="Example: livelatent ingest donor1.h5ad donor2.h5ad blood.zarr --label cell_type --batch donor")(
    ingest
)
app.command(epilog="Example: livelatent append blood.zarr donor3.h5ad")(append)
app.command(epilog="Example: livelatent info blood.zarr")(info)
app.command(epilog="Example: livelatent doctor blood.zarr --mend")(doctor)
app.command(epilog="Example: livelatent copy blood.zarr s3://bucket/blood.zarr")(copy)
app.command(epilog="Example: livelatent simulate out.zarr --cells 1000000 --types 30 --rare 7=0.001")(simulate)
app.command(epilog="Example: livelatent qc blood.zarr --figure qc.png --mads pct_mito=8")(qc)

app.command(epilog="Example: livelatent benchmark blood.h5ad --label cell_type --batch donor --figure scores.png")(
    benchmark
)
app.command(epilog="Example: livelatent train blood.zarr --out blood-model --epochs 50")(train)
app.command(epilog="Example: livelatent embed blood.zarr blood-model --name X_livelatent")(embed)
app.command(epilog="Example: livelatent annotate patient.zarr blood-model --out labels.csv")(annotate)
app.command(epilog="Example: livelatent novel patient.zarr blood-model --target-fpr 0.05")(novel)
app.command(epilog="Example: livelatent lab blood.zarr")(lab)
app.command(epilog="Example: livelatent report blood.runs/20261128-120000 --out report.html")(report)
app.command(epilog="Example: livelatent demo blood.h5ad --label cell_type --batch donor --hide 'B cells' --no-lab")(
    demo
)


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False) -> None:
    """Learn cell representations, watch them form, name what is new."""
    if version:
        stdout.print(__version__, highlight=False)
        raise typer.Exit
