"""Choosing the gene sets that say most about the genes a model reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Bool, Float, ndarray
from livelatent.errors import GeneMismatchError

__all__ = ["ChosenSets", "select_gene_sets"]

N_SETS = 500
MORE_GENES_THAN = 10
FEWER_GENES_THAN = 300


@dataclass(frozen=True)
class ChosenSets:
    """Gene sets as masks over a model's genes, the highest Q first."""

    names: tuple[str, ...]
    masks: Bool[ndarray, "set gene"]
    share: Float[ndarray, " set"]
    """Q of equation 2.6."""


def select_gene_sets(
    sets: Mapping[str, Sequence[str]],
    genes: Sequence[str],
    *,
    n_sets: int = N_SETS,
    more_than: int = MORE_GENES_THAN,
    fewer_than: int = FEWER_GENES_THAN,
) -> ChosenSets:
    r"""Choose the `n_sets` sets of which the highest share is among `genes`; fewer where fewer qualify.

    Parameters
    ----------
    genes
        The highly variable genes that the model reads.
    more_than, fewer_than
        A set qualifies with more than so many of `genes`, and fewer than so many genes in all.

    Raises
    ------
    ValueError
        If there is no set, or one is no list of names.
    GeneMismatchError
        If no set qualifies.

    Notes
    -----
    Equation 2.6 of Andrekson (2024): :math:`Q_i` is the number of highly variable genes in set i over the number of all
    its genes. The sum over "genes" below the line could also mean the genes that were measured; here it is the set
    as the file has it, so that Q does not depend on what else a study kept. Ties go to the set with more of `genes`,
    then to the first name.
    """
    spoilt = next((name for name, members in sets.items() if isinstance(members, str)), None)
    if not sets or spoilt is not None:
        what = f"the set {spoilt!r} is one text" if spoilt is not None else "there is no set"
        raise ValueError(f'gene sets are names with lists of genes ({{"T cell": ["CD3D", "CD3E", ...]}}); {what}.')
    place = {gene: number for number, gene in enumerate(genes)}
    found = []
    for name, members in sets.items():
        distinct = set(members)
        own = sorted(place[gene] for gene in distinct if gene in place)
        if len(own) > more_than and len(distinct) < fewer_than:
            found.append((-len(own) / len(distinct), -len(own), name, own))
    if not found:
        shared = len({gene for members in sets.values() for gene in members} & set(place))
        raise GeneMismatchError(
            f"none of the {len(sets)} gene sets has more than {more_than} of the model's {len(place)} genes and fewer "
            f"than {fewer_than} genes in all; {shared} of the model's genes occur in any. The model's begin with "
            f"{', '.join(genes[:3])}, the first set with {', '.join(next(iter(sets.values()), ())[:3])}: use sets "
            "of the same species and naming, or a model of more genes."
        )
    found = sorted(found)[:n_sets]
    masks = np.zeros((len(found), len(genes)), bool)
    for row, (_, _, _, own) in zip(masks, found, strict=True):
        row[own] = True
    return ChosenSets(tuple(one[2] for one in found), masks, np.array([-one[0] for one in found]))
