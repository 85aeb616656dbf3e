r"""The ground truth of a simulated atlas: its types, their tree and markers, its batches and their effects.

The count of gene g in cell c of type k and batch b is negative binomial with mean
:math:`\mu = d_c \, m_{kg} \, e_{bg}` and variance :math:`\mu + \mu^2 / r_g`: `depth` (log-normal around the batch's
own), `mean`, `effect`, `dispersion` below.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy import ndarray
from scipy.optimize import brentq

from livelatent.atlas.layout import text_index
from livelatent.simulated.recipe import ATAC, RNA, TRUTH, Recipe, random_of

MITOCHONDRIAL = tuple(
    f"MT-{name}" for name in "ND1 ND2 CO1 CO2 ATP8 ATP6 CO3 ND3 ND4L ND4 ND5 ND6 CYB".split()
)  # human symbols, as quality control looks for them
MITOCHONDRIAL_SHARE = 0.06
MARKERS = 50
"""Of a type or lineage, where there are genes enough."""
SILENT = 0.02
"""Share of genes that are 0 everywhere."""
DEPTH_SPREAD = 0.4
"""Standard deviation of a cell's log depth within its batch."""
EFFECT_SPREAD, EFFECT_LIMIT = 0.25, 2.0
"""Of a batch on the log of each gene's mean, and how many of its standard deviations it may have at most."""
ATAC_MEAN_TOTAL = 0.08
"""Fragments per cell and peak."""
CHROMOSOMES = (*(f"chr{number}" for number in range(1, 23)), "chrX")


@dataclass(frozen=True, kw_only=True)
class Assay:
    """What one kind of measurement sees of the types: genes, or peaks."""

    var: pd.DataFrame
    mean: ndarray
    """[type, feature]: mean count at depth 1 without batch effects."""
    effect: ndarray
    """[batch, feature]: factor on the mean."""
    dispersion: ndarray
    """[feature]"""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Who the cells are before anything is drawn."""

    recipe: Recipe
    types: tuple[str, ...]
    lineages: tuple[str, ...]
    lineage_of: tuple[int, ...]
    share: tuple[float, ...]
    """Of each type among the cells."""
    markers: dict[str, tuple[int, ...]]
    """Genes raised in a type, or in all types of a lineage."""
    batches: tuple[str, ...]
    batch_depth: tuple[float, ...]
    """Factor on the depth of a batch's cells; 1 in the mean."""
    rna: Assay
    atac: Assay | None

    def to_json(self) -> str:
        """Everything but the means, for people and tests in other languages."""
        genes = [str(name) for name in self.rna.var.index]
        recipe = asdict(self.recipe)
        facts = {
            "recipe": recipe | {"rare": {str(kind): share for kind, share in recipe["rare"].items()}},
            "types": dict(zip(self.types, self.share, strict=True)),
            "tree": {
                lineage: [name for name, of in zip(self.types, self.lineage_of, strict=True) if of == number]
                for number, lineage in enumerate(self.lineages)
            },
            "hidden": [self.types[kind] for kind in self.recipe.hidden],
            "markers": {name: [genes[gene] for gene in found] for name, found in self.markers.items()},
            "batch_depth": dict(zip(self.batches, self.batch_depth, strict=True)),
            "genes": genes,
            "dispersion": rounded(self.rna.dispersion),
            "batch_effects": {
                name: rounded(effect) for name, effect in zip(self.batches, self.rna.effect, strict=True)
            },
        }
        return json.dumps(facts, allow_nan=False)


def rounded(values: ndarray) -> list[float]:
    """Numbers short enough for a text file."""
    return [round(float(value), 4) for value in values]


def truth_of(recipe: Recipe) -> Truth:
    """Draw an atlas's ground truth; it depends on everything in the recipe but the number of cells."""
    rng = random_of(recipe.seed, TRUTH)
    n_types = recipe.n_types
    n_lineages = recipe.n_lineages or max(1, round(n_types**0.5))
    lineage_of = np.concatenate([np.arange(n_lineages), rng.integers(0, n_lineages, n_types - n_lineages)])
    share = rng.dirichlet(np.full(n_types, 3.0)) + 0.2 / n_types
    for kind in recipe.rare:
        share[kind] = 0
    share *= (1 - sum(recipe.rare.values())) / share.sum()
    for kind, wanted in recipe.rare.items():
        share[kind] = wanted
    types = tuple(f"type {kind}" for kind in range(n_types))
    lineages = tuple(f"lineage {number}" for number in range(n_lineages))
    batch_depth = rng.uniform(0.7, 1.4, recipe.n_batches)
    batch_depth /= batch_depth.mean()
    nodes = [(name, np.flatnonzero(lineage_of == number)) for number, name in enumerate(lineages)]
    nodes += [(name, np.array([kind])) for kind, name in enumerate(types)]
    rna, markers = genes_of(recipe, nodes, share)
    atac = peaks_of(recipe, rna, share) if recipe.n_peaks else None
    return Truth(
        recipe=recipe,
        types=types,
        lineages=lineages,
        lineage_of=tuple(int(number) for number in lineage_of),
        share=tuple(float(s) for s in share),
        markers=markers,
        batches=tuple(f"batch {number}" for number in range(recipe.n_batches)),
        batch_depth=tuple(float(depth) for depth in batch_depth),
        rna=scaled(recipe, rna, share, batch_depth),
        atac=atac,
    )


def genes_of(
    recipe: Recipe, nodes: list[tuple[str, ndarray]], share: ndarray
) -> tuple[Assay, dict[str, tuple[int, ...]]]:
    """Genes whose means sum to 1 in every type, and each node's markers: disjoint, scattered over all genes."""
    rng = random_of(recipe.seed, RNA)
    n_genes = recipe.n_genes
    order = rng.permutation(n_genes)
    n_mito = min(len(MITOCHONDRIAL), n_genes // 20)
    mito, order = order[:n_mito], order[n_mito:]
    n_silent = max(1, round(SILENT * n_genes))
    silent, order = order[:n_silent], order[n_silent:]
    n_markers = min(MARKERS, order.size // (2 * len(nodes)))
    if n_markers == 0:
        raise ValueError(
            f"{len(nodes)} types and lineages need markers of their own; {n_genes} genes are too few. Ask for "
            f"{5 * len(nodes) // 2 + 3} genes, or for fewer types."
        )
    base = rng.lognormal(0, 1.6, n_genes)
    # Markers are genes that can be seen: of the better half.
    visible = order[np.argsort(-base[order])][: order.size // 2]
    marked = rng.permutation(visible)[: n_markers * len(nodes)].reshape(len(nodes), n_markers)
    mean = np.tile(base, (recipe.n_types, 1))
    for (_, kinds), genes in zip(nodes, marked, strict=True):
        mean[np.ix_(kinds, genes)] *= np.exp(rng.uniform(np.log(3), np.log(20), n_markers))
    mean[:, silent] = 0
    mean[:, mito] = 0
    mean *= (1 - MITOCHONDRIAL_SHARE) / mean.sum(axis=1, keepdims=True)
    mean[:, mito] = MITOCHONDRIAL_SHARE * rng.dirichlet(np.full(n_mito, 5.0))
    names = np.array([f"GENE{gene}" for gene in range(n_genes)], dtype=object)
    names[mito] = MITOCHONDRIAL[:n_mito]
    chromosome = np.array(CHROMOSOMES, dtype=object)[np.arange(n_genes) * len(CHROMOSOMES) // n_genes]
    chromosome[mito] = "chrM"
    assay = Assay(
        var=pd.DataFrame(
            {"chromosome": pd.Categorical(chromosome), "start": 10_000 + 60_000 * np.arange(n_genes)},
            index=text_index(names),
        ),
        mean=mean,
        effect=batch_effect(rng, recipe.n_batches, n_genes),
        dispersion=np.clip(rng.lognormal(0.7, 0.5, n_genes), 0.5, 10),
    )
    markers = {
        name: tuple(int(gene) for gene in np.sort(genes)) for (name, _), genes in zip(nodes, marked, strict=True)
    }
    return assay, markers


def peaks_of(recipe: Recipe, rna: Assay, share: ndarray) -> Assay:
    """Two of three peaks lie near a gene and open with it, by the square root of its change; the rest are constant."""
    rng = random_of(recipe.seed, ATAC)
    nuclear = np.flatnonzero(np.asarray(rna.var["chromosome"] != "chrM"))
    gene = np.sort(rng.choice(nuclear, recipe.n_peaks))
    is_near = rng.random(recipe.n_peaks) < 2 / 3
    # Peaks of 500 bases, 600 apart; far ones lie half-way to the next gene.
    place = np.arange(recipe.n_peaks) - np.searchsorted(gene, gene)
    distance = np.where(is_near, 100, 30_000) + 600 * place
    average = share @ rna.mean
    change = np.sqrt(rna.mean[:, gene] / np.where(average > 0, average, 1)[gene])
    mean = rng.lognormal(0, 1.0, recipe.n_peaks) * np.where(is_near & (average[gene] > 0), change, 1.0)
    mean *= ATAC_MEAN_TOTAL * recipe.n_peaks / mean.sum(axis=1, keepdims=True)
    first = np.asarray(rna.var["start"])[gene] + distance
    chromosome = np.asarray(rna.var["chromosome"].astype(object))[gene]
    names = [f"{where}:{start}-{start + 500}" for where, start in zip(chromosome, first, strict=True)]
    near = np.where(is_near, np.asarray(rna.var.index, dtype=object)[gene], "")
    return Assay(
        var=pd.DataFrame({"chromosome": pd.Categorical(chromosome), "start": first, "near": near}, index=names),
        mean=mean,
        effect=batch_effect(rng, recipe.n_batches, recipe.n_peaks),
        dispersion=np.full(recipe.n_peaks, 20.0),
    )


def batch_effect(rng: np.random.Generator, n_batches: int, n_features: int) -> ndarray:
    """A factor on each mean per batch; none where there is one batch."""
    if n_batches == 1:
        return np.ones((1, n_features))
    noise = np.clip(rng.normal(0, 1, (n_batches, n_features)), -EFFECT_LIMIT, EFFECT_LIMIT)
    return np.exp(EFFECT_SPREAD * noise)


def scaled(recipe: Recipe, assay: Assay, share: ndarray, batch_depth: ndarray) -> Assay:
    """The assay with the counts, or the number of genes seen, that the recipe asks for."""
    if recipe.mean_total is not None:
        scale = recipe.mean_total
    else:
        rng = random_of(recipe.seed, TRUTH, 1)
        kind = rng.choice(recipe.n_types, 100, p=share)
        batch = rng.integers(0, recipe.n_batches, kind.size)
        depth = batch_depth[batch] * rng.lognormal(-(DEPTH_SPREAD**2) / 2, DEPTH_SPREAD, kind.size)
        at_one = assay.mean[kind] * assay.effect[batch] * depth[:, None] / assay.dispersion
        wanted = recipe.genes_per_cell if recipe.genes_per_cell is not None else recipe.n_genes / 10

        def excess(log_scale: float) -> float:
            unseen = np.exp(-assay.dispersion * np.log1p(at_one * np.exp(log_scale)))
            return float(np.log((recipe.n_genes - unseen.sum() / kind.size) / wanted))

        scale = float(np.exp(brentq(excess, -5.0, 30.0, xtol=1e-3)))
    return Assay(var=assay.var, mean=assay.mean * scale, effect=assay.effect, dispersion=assay.dispersion)
