"""`livelatent annotate` and `novel`: what a model says of cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livelatent.atomic import write_csv
from livelatent.cli.options import CellCycle, Model, Seed
from livelatent.judge.novelty.methods import METHODS, checked_method
from livelatent.shell import Json, Store, print_rows, say, stdout

TargetFpr = Annotated[float, typer.Option(min=0.0001, max=0.25, help="Share of known cells that may be flagged.")]


def method_of(text: str) -> str:
    """A method's name, or what there is."""
    try:
        return checked_method(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Method = Annotated[str, typer.Option(parser=method_of, help=f"One of {', '.join(METHODS)}.", metavar="METHOD")]


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


def novel(
    store: Store,
    model: Model,
    target_fpr: TargetFpr = 0.05,
    method: Method = "combined",
    out: Annotated[Path | None, typer.Option(help="A .csv for every flagged cell and its flag.")] = None,
    cell_cycle: CellCycle = None,
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
    novelty = find_novel(
        load_model(model),
        atlas,
        target_fpr=target_fpr,
        seed=seed,
        method=checked_method(method),
        cell_cycle=cell_cycle,
    )
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
