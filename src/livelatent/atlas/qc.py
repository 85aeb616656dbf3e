"""Quality control: which cells and genes to leave out, as masks; nothing is ever deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64
from numpy import ndarray

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.layout import KEPT, QC_COLUMNS
from livelatent.atlas.qc_cells import CellSummaries, seen_in, summarise
from livelatent.atlas.write import Element, replace_elements
from livelatent.progress import CellProgress, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MITOCHONDRIAL = ("MT-", "mt-", "Mt-", "MT.", "mt:")
"""Human, mouse and zebrafish, rat; as R renames them; fly."""
MIN_CELLS = 20
N_MADS = 5.0


@dataclass(frozen=True)
class Criterion:
    """One number per cell, and the values between which a cell is kept."""

    name: str
    """`n_genes`, `total`, `pct_mito` or `pct_top20`."""
    title: str
    value: Float64[ndarray, " cell"] = field(repr=False)
    """What the cut is made in: a logarithm (log1p) of the first two, percentages; NaN where a cell has none."""
    median: float
    mad: float
    n_mads: float
    note: str = ""
    """Why it was skipped; "" where it was not."""

    @property
    def low(self) -> float:
        """Cells below are removed; -inf where it was skipped."""
        return -np.inf if self.note else self.median - self.n_mads * self.mad

    @property
    def high(self) -> float:
        """Cells above are removed; inf where it was skipped."""
        return np.inf if self.note else self.median + self.n_mads * self.mad

    @property
    def too_low(self) -> Bool[ndarray, " cell"]:
        """Cells below the cut."""
        return np.asarray(self.value < self.low)

    @property
    def too_high(self) -> Bool[ndarray, " cell"]:
        """Cells above the cut."""
        return np.asarray(self.value > self.high)

    @property
    def removed(self) -> Bool[ndarray, " cell"]:
        """Cells outside the cut."""
        return np.asarray(self.too_low | self.too_high)


@dataclass(frozen=True, eq=False)
class QualityControl:
    """What quality control found in an atlas; `apply()` writes it there."""

    atlas: Atlas
    criteria: tuple[Criterion, ...]
    cells: CellSummaries = field(repr=False)
    kept: Bool[ndarray, " cell"] = field(repr=False)
    """Cells inside every cut."""
    kept_genes: Bool[ndarray, " gene"] = field(repr=False)
    """Genes seen in enough of these cells."""
    min_cells: int
    notes: tuple[str, ...]
    """What was skipped, and why."""

    @property
    def table(self) -> pd.DataFrame:
        """A row per criterion: its median, MAD and cuts, how many cells it removes, how many no other one does."""
        removed = np.array([one.removed for one in self.criteria])
        alone = removed & (removed.sum(axis=0) == 1)
        return pd.DataFrame(
            {
                "criterion": [one.title for one in self.criteria],
                "median": [one.median for one in self.criteria],
                "mad": [one.mad for one in self.criteria],
                "n_mads": [one.n_mads for one in self.criteria],
                "low": [one.low for one in self.criteria],
                "high": [one.high for one in self.criteria],
                "removed": removed.sum(axis=1),
                "removed_alone": alone.sum(axis=1),
                "note": [one.note for one in self.criteria],
            },
            index=pd.Index([one.name for one in self.criteria], dtype=object),
        )

    def figure(self) -> "Figure":
        """One histogram per criterion, with the cut drawn in and the cells removed on each side."""
        from livelatent.atlas.qc_figure import qc_figure

        return qc_figure(self)

    def apply(self) -> None:
        """Write both masks and the four numbers per cell into the store, all at once; an earlier run's are replaced.

        From then on `atlas.rows()`, and so training, novelty and all that is learnt, leave out what is not kept.
        """
        cells = self.cells
        values = (cells.n_genes, cells.total, cells.pct_mito, cells.pct_top20, self.kept)
        columns = dict(zip((*QC_COLUMNS, KEPT), values, strict=True))
        marks = {"livelatent": "qc"}
        elements = [Element("obs", name, value, marks) for name, value in columns.items()]
        elements.append(Element("var", KEPT, self.kept_genes, marks))
        replace_elements(self.atlas.folder, self.atlas.uuid, elements)
        self.atlas.columns_written(columns)
        self.atlas.kept_genes = self.kept_genes

    def __repr__(self) -> str:
        return "\n".join([_in_words(self), *self.notes, self.table.drop(columns=["note"]).round(3).to_string()])

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{escape(line)}</p>" for line in (_in_words(self), *self.notes))
        return lines + self.table.round(3).to_html(escape=True)


def qc(
    atlas: Atlas,
    *,
    n_mads: float | Mapping[str, float] = N_MADS,
    min_cells: int = MIN_CELLS,
    mitochondrial: Sequence[str] = MITOCHONDRIAL,
    apply: bool = False,
    client: Any = None,
    progress: CellProgress | bool | None = None,
) -> QualityControl:
    """Look at every cell, and mark those that are far from the others.

    Parameters
    ----------
    n_mads
        A cell is removed when a number of it lies more than so many median absolute deviations from the median, on
        either side. One for all four criteria, or some by name: `{"pct_mito": 8}` leaves the others at 5.
    min_cells
        Genes seen in fewer of the cells kept are masked.
    mitochondrial
        What the names of mitochondrial genes begin with.
    apply
        Write the masks into the store at once; else look first, then call `.apply()`.
    client
        A `distributed.Client` to run on.
    progress
        Called as `progress(cells done, all cells, what)`. None: a bar in a terminal or notebook; True: always; False:
        never.

    Notes
    -----
    Section 2.2.1 of Andrekson (2024; docs/equations.md), equations 2.1 and 2.2: log1p(number of genes), log1p(total
    counts), percentage of counts in mitochondrial genes and in the cell's own 20 highest genes. The MAD is the median
    distance from the median, without the factor that makes a standard deviation of it. Where it is 0, the criterion is
    skipped and `notes` says so. All are of the genes that the store holds. An empty cell has no percentages, and is
    judged by the other two.
    """
    limits = _limits(n_mads)
    is_mito = np.array([str(gene).startswith(tuple(mitochondrial)) for gene in atlas.genes], dtype=bool)
    with shown(progress) as report:
        cells = summarise(atlas, is_mito, client=client, progress=report)
    no_mito = ""
    if not is_mito.any():
        begins = " or ".join(map(repr, mitochondrial)) or "nothing"
        no_mito = f"no gene's name begins with {begins}; name the beginning of yours with mitochondrial="
    values = {
        "n_genes": ("log1p(number of genes)", np.log1p(cells.n_genes), ""),
        "total": ("log1p(total counts)", np.log1p(cells.total), ""),
        "pct_mito": ("% mitochondrial counts", cells.pct_mito, no_mito),
        "pct_top20": ("% counts in the top 20 genes", cells.pct_top20, ""),
    }
    criteria = tuple(criterion(name, title, value, limits[name], note) for name, (title, value, note) in values.items())
    kept = ~np.any([one.removed for one in criteria], axis=0)
    # Few cells are removed: reading these again is cheaper than a second pass over all that stay.
    gone = seen_in(atlas, np.flatnonzero(~kept), client=client)
    found = QualityControl(
        atlas=atlas,
        criteria=criteria,
        cells=cells,
        kept=kept,
        kept_genes=cells.n_seen - gone >= min_cells,
        min_cells=min_cells,
        notes=(*(f"{one.title}: skipped, {one.note}." for one in criteria if one.note), *uneven_sources(atlas)),
    )
    if apply:
        found.apply()
    return found


def criterion(name: str, title: str, value: Float64[ndarray, " cell"], n_mads: float, note: str = "") -> Criterion:
    """Where the cut lies."""
    known = value[~np.isnan(value)]
    median = float(np.median(known)) if known.size else 0.0
    mad = float(np.median(np.abs(known - median))) if known.size else 0.0
    if not note and mad == 0:
        note = "more than half of the cells have one and the same value (the MAD is 0)"
    return Criterion(name, title, value, median, mad, n_mads, note)


def _limits(n_mads: float | Mapping[str, float]) -> dict[str, float]:
    names = ("n_genes", "total", "pct_mito", "pct_top20")
    given = dict(n_mads) if isinstance(n_mads, Mapping) else dict.fromkeys(names, n_mads)
    if unknown := sorted(set(given) - set(names)):
        raise ValueError(f"n_mads names the criteria {', '.join(names)}; got {unknown[0]!r}.")
    if bad := [value for value in given.values() if not value > 0]:
        raise ValueError(f"n_mads must be above 0; got {bad[0]}.")
    return {name: float(given.get(name, N_MADS)) for name in names}


def _in_words(found: QualityControl) -> str:
    n_cells, n_genes = int((~found.kept).sum()), int((~found.kept_genes).sum())
    return (
        f"{found.atlas.path.name}: {n_cells:,} of {found.atlas.n_cells:,} cells and {n_genes:,} of "
        f"{found.atlas.n_genes:,} genes (seen in fewer than {found.min_cells} of the cells kept) are left out."
    )


def uneven_sources(atlas: Atlas) -> tuple[str, ...]:
    """A warning where the sources measured different genes: one cut then holds for cells that can't be compared."""
    lacking = [(entry["source"], int(entry.get("missing", 0))) for entry in atlas.report.to_dict("records")]
    if not any(n for _, n in lacking):
        return ()
    uneven = ", ".join(f"{name} lacks {n:,}" for name, n in lacking if n)
    return (
        f"Of the store's {atlas.n_genes:,} genes {uneven}: numbers of genes and counts differ by file, and one cut for "
        'all masks whole files rather than bad cells. Ingest with join="inner", or each file into a store of its own.',
    )
