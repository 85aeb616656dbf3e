"""`livelatent benchmark`: how well cells of unseen batches are named, beside logistic regression."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from livelatent.cli.ingest import Batch, Counts, Label, Memory
from livelatent.shell import Json, bar, place, say, stdout

if TYPE_CHECKING:
    from livelatent.atlas.atlas import Atlas


def benchmark(
    data: Annotated[Any, typer.Argument(parser=place, help="An .h5ad of counts, or a store of ours.", metavar="DATA")],
    label: Label = None,
    batch: Batch = None,
    unlabelled: Annotated[
        list[str] | None, typer.Option(help="A label that means none, such as unassigned; may be repeated.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Hold out the groups of this obs column (a study, say), not the batches.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(help="A model to give a row of its own: cellular, cellular_genes, beta_vae; may be repeated."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks are trained so many times.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Most epochs of each network; the model's own.")] = None,
    max_cells: Annotated[
        int, typer.Option(min=50, help="Of more labelled cells a stratified sample is used.")
    ] = 50_000,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Also scVI and scANVI, if installed (the extra scvi).")
    ] = True,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    counts: Counts = "X",
    memory: Memory = "4GB",
    out: Annotated[Path | None, typer.Option(help="A .json of all figures.")] = None,
    table: Annotated[Path | None, typer.Option(help="A .md of the table.")] = None,
    figure: Annotated[Path | None, typer.Option(help="A .png, .svg or .pdf.")] = None,
    as_json: Json = False,
) -> None:
    """Compare logistic regression, livelatent and its peers at naming cells of batches held out, one by one.

    Without a batch column cells are held out in five folds stratified by type. Only types that training has are
    scored.
    """
    from livelatent import atomic
    from livelatent.judge.comparison.compare import compare
    from livelatent.judge.comparison.methods import MODELS, methods_of
    from livelatent.judge.comparison.show import figure as draw
    from livelatent.judge.comparison.show import markdown

    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise typer.BadParameter(f"a figure is a .png, .svg or .pdf; got {str(figure)!r}", param_hint="--figure")
    for option, file in (("--out", out), ("--table", table), ("--figure", figure)):
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise typer.BadParameter(
                f"a file in a folder that is there was wanted; got {str(file)!r}", param_hint=option
            )
    names = tuple(models or ("cellular",))
    if not set(names) <= set(MODELS):
        raise typer.BadParameter(f"models are {', '.join(MODELS)}; got {', '.join(names)}", param_hint="--models")
    with bar() as progress, tempfile.TemporaryDirectory(prefix="livelatent-benchmark-") as folder:
        atlas = opened(data, Path(folder), label, batch, unlabelled or [], by, counts, memory, progress)
        found = compare(
            atlas,
            by=by,
            methods=methods_of(names, peers=peers),
            seeds=seeds,
            epochs=epochs,
            max_cells=max_cells,
            device=device,
            progress=progress,
        )
    facts = {"data": str(data), "seeds": seeds, **found.to_json()}
    text = markdown(found)
    if out is not None:
        atomic.write_json(out, facts)
    if table is not None:
        atomic.write_bytes(table, text.encode())
    if figure is not None:
        picture = io.BytesIO()
        draw(found).savefig(picture, format=figure.suffix.removeprefix("."), dpi=120)
        atomic.write_bytes(figure, picture.getvalue())
    say(facts, as_json, lambda: stdout.print(text, highlight=False, soft_wrap=True, markup=False))


def opened(
    data: Any,
    folder: Path,
    label: str | None,
    batch: str | None,
    unlabelled: list[str],
    by: str | None,
    counts: str,
    memory: str,
    progress: Any,
) -> Atlas:
    """A store as it is; anything else ingested into a folder that goes when the work is done.

    Raises
    ------
    ColumnError
        If no label column was named, or there is none to hold out by.
    """
    from livelatent.atlas.atlas import Atlas
    from livelatent.atlas.ingest import ingest
    from livelatent.errors import ColumnError

    if label is None and isinstance(data, Path) and data.is_dir() and (data / "zarr.json").is_file():
        return Atlas.open(data)
    if label is None:
        raise ColumnError(f"{data}: which obs column holds the cell types? Say so with --label COLUMN.")
    if by is not None:
        check_groups(data, by, counts)
    return ingest(
        [data],
        folder / "cells.zarr",
        label=label,
        batch=batch,
        unlabelled=unlabelled,
        counts=counts,
        memory=memory,
        progress=lambda done, total, what: progress(what, done / max(total, 1)),
    )


def check_groups(data: Any, by: str, counts: str) -> None:
    """Raise ColumnError where no source has a column of that name: not after all counts were ingested."""
    from livelatent.atlas.columns import no_column
    from livelatent.atlas.layout import RESERVED
    from livelatent.atlas.sources.opening import open_sources

    columns = [column for source in open_sources(data, counts=counts) for column in source.obs.columns]
    if by not in (*columns, *RESERVED):
        raise no_column(data, "obs", by, dict.fromkeys(columns))
