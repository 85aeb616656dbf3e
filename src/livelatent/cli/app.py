"""The commands put together, and those that train and judge; each parses, calls and prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livelatent import __version__
from livelatent.atomic import write_csv
from livelatent.cli.benchmark import benchmark
from livelatent.cli.doctor import copy, doctor
from livelatent.cli.ingest import Batch, Counts, Label, Memory, append, info, ingest
from livelatent.cli.labels import labels_app
from livelatent.cli.qc import qc
from livelatent.cli.simulate import simulate
from livelatent.judge.novelty.methods import METHODS, checked_method
from livelatent.shell import Json, OneMessage, Store, bar, print_rows, say, stderr, stdout

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

Model = Annotated[Path, typer.Argument(help="A model's folder made by `livelatent train`.", metavar="MODEL")]
Epochs = Annotated[int, typer.Option(min=1, help="Most epochs of each stage: the representation, then the classifier.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
TargetFpr = Annotated[float, typer.Option(min=0.0001, max=0.25, help="Share of known cells that may be flagged.")]


def method_of(text: str) -> str:
    """A method's name, or what there is."""
    try:
        return checked_method(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Method = Annotated[str, typer.Option(parser=method_of, help=f"One of {', '.join(METHODS)}.", metavar="METHOD")]


@app.command(epilog="Example: livelatent train blood.zarr --out blood-model --epochs 50")
def train(
    store: Store,
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    epochs: Epochs = 50,
    genes: Annotated[int, typer.Option(min=2, help="Highly variable genes to learn from.")] = 2000,
    device: Device = "auto",
    memory: Annotated[str | None, typer.Option(help='What reading may hold, such as "1GB".')] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Mix the annotator by calibration cells: trains no further encoder.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train CELLULAR's Model 1 on a store, and fit what annotation and novelty need."""
    from livelatent.atlas.atlas import Atlas
    from livelatent.demo import follow
    from livelatent.judge.annotator import fit_annotator
    from livelatent.judge.reference import fit_reference
    from livelatent.models.cellular import Cellular
    from livelatent.models.weights import check_place
    from livelatent.train.run import Run

    atlas = Atlas.open(store)
    check_place(out)
    with bar() as progress:
        progress("choosing genes", 0.0)
        model = Cellular(atlas, n_genes=genes)
        for note in model.notes:
            stderr.print(escape(note))
        run = Run(model, atlas, epochs=epochs, device=device, memory=memory)
        try:
            follow(run, progress)
        except KeyboardInterrupt:
            stderr.print(
                f"{escape(str(out))} is not written. In Python, livelatent.Run.resume({escape(repr(str(run.folder)))}) "
                "goes on from there.",
                highlight=False,
                soft_wrap=True,
            )
            raise
        progress("fitting prototypes and novelty", 0.0)
        fit_reference(run.model, atlas)
        annotator = fit_annotator(run.model, atlas, retrain=not quick, device=device, progress=progress)
        run.model.save(out)
    status = run.status
    for alarm in status.alarms:
        stderr.print(escape(alarm))
    facts = {
        "model": str(out),
        "run": str(run.folder),
        "epochs": status.epoch,
        "steps": status.step,
        "state": status.state,
        "annotator": repr(annotator),
    }
    say(facts, as_json, lambda: print_rows(list(facts.items())))


@app.command(epilog="Example: livelatent embed blood.zarr blood-model --name X_livelatent")
def embed(
    store: Store,
    model: Model,
    name: Annotated[str, typer.Option(help="obsm name to write.")] = "X_livelatent",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write every cell's latent vector into the store's obsm."""
    from livelatent.atlas.atlas import Atlas
    from livelatent.models.weights import load_model
    from livelatent.train.embed import embed_into

    with bar() as progress:
        n_cells, n_dims = embed_into(
            load_model(model),
            Atlas.open(store),
            name,
            device=device,
            progress=lambda done, total, what: progress(what, done / max(total, 1)),
        )
    facts = {"store": str(store), "obsm": name, "cells": n_cells, "dimensions": n_dims}
    say(facts, as_json, lambda: print_rows(list((facts | {"cells": f"{n_cells:,}"}).items())))


@app.command(epilog="Example: livelatent annotate patient.zarr blood-model --out labels.csv")
def annotate(
    store: Store,
    model: Model,
    out: Annotated[
        Path | None, typer.Option(help="A .csv for every cell's label, probability, runner-up and novelty.")
    ] = None,
    target_fpr: TargetFpr = 0.05,
    tree: Annotated[
        Path | None, typer.Option(help="A .json of each label's parent: names are then rolled up as well.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0.01, max=1, help="Probability that a rolled-up name needs.")] = 0.5,
    as_json: Json = False,
) -> None:
    """Label every cell of a store by a trained model; cells that fit nothing known are unassigned."""
    import warnings

    from livelatent.atlas.atlas import Atlas
    from livelatent.judge.classifier import UNASSIGNED, NewStudyWarning
    from livelatent.judge.classifier import annotate as annotate_cells
    from livelatent.judge.label_tree import read_tree
    from livelatent.models.weights import load_model

    parents = None if tree is None else read_tree(tree)
    with warnings.catch_warnings():
        # It is among the notes.
        warnings.simplefilter("ignore", NewStudyWarning)
        table = annotate_cells(
            load_model(model), Atlas.open(store), target_fpr=target_fpr, tree=parents, threshold=threshold
        )
    if out is not None:
        write_csv(out, ["cell", *table.columns], ([cell, *row] for cell, *row in table.itertuples(name=None)))
    counts = {str(name): int(n) for name, n in table["label"].value_counts().items() if n}
    notes = table.attrs["notes"]
    facts = {
        "store": str(store),
        "cells": len(table),
        "labels": counts,
        "unassigned": int((table["assigned"] == UNASSIGNED).sum()),
        "notes": list(notes),
        "out": str(out) if out else None,
    }

    def shown() -> None:
        print_rows([(name, f"{n:,}") for name, n in counts.items()] + [("of them unassigned", facts["unassigned"])])
        for note in notes:
            stdout.print(escape(note), highlight=False, soft_wrap=True)

    say(facts, as_json, shown)


@app.command(epilog="Example: livelatent novel patient.zarr blood-model --target-fpr 0.05")
def novel(
    store: Store,
    model: Model,
    target_fpr: TargetFpr = 0.05,
    method: Method = "combined",
    out: Annotated[Path | None, typer.Option(help="A .csv for every flagged cell and its flag.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Flag clusters of cells that fit nothing the model has seen.

    Distances are in a type's own radii: one radius holds 95 % of its training cells.
    """
    from livelatent.atlas.atlas import Atlas
    from livelatent.judge.flags import find_novel
    from livelatent.models.weights import load_model

    atlas = Atlas.open(store)
    novelty = find_novel(load_model(model), atlas, target_fpr=target_fpr, seed=seed, method=checked_method(method))
    if out is not None:
        names = atlas.obs.index
        write_csv(out, ["cell", "flag"], ([names[row], flag.id] for flag in novelty for row in flag.rows))
    flags = [
        {
            "flag": flag.id,
            "cells": flag.n_cells,
            "p_value": float(flag.p_value),
            "nearest": [[name, float(radii)] for name, radii in flag.nearest],
            "higher": list(flag.higher),
            "lower": list(flag.lower),
            "reason": flag.reason,
            "probably_technical": flag.is_probably_technical,
        }
        for flag in novelty
    ]
    facts = {
        "store": str(store),
        "cells_scored": len(novelty.rows),
        "cells_flagged": int(novelty.n_flagged),
        "target_fpr": novelty.target_fpr,
        "method": novelty.method,
        "calibration": novelty.calibration,
        "warnings": list(novelty.warnings),
        "flags": flags,
        "out": str(out) if out else None,
    }

    def table() -> None:
        stdout.print(
            f"{facts['cells_flagged']:,} of {facts['cells_scored']:,} cells fit nothing known "
            f"at {novelty.rule}; {len(flags)} {'cluster' if len(flags) == 1 else 'clusters'}. "
            f"Calibrated on {escape(novelty.calibration)}.",
            highlight=False,
            soft_wrap=True,
        )
        for flag in novelty:
            stdout.print(
                f"[bold]{flag.id}[/]  {flag.n_cells:,} cells  p {flag.p_value:.2g}  {escape(flag.reason)}",
                highlight=False,
                soft_wrap=True,
            )
        for text in novelty.warnings:
            stdout.print(f"[yellow]warning:[/] {escape(text)}", highlight=False, soft_wrap=True)

    say(facts, as_json, table)


@app.command(epilog="Example: livelatent lab examples/quickstart.ipynb")
def lab(notebook: Annotated[Path | None, typer.Argument(help="A notebook to open.")] = None) -> None:
    """Open JupyterLab."""
    import importlib.util

    if importlib.util.find_spec("jupyterlab") is None:
        stderr.print('[bold red]error:[/] JupyterLab is not installed: pip install "livelatent\\[lab]"')
        raise typer.Exit(1)
    command = [sys.executable, "-m", "jupyter", "lab"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # In a container one is root, and Jupyter would refuse after all the work is done.
        command.append("--allow-root")
    raise typer.Exit(subprocess.run([*command, *([str(notebook)] if notebook else [])], check=False).returncode)


@app.command(epilog="Example: livelatent demo blood.h5ad --label cell_type --batch donor --hide 'B cells' --no-lab")
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
    open_lab: Annotated[bool, typer.Option("--lab/--no-lab", help="Open JupyterLab at the end.")] = True,
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
    if open_lab and not as_json:
        lab(quickstart_notebook(source, label=label, batch=batch, hide=result.hidden_type, counts=counts, folder=out))


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False) -> None:
    """Learn cell representations, watch them form, name what is new."""
    if version:
        stdout.print(__version__, highlight=False)
        raise typer.Exit
