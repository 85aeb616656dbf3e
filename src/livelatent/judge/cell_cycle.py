"""How far cells are into S and G2M phase: a phase's genes above control genes of like expression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.stats import rankdata

from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.genes import names_hint
from livelatent.errors import GeneMismatchError
from livelatent.judge.cycle_lists import PHASES

__all__ = ["CycleGenes", "cycle_genes", "measured_genes", "phase_shares"]

N_BINS = 25


@dataclass(frozen=True)
class CycleGenes:
    """For each phase, its genes and controls of like expression, as indices into one list of genes."""

    genes: tuple[Int[ndarray, " _"], ...]
    controls: tuple[Int[ndarray, " _"], ...]

    def scores(self, x: sp.csr_matrix | Float[ndarray, "cell gene"]) -> Float[ndarray, "phase cell"]:
        """Mean of a phase's genes less mean of its controls; `x` holds cells, or types' means, of log expression."""
        return np.stack([np.asarray(x @ weight, np.float64).ravel() for weight in self.weights(x.shape[1])])

    def weights(self, n_genes: int) -> Float[ndarray, "phase gene"]:
        """What each gene counts in a phase's score, which is linear in expression."""
        weight = np.zeros((len(self.genes), n_genes))
        for row, own, control in zip(weight, self.genes, self.controls, strict=True):
            row[own] = 1 / own.size
            row[control] -= 1 / control.size
        return weight


def phase_shares(scores: Float[ndarray, "phase cell"]) -> dict[str, float]:
    """Share of cells in each phase: the higher score's if it is above 0, else G1."""
    best = np.where(scores.max(axis=0) > 0, scores.argmax(axis=0), len(PHASES))
    return {name: float((best == code).mean()) for code, name in enumerate((*PHASES, "G1"))}


def measured_genes(lists: Mapping[str, Sequence[str]], genes: Sequence[str]) -> tuple[Int[ndarray, " _"], ...]:
    """Where each phase's genes stand among `genes`; a name that is not there as written is looked for in any case.

    So a human list serves a mouse atlas (PCNA, Pcna), as far as orthologues bear one name.
    """
    place: dict[str, int] = {}
    folded: dict[str, int] = {}
    for index, gene in enumerate(genes):
        place.setdefault(str(gene), index)
        folded.setdefault(str(gene).upper(), index)
    found = []
    for phase in PHASES:
        at = (place.get(gene, folded.get(gene.upper(), -1)) for gene in lists[phase])
        found.append(np.unique([index for index in at if index >= 0]).astype(np.int64))
    return tuple(found)


def cycle_genes(
    lists: Mapping[str, Sequence[str]], genes: Sequence[str], mean: Float[ndarray, " gene"], *, seed: int = 0
) -> CycleGenes:
    """The lists' genes among `genes`, and controls drawn from genes of like mean expression.

    Parameters
    ----------
    lists
        Genes of S and G2M, as `cycle_lists` gives them.
    mean
        Of log expression over the cells that are scored, or in proportion to it.

    Raises
    ------
    GeneMismatchError
        If none of a phase's genes is there, or no other gene to compare them with.

    Notes
    -----
    The score of Tirosh et al. (2016) as `scanpy.tl.score_genes_cell_cycle` has it, its draws too: as many controls as
    the shorter list has names, from each of the 25 bins of mean expression in which one of the phase's genes lies.
    Where these bins hold no other gene, which scanpy refuses, the nearest by bin are taken.
    """
    found = measured_genes(lists, genes)
    bins = _expression_bins(mean)
    n_controls = min(len(lists[phase]) for phase in PHASES)
    controls = []
    for phase, own in zip(PHASES, found, strict=True):
        if not own.size:
            hint = names_hint(list(lists[phase]), {str(gene) for gene in genes})
            raise GeneMismatchError(
                f"none of the {len(lists[phase])} {phase} genes (first: {', '.join(lists[phase][:3])}) is among the "
                f"{len(genes):,} measured ({', '.join(map(str, genes[:3]))}, ...). {hint}".rstrip()
            )
        # numpy's older generator, because scanpy draws from it: the same seed gives the same controls.
        control = _controls(bins, own, n_controls, np.random.RandomState(seed))
        if not control.size:
            raise GeneMismatchError(f"of {len(genes)} genes none is left to compare the {phase} genes with.")
        controls.append(control)
    return CycleGenes(found, tuple(controls))


def _expression_bins(mean: Float[ndarray, " gene"]) -> Int[ndarray, " gene"]:
    """The bin of each gene, by the rank of its mean."""
    width = max(int(np.round(len(mean) / (N_BINS - 1))), 1)
    return np.asarray(rankdata(mean, method="min") // width, np.int64)


def _controls(
    bins: Int[ndarray, " gene"], own: Int[ndarray, " own"], n_controls: int, random: np.random.RandomState
) -> Int[ndarray, " control"]:
    """Genes drawn from the bins of the own genes, the own ones then taken out."""
    drawn = []
    for code in np.unique(bins[own]):
        pool = np.flatnonzero(bins == code)
        drawn.append(pool[random.choice(pool.size, n_controls, replace=False)] if n_controls < pool.size else pool)
    control = np.setdiff1d(np.concatenate(drawn), own)
    if control.size:
        return control
    # Of few genes a bin may hold the phase's own only, where scanpy gives up: the nearest by bin then.
    others = np.setdiff1d(np.arange(len(bins)), own)
    return others[np.argsort(np.abs(bins[others] - bins[own].mean()), kind="stable")[:n_controls]]
