"""`livelatent simulate`: an atlas whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from livelatent.errors import LivelatentError
from livelatent.shell import Json, bar, print_rows, say


def simulate(
    target: Annotated[Path, typer.Argument(help="The store to make, or NAME.h5ad.", metavar="TARGET")],
    cells: Annotated[int, typer.Option(min=1)] = 10_000,
    genes: Annotated[int, typer.Option(min=20)] = 2_000,
    types: Annotated[int, typer.Option(min=1, help="Cell types, leaves of a tree of lineages.")] = 8,
    batches: Annotated[int, typer.Option(min=1, help="Batches, each with effects of its own on the genes.")] = 3,
    rare: Annotated[
        list[str] | None, typer.Option(help="A type's number and its share, such as 7=0.001; may be repeated.")
    ] = None,
    hidden: Annotated[
        list[int] | None, typer.Option(help="Number of a type that nobody has labelled; may be repeated.")
    ] = None,
    unlabelled: Annotated[float, typer.Option(help="Share of the other cells without a label.")] = 0.0,
    empty: Annotated[float, typer.Option(help="Share of cells without counts.")] = 0.0,
    genes_per_cell: Annotated[
        float | None, typer.Option(help="Mean number of genes seen in a cell [default: a tenth of them].")
    ] = None,
    peaks: Annotated[int, typer.Option(min=0, help="Peaks of a paired ATAC assay: TARGET with .atac in its name.")] = 0,
    order: Annotated[
        Literal["random", "donors"], typer.Option(help="Of an .h5ad: as drawn, or batch after batch.")
    ] = "random",
    gzip: Annotated[bool, typer.Option(help="Compress an .h5ad.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal cells.")] = 0,
    memory: Annotated[str, typer.Option(help="Memory that may be used, such as 1GB.")] = "1GB",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing store (never one with labels by hand).")] = False,
    as_json: Json = False,
) -> None:
    """Make an atlas of any size whose types, markers and batch effects are known."""
    from livelatent.simulated import simulate as make

    options: dict[str, Any] = {
        "n_types": types,
        "n_batches": batches,
        "rare": shares(rare or []),
        "hidden": tuple(hidden or ()),
        "unlabelled": unlabelled,
        "empty": empty,
        "genes_per_cell": genes_per_cell,
        "n_peaks": peaks,
        "order": order,
        "compression": "gzip" if gzip else None,
        "seed": seed,
        "memory": memory,
        "overwrite": overwrite,
    }
    made: dict[Literal["rna", "atac"], Path] = {"rna": target}
    if peaks:
        made["atac"] = target.with_name(f"{target.stem}.atac{target.suffix}")
    try:
        with bar() as progress:
            for assay, path in made.items():
                shown = partial(show, progress, assay)
                make(path, cells, genes, assay=assay, progress=shown, **options)
    except ValueError as error:
        if isinstance(error, LivelatentError):
            raise
        raise typer.BadParameter(str(error)) from None
    facts: dict[str, Any] = {
        "cells": cells,
        "genes": genes,
        "peaks": peaks,
        **{name: str(path) for name, path in made.items()},
    }
    facts["truth"] = str(target.with_suffix(".truth.json"))
    say(facts, as_json, lambda: print_rows([(name, value) for name, value in facts.items() if value]))


def show(progress: Callable[[str, float], None], assay: str, done: int, total: int, what: str) -> None:
    """Move the bar."""
    progress(f"{what} {assay}", done / total)


def shares(words: list[str]) -> dict[int, float]:
    """`["7=0.001"]` as numbers."""
    found = {}
    for word in words:
        kind, _, share = word.partition("=")
        try:
            found[int(kind)] = float(share)
        except ValueError:
            raise typer.BadParameter(
                f"--rare takes a type's number and its share, such as 7=0.001; got {word}."
            ) from None
    return found
