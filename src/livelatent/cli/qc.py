"""`livelatent qc`: which cells and genes to leave out."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from livelatent.shell import Json, Store, bar, print_rows, say, stdout

if TYPE_CHECKING:
    from livelatent.atlas.qc import QualityControl


def qc(
    store: Store,
    mads: Annotated[
        list[str] | None,
        typer.Option(help="Most MADs from the median: 5, or of one criterion, pct_mito=8; may be repeated."),
    ] = None,
    min_cells: Annotated[int, typer.Option(min=0, help="Genes seen in fewer of the cells kept are masked.")] = 20,
    mitochondrial: Annotated[
        list[str] | None,
        typer.Option(help="What mitochondrial genes' names begin with, such as MT-; may be repeated."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="A .png, .svg or .pdf of the distributions with the cuts drawn in.")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the masks into the store: training and novelty then heed them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at every cell, and say which are far from the others. Nothing is deleted; --apply writes a mask."""
    from livelatent.atlas.atlas import Atlas
    from livelatent.atlas.qc import MITOCHONDRIAL
    from livelatent.atlas.qc import qc as look

    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise typer.BadParameter(f"a figure is a .png, .svg or .pdf; got {str(figure)!r}", param_hint="--figure")
    limits = parsed_mads(mads or [])
    with bar() as progress:
        found = look(
            Atlas.open(store),
            n_mads=limits,
            min_cells=min_cells,
            mitochondrial=tuple(mitochondrial or MITOCHONDRIAL),
            progress=lambda done, total, what: progress(what, done / max(total, 1)),
        )
        if figure is not None:
            save_figure(found, figure)
        if apply:
            progress("writing the masks", 0.0)
            found.apply()
    facts = {
        "store": str(store),
        "cells": int(found.kept.size),
        "cells_removed": int((~found.kept).sum()),
        "genes": int(found.kept_genes.size),
        "genes_removed": int((~found.kept_genes).sum()),
        "min_cells": min_cells,
        "criteria": [
            {
                "criterion": str(name),
                **{key: value if math.isfinite(value) else None for key, value in numbers.items()},
                "note": one.note,
            }
            for one, (name, numbers) in zip(
                found.criteria,
                found.table.drop(columns=["criterion", "note"]).astype(float).to_dict("index").items(),
                strict=True,
            )
        ],
        "notes": list(found.notes),
        "figure": str(figure) if figure else None,
        "applied": apply,
    }
    say(facts, as_json, lambda: print_found(found, apply))


def parsed_mads(texts: list[str]) -> dict[str, float]:
    """Limits from `5` and `pct_mito=8`; the library checks the names."""
    limits: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise typer.BadParameter(f"such as 5 or pct_mito=8; got {text!r}", param_hint="--mads") from None
        if not value > 0:
            raise typer.BadParameter(f"a number above 0; got {text!r}", param_hint="--mads")
        names = (name,) if name else ("n_genes", "total", "pct_mito", "pct_top20")
        if not set(names) <= {"n_genes", "total", "pct_mito", "pct_top20"}:
            raise typer.BadParameter(
                f"the criteria are n_genes, total, pct_mito and pct_top20; got {name!r}", param_hint="--mads"
            )
        limits |= dict.fromkeys(names, value)
    return limits


def save_figure(found: QualityControl, path: Path) -> None:
    """Write the figure, whole or not at all."""
    from livelatent.atomic import write_bytes

    picture = io.BytesIO()
    found.figure().savefig(picture, format=path.suffix.removeprefix("."), dpi=120)
    write_bytes(path, picture.getvalue())


def print_found(found: QualityControl, applied: bool) -> None:
    """Say it to people."""
    rows: list[tuple[str, object]] = [("", "cells removed, and the range kept")]
    for one in found.criteria:
        kept = "not cut" if one.note else f"{int(one.removed.sum()):,}   {one.low:.2f} to {one.high:.2f}"
        rows.append((one.title, kept))
    print_rows(rows)
    for note in found.notes:
        stdout.print(escape(note), highlight=False, soft_wrap=True)
    removed, genes = int((~found.kept).sum()), int((~found.kept_genes).sum())
    stdout.print(
        f"{removed:,} of {found.kept.size:,} cells and {genes:,} of {found.kept_genes.size:,} genes "
        f"{'are masked' if applied else 'would be masked; look at them (--figure), then --apply'}.",
        highlight=False,
        soft_wrap=True,
    )
