"""`livelatent ingest`, `append` and `info`: the store, from the shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from livelatent.progress import cells_bar
from livelatent.shell import Json, Store, print_rows, say, stderr

Sources = Annotated[
    list[Path],
    typer.Argument(
        help="Files or folders: .h5ad, AnnData .zarr, 10x .h5, Matrix Market folders, annbatch collections.",
        metavar="SOURCE...",
    ),
]
Label = Annotated[str | None, typer.Option(help="obs column with the cell types.")]
Batch = Annotated[str | None, typer.Option(help="obs column with the technical batch (donor, lab, protocol).")]
Counts = Annotated[str, typer.Option(help="Where the counts are: X, raw, or a layer's name.")]
Memory = Annotated[str, typer.Option(help="Memory that ingest may use, such as 4GB.")]
Join = Annotated[
    Literal["inner", "outer"], typer.Option(help="Genes kept from several files: inner (shared) or outer (all).")
]
GeneNames = Annotated[
    str | None, typer.Option(help="var column that names the genes, such as gene_ids [default: the index].")
]
Duplicates = Annotated[Literal["refuse", "sum"], typer.Option(help="What to do with several genes of one name.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]


def ingest(
    sources: Sources,
    target: Annotated[Path, typer.Argument(help="The store to make, such as blood.zarr.", metavar="STORE")],
    label: Label = None,
    batch: Batch = None,
    unlabelled: Annotated[
        list[str] | None, typer.Option(help="A label that means 'no label'; may be repeated.")
    ] = None,
    counts: Counts = "X",
    layer: Annotated[
        list[str] | None, typer.Option(help="A layer to carry along; may be repeated [default: all that are shared].")
    ] = None,
    no_layers: Annotated[bool, typer.Option("--no-layers", help="Carry no layer along.")] = False,
    join: Join = "inner",
    gene_names: GeneNames = None,
    duplicates: Duplicates = "refuse",
    memory: Memory = "4GB",
    compression: Annotated[
        Literal["local", "cloud"], typer.Option(help="local reads fastest from a disk, cloud is a quarter smaller.")
    ] = "local",
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing store (never one with labels by hand).")] = False,
    as_json: Json = False,
) -> None:
    """Make a shuffled, chunked Zarr store from files of any size; after a kill the same command goes on."""
    from livelatent.atlas.ingest import ingest as ingest_files

    with cells_bar(stderr) as progress:
        atlas = ingest_files(
            list(sources),
            target,
            label=label,
            batch=batch,
            unlabelled=tuple(unlabelled or ()),
            counts=counts,
            layers=() if no_layers else layer,
            join=join,
            gene_names=gene_names,
            duplicates=duplicates,
            memory=memory,
            compression=compression,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        )
    say(*describe(atlas, as_json))


def append(
    store: Store,
    sources: Sources,
    counts: Counts = "X",
    join: Join = "inner",
    gene_names: GeneNames = None,
    duplicates: Duplicates = "refuse",
    memory: Memory = "4GB",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Add the cells of more files to a store; its earlier rows, labels and models stay as they are."""
    from livelatent.atlas.append import append as append_files

    with cells_bar(stderr) as progress:
        atlas = append_files(
            store,
            list(sources),
            counts=counts,
            join=join,
            gene_names=gene_names,
            duplicates=duplicates,
            memory=memory,
            seed=seed,
            progress=progress,
        )
    say(*describe(atlas, as_json))


def info(store: Store, as_json: Json = False) -> None:
    """Say what a store holds, how it is stored, and what its label journal is like."""
    from dataclasses import asdict

    from livelatent.atlas.atlas import Atlas
    from livelatent.atlas.inventory import inventory, journal_state, rows_for_people

    atlas = Atlas.open(store)
    facts, _, table = describe(atlas, as_json)
    elements, journal = inventory(atlas), journal_state(atlas)
    facts |= {"elements": [asdict(one) for one in elements], "journal": journal}

    def both() -> None:
        table()
        print_rows(rows_for_people(elements))
        print_rows([("journal", f"{journal['entries']:,} entries in {journal['folder'] or 'no folder yet'}")])
        if journal["torn"]:
            print_rows([("", str(journal["torn"]))])

    say(facts, as_json, both)


def describe(atlas: Any, as_json: bool) -> tuple[dict[str, Any], bool, Callable[[], None]]:
    """Give a store's facts, ready to be said."""
    sizes = {name: int((atlas.label == code).sum()) for code, name in enumerate(atlas.label_names)}
    batches = {name: int((atlas.batch == code).sum()) for code, name in enumerate(atlas.batch_names)}
    facts = {
        "store": str(atlas.path),
        "uuid": atlas.uuid,
        "cells": atlas.n_cells,
        "genes": atlas.n_genes,
        "cells_kept": int(atlas.kept.sum()),
        "genes_kept": int(atlas.kept_genes.sum()),
        "sources": atlas.report.to_dict("records"),
        "labels": sizes,
        "unlabelled_cells": int((atlas.label < 0).sum()),
        "batches": batches,
        "splits": {name: int((atlas.split == name).sum()) for name in ("train", "calibration", "validation")},
        "cells_named_by_hand": sum(name is not None for name in atlas.labels.current()),
        "journal_entries": len(atlas.labels.entries),
    }

    def table() -> None:
        print_rows(
            [
                ("store", facts["store"]),
                ("cells", f"{atlas.n_cells:,}"),
                ("genes", f"{atlas.n_genes:,}"),
                ("kept by qc", f"{facts['cells_kept']:,} cells, {facts['genes_kept']:,} genes"),
                ("labels", ", ".join(f"{name} ({n:,})" for name, n in sizes.items()) or "none"),
                ("without a label", f"{facts['unlabelled_cells']:,}"),
                ("batches", ", ".join(f"{name} ({n:,})" for name, n in batches.items()) or "no batch column"),
                ("named by hand", f"{facts['cells_named_by_hand']:,} cells"),
                *(("from", source_line(entry)) for entry in facts["sources"]),
            ]
        )

    return facts, as_json, table


def source_line(entry: dict[str, Any]) -> str:
    """What was kept of a source, in one line."""
    parts = [f"{entry['source']}: {entry['kept']:,} of {entry['genes']:,} genes"]
    if entry.get("missing"):
        parts.append(f"{entry['missing']:,} of the store's not measured there (stored as zeros)")
    if entry.get("summed"):
        parts.append(f"{entry['summed']:,} summed under one name")
    if entry.get("left"):
        parts.append(f"left behind: {entry['left']}")
    return "; ".join(parts)
