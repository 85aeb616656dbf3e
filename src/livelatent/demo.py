"""The whole loop on one file: ingest, train, embed, judge, report; with one label hidden as the thing to discover."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livelatent.atomic import write_text
from livelatent.errors import ColumnError, LabelError, StoreExistsError
from livelatent.example import EXAMPLE_HIDDEN, EXAMPLE_LABEL, write_example

if TYPE_CHECKING:
    from livelatent.atlas.atlas import Atlas
    from livelatent.judge.flags import Novelty
    from livelatent.train.run import Run

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of it is done (0 to 1)."""

MOST_FOLD_CELLS = 5_000
"""Cells in the five folds together: five networks are trained on them, so more would keep a person waiting."""

MARKER = ".livelatent-demo"
MARKER_TEXT = "livelatent's demo made this folder, and may replace what it put here.\n"

MIN_HIDDEN_CELLS = 50
"""A type is hidden by default only where so many cells of it leave something to find."""


@dataclass(frozen=True, kw_only=True)
class FoundFlag:
    """A flag, and how much of it is the hidden type."""

    cells: int
    purity: float
    p_value: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo found and where its files are."""

    cells: int
    genes: int
    seconds: float
    accuracy: float
    """Mean over five stratified folds of `accuracy_cells` labelled cells, as are the next two."""
    accuracy_cells: int
    lr_raw_accuracy: float
    lr_pca_accuracy: float
    hidden_type: str
    hidden_cells: int
    flags: tuple[FoundFlag, ...]
    notes: tuple[str, ...]
    store: Path
    model: Path
    report: Path
    picture: Path

    def to_json(self) -> dict[str, Any]:
        """Give plain values, for `--json`."""
        return asdict(self) | {name: str(getattr(self, name)) for name in ("store", "model", "report", "picture")}


def run_demo(
    source: Path | None = None,
    *,
    label: str | None = None,
    batch: str | None = None,
    hide: str | None = None,
    counts: str = "X",
    folder: Path = Path("livelatent-demo"),
    epochs: int = 50,
    memory: str = "4GB",
    seed: int = 0,
    progress: Progress = lambda what, share: None,
) -> DemoResult:
    """Run the whole loop with one type hidden, and say how well it was found.

    Parameters
    ----------
    source
        An `.h5ad` of counts. None: the 700 blood cells that ship inside scanpy.
    label, batch
        obs columns. `batch` None: the batch term is off.
    hide
        The label to hide. None: the smallest type with at least 50 cells.
    counts
        Where the counts are: `"X"`, `"raw"` or a layer's name.
    folder
        Where the store, the model and the report go. Where it holds labels given by hand, a new one beside it is used.

    Raises
    ------
    ColumnError
        If `label` is needed and was not named.
    LabelError
        If `hide` is no label of this file.
    StoreExistsError
        If `folder` holds something, and no demo made it.
    """
    from livelatent.atlas.ingest import ingest
    from livelatent.judge.flags import find_novel
    from livelatent.judge.reference import fit_reference
    from livelatent.judge.scorecard import five_fold
    from livelatent.models.cellular import Cellular
    from livelatent.train.run import Run
    from livelatent.widget.report import write_report

    started = time.monotonic()
    asked, folder = folder, next_folder(folder)
    moved = [f"{asked} holds labels given by hand: it is left alone, and this goes to {folder}."] * (asked != folder)
    refuse_others_folder(folder)
    if source is None:
        progress("reading scanpy's blood cells", 0.0)
        write_text(folder / MARKER, MARKER_TEXT)
        source, label, hide = write_example(folder / "blood.h5ad"), EXAMPLE_LABEL, hide or EXAMPLE_HIDDEN
    elif label is None:
        raise ColumnError(f"{source}: which obs column holds the cell types? Say so with --label COLUMN.")
    hide = type_to_hide(source, label, hide)
    write_text(folder / MARKER, MARKER_TEXT)
    store = folder / f"{source.stem}.zarr"
    atlas = ingest(
        [source],
        store,
        label=label,
        batch=batch,
        unlabelled=[hide],
        counts=counts,
        memory=memory,
        seed=seed,
        overwrite=True,
        progress=lambda done, total, what: progress(what, done / max(total, 1)),
    )
    progress("choosing genes", 0.0)
    run = Run(Cellular(atlas), atlas, epochs=epochs)
    follow(run, progress)
    model_folder = folder / "model"
    progress("fitting prototypes and novelty", 0.0)
    fit_reference(run.model, atlas)
    novelty = find_novel(run.model, atlas, seed=seed)
    run.model.save(model_folder)
    progress("drawing the report", 0.0)
    report, picture = folder / "report.html", folder / "report.png"
    write_report(run, novelty, html=report, png=picture)
    scores = five_fold(
        atlas,
        epochs=epochs,
        max_cells=MOST_FOLD_CELLS,
        seed=seed,
        progress=lambda share: progress("5-fold accuracy", share),
    )
    return DemoResult(
        cells=atlas.n_cells,
        genes=atlas.n_genes,
        seconds=round(time.monotonic() - started, 1),
        accuracy=scores["annotator"],
        accuracy_cells=scores.n_cells,
        lr_raw_accuracy=scores["lr_raw"],
        lr_pca_accuracy=scores["lr_pca"],
        hidden_type=hide,
        hidden_cells=int((atlas.true_labels == hide).sum()),
        flags=judge_flags(atlas, novelty, hide),
        notes=(*moved, *run.model.notes),
        store=store,
        model=model_folder,
        report=report,
        picture=picture,
    )


def follow(run: Run, progress: Progress) -> None:
    """Start a run and tell its progress until it ends; Ctrl-C stops it."""
    run.start()
    while (status := run.wait(timeout=0.2)).state not in ("done", "stopped"):
        share = status.epoch / max(status.epochs, 1)
        progress(f"training, {status.stage}: epoch {status.epoch} of {status.epochs}", share)


def judge_flags(atlas: Atlas, novelty: Novelty, hidden: str) -> tuple[FoundFlag, ...]:
    """Hold each flag against the label that was hidden."""
    return tuple(
        FoundFlag(
            cells=flag.n_cells,
            purity=round(float((atlas.true_labels[flag.rows] == hidden).mean()), 4),
            p_value=float(flag.p_value),
            reason=flag.reason,
        )
        for flag in novelty
    )


def type_to_hide(source: Path, label: str, hide: str | None) -> str:
    """Check the wanted label, or choose the smallest type with enough cells to be found."""
    from livelatent.atlas.sources import open_sources

    obs = open_sources(source)[0].obs
    if label not in obs.columns:
        raise ColumnError(f"{source}: no obs column {label!r}; it has: {', '.join(map(str, obs.columns)) or 'none'}.")
    sizes = obs.column(label).dropna().astype(str).value_counts()
    if hide is not None:
        if hide not in sizes.index:
            raise LabelError(f"{source}: no cell of obs['{label}'] is {hide!r}; its labels: {', '.join(sizes.index)}.")
        return hide
    large = sizes[sizes >= MIN_HIDDEN_CELLS]
    largest = int(sizes.max()) if len(sizes) else 0
    if len(sizes) < 3 or large.empty:
        raise LabelError(
            f"{source}: hiding a type needs at least 3 types in obs['{label}'], one of them of at least "
            f"{MIN_HIDDEN_CELLS} cells; got {len(sizes)} types, the largest of {largest}. Choose one with --hide."
        )
    return str(large.index[-1])


def refuse_others_folder(folder: Path) -> None:
    """Check that what the demo will replace in `folder` is its own.

    Raises
    ------
    StoreExistsError
        If the folder holds something, and no demo made it.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise StoreExistsError(
            f"{folder} is not empty, and no demo made it: its files could be replaced. Name a new or an empty folder "
            "with --out."
        )


def next_folder(folder: Path) -> Path:
    """Give `folder`, or the next free one beside it where labels given by hand would be lost."""
    taken, number = folder, 1
    while any(taken.glob("*.labels/journal.jsonl")):
        number += 1
        taken = folder.with_name(f"{folder.name}-{number}")
    return taken
