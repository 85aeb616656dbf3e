"""From a cluster's cells to a flag: which types are near, which genes tell them apart, what else may explain it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.group_sums import gene_sums
from livelatent.judge.cell_cycle import CycleGenes
from livelatent.judge.expression import log_genes
from livelatent.judge.flag import Flag, rare_and_wide, reason
from livelatent.judge.known_cells import KnownCells
from livelatent.judge.markers import marker_genes, marker_table
from livelatent.judge.measures import cell_measures, unmeasured
from livelatent.judge.prototypes import Prototypes
from livelatent.judge.shared_genes import SharedGenes
from livelatent.judge.technical import Quality, quality_of

__all__ = ["CloseLook"]

# Means of markers and medians of measures need no more cells than this.
SAMPLE_CELLS = 5_000
N_NEAREST = 3


@dataclass(frozen=True)
class CloseLook:
    """What a cluster of the query is compared with, be its latent a model's of ours or somebody else's."""

    query: Atlas
    known: KnownCells
    prototypes: Prototypes
    """In the space of the latents given to `flag`."""
    mean_total: float
    n_batches: int
    """Among all cells scored."""
    depth_factor: float
    """By how much the query is deeper than the reference on the whole."""
    seed: int
    shared: SharedGenes
    """What markers and the cycle are told by."""
    cycle: CycleGenes | None = None
    projected: Callable[[Rows], Float[ndarray, "cell component"]] | None = None
    """Principal components of the query's rows, where those given to `flag` are no components of expression."""

    def flag(
        self,
        number: int,
        rows: Rows,
        latent: Float[ndarray, "cell latent"],
        pcs: Float[ndarray, "cell component"],
        p_value: float,
    ) -> Flag:
        """One cluster; `rows` ascend, `p_value` is its own."""
        centroid = latent.mean(axis=0)
        prototypes = self.prototypes
        radii = prototypes.in_radii(centroid[None])[0]
        order = np.argsort(radii)[:N_NEAREST]
        nearest = tuple((prototypes.names[index], float(radii[index])) for index in order)
        batches: dict[str, int] = {}
        if self.query.batch_names:
            code, count = np.unique(self.query.batch[rows], return_counts=True)
            by_size = np.argsort(-count, kind="stable")
            batches = {self.query.batch_names[code[index]]: int(count[index]) for index in by_size}
        sample = np.arange(len(rows))
        if len(rows) > SAMPLE_CELLS:
            sample = np.sort(np.random.default_rng(self.seed).choice(len(rows), SAMPLE_CELLS, replace=False))
        higher, lower = self._markers(rows[sample], nearest[0][0])
        quality = self._quality(rows[sample], pcs[sample], nearest[0][0])
        return Flag(
            id=number,
            rows=rows,
            atlas=self.query,
            p_value=float(p_value),
            batches=batches,
            nearest=nearest,
            higher=higher,
            lower=lower,
            reason=reason(
                nearest, batches, self.n_batches, quality, rare_and_wide(prototypes, int(order[0]), nearest[0][1])
            ),
            centroid=centroid,
            quality=quality,
            nearest_cells=int(prototypes.count[order[0]]),
        )

    def _markers(self, rows: Rows, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Genes that tell these cells from a known type; none where no expression is there to compare."""
        code, sums, shared = self.known.label_names.index(name), self.known.sums, self.shared
        if len(rows) < 2 or sums.n_cells[code] < 2 or not len(shared.names):
            return (), ()
        own = gene_sums(log_genes(self.query, rows, shared.in_query, self.mean_total), np.zeros(len(rows), np.int64), 1)
        return marker_genes(marker_table(own, 0, sums.genes(shared.in_reference), code, shared.names))

    def _quality(self, rows: Rows, pcs: Float[ndarray, "cell component"], name: str) -> Quality | None:
        """What is measured of these cells, beside the known type's."""
        usual, doublets, names = self.known.measures, self.known.doublets, self.known.label_names
        if usual is None:
            return None
        if doublets is None:
            measures, pair = unmeasured(len(rows)), None
        else:
            pcs = pcs if self.projected is None else self.projected(rows)
            measures = cell_measures(self.query, rows, pcs, doublets, self.mean_total)
            pair = doublets.likely_parents(pcs)
        return quality_of(
            measures,
            usual,
            names.index(name),
            name,
            depth_factor=self.depth_factor,
            parents=None if pair is None else (names[pair[0]], names[pair[1]]),
            cycle=self._cycle(rows),
        )

    def _cycle(self, rows: Rows) -> tuple[Float[ndarray, "phase cell"], Float[ndarray, "phase label"]] | None:
        """S and G2M scores of these cells and of every known type's mean; None without lists, or too few genes."""
        if self.cycle is None:
            return None
        sums = self.known.sums.genes(self.shared.in_reference)
        x = log_genes(self.query, rows, self.shared.in_query, self.mean_total)
        return self.cycle.scores(x), self.cycle.scores(sums.mean)
