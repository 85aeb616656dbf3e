"""Which genes a store gets: what the sources share, or all of theirs, or a list; and which it lacks."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from livelatent.atlas.layout import places
from livelatent.atlas.sources.source import Source
from livelatent.errors import GeneMismatchError

Join = Literal["inner", "outer"]
Duplicates = Literal["refuse", "sum"]


def joined_genes(
    sources: Sequence[Source], join: Join, genes: Sequence[str] | None, duplicates: Duplicates = "refuse"
) -> tuple[str, ...]:
    """The store's genes, in the first source's order (or the list's).

    Raises
    ------
    GeneMismatchError
        If the sources share no genes (with a hint where they seem to be of two species), or lack those listed.
    """
    if join not in ("inner", "outer"):
        raise ValueError(f'join must be "inner" or "outer"; got {join!r}.')
    first = sources[0]
    shared: dict[str, None] = dict.fromkeys(first.genes)
    every: dict[str, None] = dict.fromkeys(first.genes)
    for source in sources[1:]:
        names = set(source.genes)
        common = [gene for gene in first.genes if gene in names]
        check_species(first, source, len(common))
        shared = {gene: None for gene in shared if gene in names}
        every.update(dict.fromkeys(source.genes))
    if not shared and join == "inner":
        raise GeneMismatchError(
            f"the {len(sources)} sources share no gene. Their names start: "
            + "; ".join(f"{s.name}: {', '.join(s.genes[:3])}" for s in sources)
            + '. Use the same kind of gene name in all, or join="outer".'
        )
    if genes is None:
        return tuple(shared if join == "inner" else every)
    return listed_genes(sources, join, genes, shared if join == "inner" else every)


def listed_genes(
    sources: Sequence[Source], join: Join, genes: Sequence[str], offered: dict[str, None]
) -> tuple[str, ...]:
    """The genes asked for; with `join="outer"` up to half of them may be absent and are stored as zeros."""
    if len(set(genes)) != len(genes):
        raise GeneMismatchError("`genes` names a gene twice.")
    missing = [gene for gene in genes if gene not in offered]
    if missing and (join == "inner" or 2 * len(missing) > len(genes)):
        way_out = (
            'Pass join="outer" to store genes that are not measured as zeros, or leave them out of `genes`.'
            if 2 * len(missing) <= len(genes)
            else "Too few are left to go on: check species and kind of gene name."
        )
        raise GeneMismatchError(
            f"{', '.join(source.name for source in sources)}: {len(missing)} of the {len(genes)} genes asked for are "
            f"missing (first: {', '.join(missing[:3])}). {way_out}"
        )
    return tuple(genes)


def missing_genes(store: Path, wanted: Sequence[str], held: Collection[str]) -> tuple[str, ...]:
    """The genes that a model wants and a store lacks: at most half of them; whoever reads takes them as 0.

    Raises
    ------
    GeneMismatchError
        If more than half are missing.
    """
    known = set(held)
    missing = tuple(gene for gene in wanted if gene not in known)
    if 2 * len(missing) > len(wanted):
        raise GeneMismatchError(
            f"{store}: {len(missing)} of the model's {len(wanted)} genes are missing (first: "
            f"{', '.join(missing[:3])}). The store has {', '.join(sorted(known)[:3])}, ... "
            f"{other_names(missing, known)}"
        )
    return missing


def other_names(missing: Sequence[str], known: Collection[str]) -> str:
    """Why so many genes are missing, where the names tell, and the way out."""
    folded = {gene.casefold() for gene in known}
    n_alike = sum(gene.casefold() in folded for gene in missing)
    if 2 * n_alike > len(missing):
        return (
            f"{n_alike} of them are there when upper and lower case are ignored: another species? Name the store's "
            "genes by their orthologues and ingest it again."
        )
    ids = [sum(gene.startswith("ENS") for gene in genes) > len(genes) / 2 for genes in (missing, known)]
    if ids[0] != ids[1]:
        return "One names genes by Ensembl id, the other by symbol: use the same in both, and ingest again."
    return (
        "Ingest it again with `ingest(..., genes=model.genes)` where its source has them; else use the same kind of "
        "gene name in both, or train on the genes that both share."
    )


def check_species(one: Source, other: Source, n_common: int) -> None:
    """Raise where names differ in upper and lower case only: human `CD19`, mouse `Cd19`."""
    smaller = min(len(one.genes), len(other.genes))
    if n_common > 0.01 * smaller:
        return
    folded = len({gene.casefold() for gene in one.genes} & {gene.casefold() for gene in other.genes})
    if folded > 0.3 * smaller:
        raise GeneMismatchError(
            f"{one.name} and {other.name} share {n_common} gene names as written, but {folded} when upper and lower "
            f"case are ignored ({one.genes[0]}, {other.genes[0]}): two species? Map one to the other's orthologues, "
            "or ingest them into two stores."
        )


def gene_map(source: Source, genes: Sequence[str]) -> np.ndarray[Any, Any]:
    """For each gene of the source its place in the store, -1 where it has none."""
    return places(source.genes, genes).astype(np.int32)


def gene_report(sources: Sequence[Source], chosen: Sequence[str]) -> pd.DataFrame:
    """One row per source: genes in it, kept, and stored as zeros."""
    wanted = set(chosen)
    return pd.DataFrame(
        [{"source": s.name, "genes": len(s.genes), "kept": len(wanted & set(s.genes))} for s in sources]
    )
