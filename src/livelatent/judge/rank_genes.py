"""Genes that tell each group of cells from all others, over an atlas of any size."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.columns import codes_of, text_or_none
from livelatent.atlas.group_sums import group_sums
from livelatent.atlas.passes import logs_of, rows_or_kept
from livelatent.atlas.rank_sums import RankSums, rank_sums
from livelatent.errors import ColumnError, LabelError
from livelatent.judge.markers import gene_table, log2_fold, marker_table
from livelatent.progress import CellProgress, shown

__all__ = ["rank_genes"]


def rank_genes(
    atlas: Atlas,
    groups: str | Sequence[Any] | ndarray | None = None,
    method: Literal["t-test", "wilcoxon"] = "t-test",
    *,
    rows: Rows | None = None,
    tie_correct: bool = False,
    memory: str | int = "4GB",
    mean_total: float | None = None,
    client: Any = None,
    progress: CellProgress | bool | None = None,
) -> pd.DataFrame:
    """Test every gene of each group's cells against all other groups' together.

    Parameters
    ----------
    groups
        None: the atlas's labels. Else the name of an obs column, or one name or code per cell of the atlas. Cells
        without a group (None, missing, a negative code) have no part in it.
    method
        `"t-test"` (Welch's; one pass) or `"wilcoxon"` (rank sums; a pass, and one for each block of genes that fits
        in `memory`).
    rows
        Cells to compare; None means all that QC keeps.
    tie_correct
        Correct Wilcoxon's variance for ties, which without it makes p-values of rarely seen genes too large.
    memory
        Limit of the blocks held by `"wilcoxon"`.
    mean_total
        The L to normalise by; the atlas's own by default.
    client
        A `distributed.Client` to run on.
    progress
        Called as `progress(cells done, all cells, what)`. None: a bar in a terminal or notebook; True: always; False:
        never.

    Returns
    -------
    A row for each group and gene, by group and decreasing score: group, names, scores, logfoldchanges (of expm1 of
    mean logs, base 2), pvals, pvals_adj (Benjamini and Hochberg).

    Raises
    ------
    ColumnError
        If the obs column is absent.
    LabelError
        If there are fewer than two groups, or one has a single cell.
    MemoryLimitError
        If one gene's ranks don't fit in `memory`.

    Notes
    -----
    The numbers of `scanpy.tl.rank_genes_groups` on the same cells, normalised to log1p(count * mean_total / total)
    in float64. Values that tie in float32 need not tie here.
    """
    if method not in ("t-test", "wilcoxon"):
        raise ValueError(f'method is "t-test" or "wilcoxon"; got {method!r}.')
    scale = atlas.mean_total if mean_total is None else float(mean_total)
    chosen = rows_or_kept(rows, atlas)
    names, code = _groups(atlas, groups)
    chosen = chosen[code[chosen] >= 0]
    present, own = np.unique(code[chosen], return_inverse=True)
    names = tuple(names[one] for one in present)
    _check_sizes(atlas, names, np.bincount(own, minlength=len(names)))

    with shown(progress) as report:
        sums, n_seen = group_sums(atlas, own, len(names), chosen, logs_of(atlas, scale), client=client, progress=report)
        ranks = None
        if method == "wilcoxon":
            ranks = rank_sums(
                atlas,
                own,
                len(names),
                chosen,
                n_seen,
                mean_total=scale,
                memory=memory,
                client=client,
                progress=report,
            )
    tables = []
    for one in range(len(names)):
        rest = sums.rest(one)
        if ranks is None:
            tables.append(marker_table(sums, one, rest, 0, atlas.genes))
        else:
            score, p = wilcoxon(ranks, one, tie_correct=tie_correct)
            tables.append(gene_table(atlas.genes, score, p, log2_fold(sums.mean[one], rest.mean[0])))
    group = pd.Categorical.from_codes(
        np.repeat(np.arange(len(names)), atlas.n_genes), categories=pd.Index(names, dtype=object)
    )
    return pd.DataFrame({"group": group}).join(pd.concat(tables, ignore_index=True))


def wilcoxon(
    ranks: RankSums, code: int, *, tie_correct: bool
) -> tuple[Float[ndarray, " gene"], Float[ndarray, " gene"]]:
    """The rank sum's z-score of one group against all others, and its two-sided p-value by the normal law."""
    from scipy.stats import norm

    n, n_all = float(ranks.n_cells[code]), float(ranks.n_cells.sum())
    variance = np.full(ranks.ties.size, n * (n_all - n) * (n_all + 1) / 12)
    if tie_correct:
        variance *= 1 - ranks.ties / (n_all**3 - n_all)
    distance = ranks.total[code] - n * (n_all + 1) / 2
    # A gene of one value throughout, the all-zero one: no difference to test.
    score = np.divide(distance, np.sqrt(variance), out=np.zeros_like(distance), where=variance > 0)
    return score, np.asarray(2 * norm.sf(np.abs(score)))


def _groups(
    atlas: Atlas, groups: str | Sequence[Any] | ndarray | None
) -> tuple[tuple[str, ...], Int[ndarray, " cell"]]:
    """Names of the groups, and each cell's code; -1 for none."""
    if groups is None:
        return atlas.label_names, np.asarray(atlas.label)
    if isinstance(groups, str):
        if groups not in atlas.obs.columns:
            raise ColumnError(
                f'{atlas.path}: obs has no column "{groups}". It has {", ".join(map(str, atlas.obs.columns))}.'
            )
        given = atlas.obs[groups]
    else:
        given = pd.Series(groups)
        if len(given) != atlas.n_cells:
            raise ValueError(
                f"groups holds one value for each of the atlas's {atlas.n_cells} cells; got {len(given)}. "
                "Name fewer cells with rows=."
            )
        if pd.api.types.is_integer_dtype(given.dtype):
            codes = given.to_numpy(np.int64)
            kinds = np.unique(codes[codes >= 0])
            return tuple(str(kind) for kind in kinds), np.where(codes >= 0, np.searchsorted(kinds, codes), -1)
    values = text_or_none(given)
    if isinstance(given.dtype, pd.CategoricalDtype):
        names = tuple(str(kind) for kind in given.cat.categories)
    else:
        names = tuple(sorted({str(name) for name in values if name is not None}))
    return names, codes_of(values, names)


def _check_sizes(atlas: Atlas, names: Sequence[str], n_cells: Int[ndarray, " group"]) -> None:
    if len(names) < 2:
        raise LabelError(
            f"{atlas.path}: marker genes compare at least two groups of cells; got {len(names)}"
            f"{f' ({names[0]})' if names else ''}. Name the label column when you ingest, or pass groups=."
        )
    lone = [name for name, n in zip(names, n_cells, strict=True) if n < 2]
    if lone:
        raise LabelError(
            f"{atlas.path}: a test compares groups of at least 2 cells, and {', '.join(map(repr, lone[:3]))} "
            f"{'has' if len(lone) == 1 else 'have'} one. Leave such cells out with rows=."
        )
