"""Whether a cluster may be an artefact: its cells' quality beside that of the known types."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from livelatent.arrays import Float, ndarray
from livelatent.judge.cell_cycle import phase_shares
from livelatent.judge.cycle_lists import PHASES
from livelatent.judge.measures import MEASURES, KnownMeasures

__all__ = ["Quality", "quality_of"]

DEPTH, MITOCHONDRIAL, DOUBLET = range(3)
# Two cells in one droplet have about twice the counts of one; deeper than this they may be two.
DOUBLET_DEPTH = 1.3
# A share of mitochondrial counts below this is no stress, however much smaller that of the type is.
STRESSED_SHARE = 0.05
# Of cells in S or G2M: a cluster with so many more than its nearest type's mean score explains is cycling.
CYCLING_SHARE = 0.5


@dataclass(frozen=True)
class Quality:
    """A flag's cells beside the nearest known type's."""

    table: pd.DataFrame
    """A row per measure; columns `flag` (median), `type_5`, `type_median`, `type_95` (of the nearest known type), and
    `known_types` (median over all known cells). NaN where it was not measured."""
    phases: dict[str, float]
    """Share of the flag's cells in S, G2M and G1; empty without gene lists."""
    technical: tuple[str, ...]
    """What speaks for an artefact, in words; empty where nothing does."""
    remarks: tuple[str, ...]
    """What else explains the cluster, in words: a phase of the cell cycle."""


def quality_of(
    measures: Float[ndarray, "cell measure"],
    known: KnownMeasures,
    code: int,
    name: str,
    *,
    depth_factor: float = 1.0,
    parents: tuple[str, str] | None = None,
    cycle: tuple[Float[ndarray, "phase cell"], Float[ndarray, "phase label"]] | None = None,
) -> Quality:
    """Compare a cluster with the type that it is nearest to.

    Parameters
    ----------
    code, name
        Of that type.
    depth_factor
        By how much the query is deeper than the reference on the whole, which is no property of a cluster.
    parents
        The two types that doublets near these cells are made of.
    cycle
        S and G2M scores of the cells, and of every known type's mean.

    Notes
    -----
    A cluster's median is compared with the type's 5 % and 95 %: half of the cells lie beyond what one in twenty of the
    type does. Doublets must be deeper as well, since any type that lies between two others scores as doublets do.
    """
    usual, overall = known.by_type[code].copy(), known.overall.copy()
    usual[DEPTH] *= depth_factor
    overall[DEPTH] *= depth_factor
    median = np.median(measures, axis=0)
    technical, remarks = [], []
    if median[DEPTH] < usual[DEPTH, 0]:
        technical.append(f"shallow cells ({median[DEPTH]:,.0f} counts; {name} {usual[DEPTH, 1]:,.0f})")
    # Comparisons with NaN are false: what was not measured explains nothing.
    if median[MITOCHONDRIAL] > max(usual[MITOCHONDRIAL, 2], overall[MITOCHONDRIAL, 2], STRESSED_SHARE):
        technical.append(
            f"stressed or dying cells ({median[MITOCHONDRIAL]:.0%} mitochondrial; {name} {usual[MITOCHONDRIAL, 1]:.0%})"
        )
    if (
        median[DOUBLET] > max(usual[DOUBLET, 2], overall[DOUBLET, 2])
        and median[DEPTH] > DOUBLET_DEPTH * usual[DEPTH, 1]
    ):
        of = f" of {parents[0]} and {parents[1]}" if parents else ""
        technical.append(
            f"doublets{of} (doublet score {median[DOUBLET]:.2f}, {name} {usual[DOUBLET, 1]:.2f}; "
            f"{median[DEPTH] / usual[DEPTH, 1]:.1f} times as deep)"
        )
    rows = [[median[i], *usual[i], overall[i, 1]] for i in range(len(MEASURES))]
    index = list(MEASURES)
    phases: dict[str, float] = {}
    if cycle is not None:
        own, types = cycle
        phases = phase_shares(own)
        rows += [[own[i].mean(), np.nan, types[i, code], np.nan, np.median(types[i])] for i in range(len(PHASES))]
        index += [f"{phase} score" for phase in PHASES]
        cycling = phases["S"] + phases["G2M"]
        # Scores of a resting type scatter around 0, and up to half of its cells may lie above.
        if cycling > CYCLING_SHARE and (own.mean(axis=1) > types.max(axis=1)).any():
            remarks.append(f"{cycling:.0%} of its cells are in S or G2M: perhaps {name} cells that divide")
    columns = ["flag", "type_5", "type_median", "type_95", "known_types"]
    return Quality(pd.DataFrame(rows, index, columns), phases, tuple(technical), tuple(remarks))
