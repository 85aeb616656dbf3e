"""S and G2M scores of cells, from gene lists that the user names: none is shipped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import SourceError

__all__ = ["CycleGenes", "cycle_genes", "read_cycle_lists"]

PHASES = ("S", "G2M")
CONTROLS_PER_GENE = 10
# Fewer genes of a list than this are no score.
MIN_GENES = 5


@dataclass(frozen=True)
class CycleGenes:
    """For each phase, its genes and controls of like expression, as indices into one list of genes."""

    genes: tuple[Int[ndarray, " _"], ...]
    controls: tuple[Int[ndarray, " _"], ...]

    def scores(self, x: sp.csr_matrix | Float[ndarray, "cell gene"]) -> Float[ndarray, "phase cell"]:
        """Mean of a phase's genes less mean of its controls; `x` holds cells, or types' means, of log expression."""
        return np.stack(
            [
                np.asarray(x[:, own].mean(axis=1)).ravel() - np.asarray(x[:, control].mean(axis=1)).ravel()
                for own, control in zip(self.genes, self.controls, strict=True)
            ]
        )


def phase_shares(scores: Float[ndarray, "phase cell"]) -> dict[str, float]:
    """Share of cells in each phase: the higher score's if it is above 0, else G1."""
    best = np.where(scores.max(axis=0) > 0, scores.argmax(axis=0), len(PHASES))
    return {name: float((best == code).mean()) for code, name in enumerate((*PHASES, "G1"))}


def cycle_genes(
    lists: Mapping[str, Sequence[str]], genes: Sequence[str], mean: Float[ndarray, " gene"]
) -> CycleGenes | None:
    """Where the lists' genes stand among `genes`, and for each the ten others nearest to it in mean expression.

    Returns
    -------
    None where fewer than five genes of a list were measured, or no other gene.

    Notes
    -----
    The score of Tirosh et al. (2016), as in scanpy's `score_genes`, whose controls are drawn from ranks of mean
    expression; nearest ones need no draw. It is linear in expression, so a type's mean score is that of its mean.
    """
    place = {name.upper(): index for index, name in enumerate(genes)}
    listed = [np.array(sorted({place[g.upper()] for g in lists[p] if g.upper() in place}), np.int64) for p in PHASES]
    free = np.setdiff1d(np.arange(len(mean)), np.concatenate(listed))
    if min(map(len, listed)) < MIN_GENES or not len(free):
        return None
    controls = []
    for own in listed:
        nearest = [np.argsort(np.abs(mean[free] - mean[gene]), kind="stable")[:CONTROLS_PER_GENE] for gene in own]
        controls.append(free[np.unique(np.concatenate(nearest))])
    return CycleGenes(tuple(listed), tuple(controls))


def read_cycle_lists(source: Path | str | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The lists named S (or G1/S) and G2M (or G2/M), of a GMT file or a mapping.

    Raises
    ------
    SourceError
        If the file can't be read, or either list is not in it.
    """
    if isinstance(source, Mapping):
        sets: Mapping[str, Sequence[str]] = source
    else:
        try:
            lines = Path(source).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{source}: cell-cycle genes are read from a GMT file; {error}.") from error
        fields = [line.rstrip("\t").split("\t") for line in lines if line.strip()]
        sets = {field[0]: field[2:] for field in fields}
    found: dict[str, tuple[str, ...]] = {}
    for name, listed in sets.items():
        phase = {"S": "S", "G1S": "S", "G2M": "G2M"}.get(name.upper().replace("/", "").removesuffix("_GENES"))
        if phase is not None:
            found[phase] = tuple(gene for gene in listed if gene)
    missing = [phase for phase in PHASES if phase not in found]
    if missing:
        raise SourceError(
            f"{source if not isinstance(source, Mapping) else 'cell_cycle'}: gene sets named S (or G1/S) and G2M (or "
            f"G2/M) are wanted; it has {', '.join(list(sets)[:5]) or 'none'}. A GMT line is: name, description, genes, "
            "with tabs between."
        )
    return found
