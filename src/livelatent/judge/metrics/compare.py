"""Several latents of one atlas, scored over the same cells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Int, Rows, ndarray, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.errors import UndefinedMetricError
from livelatent.judge.cycle_lists import CycleSource
from livelatent.judge.metrics.integration import (
    MAX_CELLS,
    IntegrationScores,
    latent_points,
    score_latent,
    scored_cells,
)
from livelatent.judge.metrics.overall import Overall, overall
from livelatent.judge.metrics.unintegrated import unintegrated
from livelatent.models.given import check_atlas
from livelatent.progress import CellProgress

__all__ = ["ComparedLatents", "compare_latents"]


@dataclass(frozen=True)
class ComparedLatents:
    """The metrics of each latent, and how the latents compare."""

    scores: dict[str, IntegrationScores]
    overall: Overall | None
    """None where there is one latent, or no metric tells them apart."""

    @property
    def table(self) -> pd.DataFrame:
        """A row per latent, a column per metric, as measured; NaN where it has no value."""
        return pd.DataFrame({name: scores.values for name, scores in self.scores.items()}).T


def compare_latents(
    atlas: Atlas,
    latents: Mapping[str, Float[ndarray, "cell latent"]],
    rows: Rows | None = None,
    *,
    genes: Int[ndarray, " gene"] | None = None,
    cell_cycle: CycleSource | None = None,
    max_cells: int = MAX_CELLS,
    seed: int = 0,
    client: Any = None,
    progress: CellProgress | None = None,
) -> ComparedLatents:
    """Score latents of an atlas by its labels and batches; expression is read once, of the cells that are scored.

    Parameters
    ----------
    latents
        By name, in ascending order of `rows`, as `embed` gives them.
    rows
        Cells that the latents are of; None: every cell.
    genes, cell_cycle
        As `unintegrated` takes them.

    Raises
    ------
    LabelError
        If fewer than two labels have a cell among the rows.
    ValueError, UndefinedMetricError
        If a latent is refused by `score_latent`, or is not of the rows; it is named.
    """
    check_atlas(atlas, "compare_latents")
    if not isinstance(latents, Mapping) or not latents:
        raise ValueError(f"latents are wanted by name, such as {{'mine': embed(...)}}; got {str(latents)[:60]!r}.")
    rows = rows_or_all(rows, atlas.n_cells)
    label, batch = np.asarray(atlas.label[rows], np.int64), np.asarray(atlas.batch[rows], np.int64)
    points = {name: named(name, latent_points, latent) for name, latent in latents.items()}
    for name, latent in points.items():
        if len(latent) != len(rows):
            raise ValueError(f"{name}: a latent of {len(rows):,} cells was wanted; got {len(latent):,}.")
    chosen = scored_cells(label, max_cells, seed=seed)
    before = unintegrated(atlas, rows[chosen], genes=genes, cell_cycle=cell_cycle, client=client, progress=progress)
    names = np.array(atlas.label_names, dtype=object)[label[chosen]]

    def scored(latent: Float[ndarray, "cell latent"]) -> IntegrationScores:
        found = score_latent(latent[chosen], names, batch[chosen], before=before, max_cells=max_cells, seed=seed)
        unlabelled, sampled_out = int((label < 0).sum()), int((label >= 0).sum()) - len(chosen)
        return replace(found, n_unlabelled=unlabelled, n_sampled_out=sampled_out)

    scores = {name: named(name, scored, latent) for name, latent in points.items()}
    try:
        together = overall(scores) if len(scores) > 1 else None
    except UndefinedMetricError:
        together = None  # their own scores are worth having all the same
    return ComparedLatents(scores, together)


def named[Given, Made](name: str, make: Callable[[Given], Made], given: Given) -> Made:
    """What `make` gives; what it refuses is refused by the latent's name."""
    try:
        return make(given)
    except ValueError as error:
        raise type(error)(f"{name}: {error}") from error
