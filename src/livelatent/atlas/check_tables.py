"""The tables of a store, and its label journal: lengths, identity, genes, lines."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from livelatent.atlas.elements import read_element
from livelatent.atlas.entries import read_line, unpack_rows
from livelatent.atlas.findings import COPY, Finding, damage, untidy
from livelatent.atlas.journal_file import JOURNAL, TORN, VOCABULARY, read_names
from livelatent.atlas.layout import IDENTITY, KEPT, N_GENES, SPLIT, TOTAL, genes_sha256
from livelatent.atlas.opening import group_in

NEEDED = (*IDENTITY, SPLIT, TOTAL, N_GENES)


def check_tables(root: zarr.Group, facts: dict[str, Any], obs: pd.DataFrame, var: pd.DataFrame) -> Iterator[Finding]:
    """Lengths of obs, var, obsm and the matrices, identity of cells and genes, splits."""
    n_cells, n_genes = len(obs), len(var)
    for name in ("X", *(f"layers/{layer}" for layer in (group_in(root, "layers") if "layers" in root else ()))):
        told: Any = root[name].attrs.get("shape", (n_cells, n_genes))
        shape = tuple(told)
        if shape != (n_cells, n_genes):
            yield damage(name, f"it is {shape[0]} x {shape[1]}; obs has {n_cells} cells and var {n_genes} genes.")
    for name, item in group_in(root, "obsm").members() if "obsm" in root else ():
        length = item.shape[0] if isinstance(item, zarr.Array) else len(read_element(item))
        if length != n_cells:
            yield damage(f"obsm/{name}", f"it has {length} rows; obs has {n_cells} cells.")
    missing = [name for name in NEEDED if name not in obs]
    if missing:
        yield damage("obs", f"the columns {', '.join(missing)} are missing.")
        return
    if set(obs["store_uuid"].astype(str)) - {str(facts["uuid"])}:
        yield damage("obs/store_uuid", "some cells name another store than the one they are in.")
    twice = int(pd.MultiIndex.from_arrays([obs["source"].astype(str), obs["source_row"]]).duplicated().sum())
    if twice:
        yield damage("obs/source_row", f"{twice} cells come from a place that another cell comes from too.")
    if not obs.index.is_unique:
        yield damage("obs/_index", "some cells have the same name.")
    strange = set(obs[SPLIT].astype(str)) - {"train", "calibration", "validation"}
    if strange:
        yield damage(f"obs/{SPLIT}", f"it holds {sorted(strange)[0]!r}, which is no split.")
    totals = np.asarray(obs[TOTAL], dtype=np.float64)
    if not np.isfinite(totals).all() or (totals < 0).any():
        yield damage(f"obs/{TOTAL}", "it holds totals that are none (negative, NaN or infinite).")
    genes = [str(name) for name in var.index]
    if genes_sha256(genes) != facts.get("genes_sha256"):
        yield damage("var/_index", "the genes are not those that were written (their hash differs).")
    if len(set(genes)) != len(genes):
        yield damage("var/_index", "some genes have the same name.")
    for name in ("label", "batch"):
        if facts.get(name) and str(facts[name]) not in obs:
            yield damage("obs", f"the {name} column {facts[name]!r} is missing.")
    if KEPT in obs and obs[KEPT].dtype != bool:
        yield damage(f"obs/{KEPT}", "the mask of kept cells is no mask.")


def read_tables(root: zarr.Group) -> tuple[dict[str, Any] | None, pd.DataFrame | None, pd.DataFrame | None]:
    """`uns["livelatent"]`, obs and var; None for each that can't be read."""
    found: list[Any] = []
    for name in ("uns/livelatent", "obs", "var"):
        try:
            found.append(read_element(root[name]))
        except Exception:  # whatever a decoder raises; the arrays' own check names the file
            found.append(None)
    facts, obs, var = found
    return (facts if isinstance(facts, dict) and "uuid" in facts else None), obs, var


def check_journal(folder: Path, obs: pd.DataFrame | None) -> Iterator[Finding]:
    """Every line of the journal, its vocabulary, and whether its cells are in the store."""
    if not folder.is_dir():
        return
    yield from check_lines(folder / JOURNAL, None if obs is None else cells_by_source(obs))
    try:
        read_names(folder / VOCABULARY)
    except OSError as error:
        yield damage(f"{folder.name}/{VOCABULARY}", f"it can't be read ({error}).", "Names given to cells stay.")
    if (folder / TORN).exists():
        yield untidy(
            f"{folder.name}/{TORN}",
            "lines that were torn off, and never acknowledged, lie there.",
            "Look at them, and remove the file.",
        )


def cells_by_source(obs: pd.DataFrame) -> dict[str, Any]:
    """Sorted rows of each source."""
    if not {"source", "source_row"} <= set(obs.columns):
        return {}
    rows = obs["source_row"].to_numpy().astype(np.int64)
    groups = obs.groupby(obs["source"].astype(str), observed=True).indices
    return {str(name): np.sort(rows[place]) for name, place in groups.items()}


def check_lines(path: Path, cells: dict[str, Any] | None) -> Iterator[Finding]:
    """Checksums, order, and that the store holds what each line names."""
    where = f"{path.parent.name}/{path.name}"
    if not path.exists():
        return
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        yield damage(where, f"it can't be read ({error.strerror}).", "See that you may read it.")
        return
    lost = 0
    for number, line in enumerate(lines):
        entry = read_line(line)
        if entry is None and number == len(lines) - 1:
            yield untidy(where, "its last line is torn; it was never acknowledged.", "It can be set aside.", "journal")
        elif entry is None or entry.seq != number:
            yield damage(
                where, f"line {number + 1} is damaged, or out of its order.", "Restore the file from a backup."
            )
            return
        elif cells is not None:
            try:
                lost += sum(
                    n_lost(cells.get(name), unpack_rows(rows, entry.n_cells)) for name, rows in entry.cells.items()
                )
            except (ValueError, zlib.error):
                yield damage(where, f"the cells of line {number + 1} can't be read.", "Restore the file from a backup.")
                return
    if lost:
        yield untidy(
            where, f"it names {lost} cells that the store does not hold.", "Is it the journal of another store?"
        )


def n_lost(held: Any, wanted: Any) -> int:
    """How many of the rows are not held."""
    return len(wanted) if held is None else int((~np.isin(wanted, held)).sum())


def check_facts(facts: dict[str, Any]) -> Iterator[Finding]:
    """`uns["livelatent"]` says what every reader needs."""
    missing = [name for name in ("format", "uuid", "label", "batch", "mean_total", "genes_sha256") if name not in facts]
    if missing:
        yield damage("uns/livelatent", f"{', '.join(missing)} is not there.", COPY)
    try:
        json.loads(str(facts.get("sources", "[]")))
    except ValueError:
        yield damage("uns/livelatent/sources", "what the sources were can't be read.", COPY)
