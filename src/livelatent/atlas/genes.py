"""Which genes a store gets: what the sources share, or all of theirs, or a list; and which it lacks."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int64
from numpy import ndarray

from livelatent.atlas.layout import places
from livelatent.atlas.sources.source import Source
from livelatent.errors import GeneMismatchError

Join = Literal["inner", "outer"]
Duplicates = Literal["refuse", "sum"]


def joined_genes(
    sources: Sequence[Source],
    join: Join = "inner",
    genes: Sequence[str] | None = None,
    duplicates: Duplicates = "refuse",
) -> tuple[str, ...]:
    """The store's genes, in the first source's order (or the list's), each once.

    Parameters
    ----------
    join
        The genes that every source has (`"inner"`), or all of theirs (`"outer"`).
    genes
        The genes wanted, instead of all that are offered.
    duplicates
        What a name that stands for several genes of one source means: an error, or their sum.

    Raises
    ------
    GeneMismatchError
        If the sources share no genes (with a hint where they seem to be of two species, or named in two ways), lack
        those listed, or name one of those chosen twice.
    """
    if join not in ("inner", "outer"):
        raise ValueError(f'join must be "inner" or "outer"; got {join!r}.')
    if duplicates not in ("refuse", "sum"):
        raise ValueError(f'duplicates must be "refuse" or "sum"; got {duplicates!r}.')
    first = sources[0]
    shared: dict[str, None] = dict.fromkeys(first.genes)
    every: dict[str, None] = dict.fromkeys(first.genes)
    for source in sources[1:]:
        names = set(source.genes)
        check_alike(first, source, len(names.intersection(first.genes)))
        shared = {gene: None for gene in shared if gene in names}
        every.update(dict.fromkeys(source.genes))
    if not shared and join == "inner":
        raise GeneMismatchError(
            f"the {len(sources)} sources share no gene. Their names start: "
            + "; ".join(f"{s.name}: {', '.join(s.genes[:3])}" for s in sources)
            + '. Use the same kind of gene name in all, or join="outer".'
        )
    offered = shared if join == "inner" else every
    chosen = tuple(offered) if genes is None else listed_genes(sources, join, genes, offered)
    if duplicates == "refuse":
        for source in sources:
            refuse_repeated(source, chosen)
    return chosen


def repeated_genes(source: Source, chosen: Collection[str]) -> list[str]:
    """The chosen names that stand for more than one gene of the source, in its order."""
    kept = set(chosen)
    return [gene for gene, n in Counter(source.genes).items() if n > 1 and gene in kept]


def refuse_repeated(source: Source, chosen: Collection[str]) -> None:
    """Raise where a chosen name stands for more than one gene of the source."""
    twice = repeated_genes(source, chosen)
    if twice:
        raise GeneMismatchError(
            f"{source.path}: {len(twice)} gene names stand for more than one gene (first: {', '.join(twice[:3])}). "
            'Pass duplicates="sum" to add their counts up, or name genes by their ids (`gene_names="gene_ids"` where '
            "var has such a column)."
        )


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
            else f"Too few are left to go on. {names_hint(missing, offered) or few_measured(genes, offered)}"
        )
        raise GeneMismatchError(
            f"{', '.join(source.name for source in sources)}: {len(missing)} of the {len(genes)} genes asked for are "
            f"missing (first: {', '.join(missing[:3])}). {way_out}"
        )
    return tuple(genes)


def missing_genes(store: object, wanted: Sequence[str], held: Collection[str]) -> tuple[str, ...]:
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
    return names_hint(missing, known) or (
        "Ingest it again with `ingest(..., genes=model.genes)` where its source has them; else use the same kind of "
        "gene name in both, or train on the genes that both share."
    )


def names_hint(missing: Collection[str], known: Collection[str]) -> str:
    """Why names that were looked for are not among others, where they tell; else nothing."""
    folded = {gene.casefold() for gene in known}
    n_alike = sum(gene.casefold() in folded for gene in missing)
    if 2 * n_alike > len(missing):
        return (
            f"{n_alike} of them are there when upper and lower case are ignored: another species? Name the store's "
            "genes by their orthologues and ingest it again."
        )
    stripped = {unversioned(gene) for gene in known}
    n_alike = sum(unversioned(gene) in stripped for gene in missing)
    if 2 * n_alike > len(missing):
        return (
            f"{n_alike} of them are there when the version of Ensembl ids (`.12`) is left out: leave it out in both, "
            "and ingest again."
        )
    if mostly_ensembl(missing) != mostly_ensembl(known):
        return "One names genes by Ensembl id, the other by symbol: use the same in both, and ingest again."
    return ""


def few_measured(genes: Sequence[str], offered: Collection[str]) -> str:
    """What to do where the names are alike, but few of the genes asked for were measured."""
    known = len(set(genes).intersection(offered))
    if 2 * known > len(offered):
        return (
            f"Of the sources' own {len(offered)}, {known} are among them: they measured fewer genes. "
            'Ingest all files together instead: join="inner" keeps the shared genes, "outer" all.'
        )
    return "Check species and kind of gene name."


def unversioned(gene: str) -> str:
    """An Ensembl id without its version; other names as they are."""
    stem, dot, version = gene.partition(".")
    return stem if dot and gene.startswith("ENS") and version.isdigit() else gene


def mostly_ensembl(genes: Collection[str]) -> bool:
    """Whether more than half are Ensembl ids."""
    return 2 * sum(gene.startswith("ENS") for gene in genes) > len(genes)


def check_alike(one: Source, other: Source, n_common: int) -> None:
    """Raise where names that hardly meet differ in a way that can be told: case, version, kind of name."""
    smaller = min(len(one.genes), len(other.genes))
    if n_common > 0.01 * smaller:
        return
    so_far = f"{one.name} and {other.name} share {n_common} gene names as written ({one.genes[0]}, {other.genes[0]})"
    folded = len({gene.casefold() for gene in one.genes} & {gene.casefold() for gene in other.genes})
    if folded > 0.3 * smaller:
        raise GeneMismatchError(
            f"{so_far}, but {folded} when upper and lower case are ignored: two species? Map one to the other's "
            "orthologues, or ingest them into two stores."
        )
    stripped = len({*map(unversioned, one.genes)} & {*map(unversioned, other.genes)})
    if stripped > 0.3 * smaller:
        raise GeneMismatchError(
            f"{so_far}, but {stripped} when the version of Ensembl ids (`.12`) is left out. Leave it out in "
            "`adata.var_names` of one, and write it again."
        )
    if mostly_ensembl(one.genes) != mostly_ensembl(other.genes):
        ids, symbols = (one, other) if mostly_ensembl(one.genes) else (other, one)
        raise GeneMismatchError(
            f"{so_far}: {ids.name} names genes by Ensembl id, {symbols.name} by symbol. Name both alike: "
            '`gene_names=[...]` takes the var column to use for each source ("gene_ids", "feature_name", or None).'
        )


def gene_map(source: Source, genes: Sequence[str]) -> Int64[ndarray, " gene"]:
    """For each gene of the source its place in the store, -1 where it has none; a repeated name has one place."""
    return places(source.genes, genes).astype(np.int64)


def gene_report(sources: Sequence[Source], chosen: Sequence[str]) -> pd.DataFrame:
    """What became of the genes of each source.

    Returns
    -------
    One row per `source`: its `genes`; those `kept` and `dropped`; the store's genes `missing` in it, stored as zeros;
    names whose genes were `summed`. Of the last three the first few names in `dropped_names`, `missing_names`,
    `summed_names`.
    """
    kept = set(chosen)
    rows = []
    for source in sources:
        held = set(source.genes)
        lists = {
            "dropped": [gene for gene in source.genes if gene not in kept],
            "missing": [gene for gene in chosen if gene not in held],
            "summed": repeated_genes(source, kept),
        }
        rows.append(
            {
                "source": source.name,
                "genes": len(source.genes),
                "kept": len(source.genes) - len(lists["dropped"]),
                **{name: len(genes) for name, genes in lists.items()},
                **{f"{name}_names": first_names(genes) for name, genes in lists.items()},
            }
        )
    return pd.DataFrame(rows)


def first_names(genes: Sequence[str]) -> str:
    """The first five, in words."""
    return ", ".join(genes[:5]) + (", ..." if len(genes) > 5 else "")
