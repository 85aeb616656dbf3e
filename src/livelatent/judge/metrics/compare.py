"""Several latents of one atlas, scored over the same cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Int, Rows, ndarray, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.judge.metrics.integration import MAX_CELLS, IntegrationScores, score_latent, scored_cells
from livelatent.judge.metrics.overall import Overall, overall
from livelatent.judge.metrics.unintegrated import unintegrated
from livelatent.progress import CellProgress

__all__ = ["Comparison", "compare_latents"]


@dataclass(frozen=True)
class Comparison:
    """The metrics of each latent, and how the latents compare."""

    scores: dict[str, IntegrationScores]
    overall: Overall | None
    """None where there is one latent."""

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
    cycle: str | Path | tuple[Sequence[str], Sequence[str]] | None = None,
    max_cells: int = MAX_CELLS,
    seed: int = 0,
    client: Any = None,
    progress: CellProgress | None = None,
) -> Comparison:
    """Score latents of an atlas by its labels and batches; expression is read once, of the cells that are scored.

    Parameters
    ----------
    latents
        By name, in ascending order of `rows`, as `embed` gives them.
    rows
        Cells that the latents are of; None: every cell.
    genes, cycle
        As `unintegrated` takes them.

    Raises
    ------
    LabelError
        If fewer than two labels have a cell among the rows.
    """
    rows = rows_or_all(rows, atlas.n_cells)
    label, batch = np.asarray(atlas.label[rows], np.int64), np.asarray(atlas.batch[rows], np.int64)
    for name, latent in latents.items():
        if len(latent) != len(rows):
            raise ValueError(f"{name}: a latent of {len(rows):,} cells was wanted; got {len(latent):,}.")
    chosen = scored_cells(label, max_cells, seed=seed)
    before = unintegrated(atlas, rows[chosen], genes=genes, cycle=cycle, client=client, progress=progress)
    names = np.array(atlas.label_names, dtype=object)[label[chosen]]
    scores = {
        name: replace(
            score_latent(latent[chosen], names, batch[chosen], before=before, max_cells=max_cells, seed=seed),
            n_unlabelled=int((label < 0).sum()),
            n_sampled_out=int((label >= 0).sum()) - len(chosen),
        )
        for name, latent in latents.items()
    }
    return Comparison(scores, overall(scores) if len(scores) > 1 else None)
