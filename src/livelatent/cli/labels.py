"""`livelatent labels`: the journal of labels given by hand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from livelatent.shell import Json, OneMessage, Store, say, stderr, stdout

labels_app = typer.Typer(cls=OneMessage, no_args_is_help=True, help="The journal of labels given by hand.")


@labels_app.command("log", epilog="Example: livelatent labels log blood.zarr")
def labels_log(store: Store, as_json: Json = False) -> None:
    """List every label given by hand, with how its cells were chosen."""
    from livelatent.atlas.atlas import Atlas

    entries = [asdict(entry) for entry in Atlas.open(store).labels.entries]

    def table() -> None:
        if not entries:
            stdout.print("no labels yet.")
        for entry in entries:
            what = entry["new"] if entry["event"] == "label" else f"{entry['event']} of {entry['undoes']}"
            facts = [entry["seq"], f"{entry['time'][:19].replace('T', ' ')} UTC", entry["user"]]
            facts += [f"{entry['n_cells']:,} cells", what or "(name taken away)", in_words(entry["how"])]
            stdout.print(escape("  ".join(map(str, facts))), highlight=False, soft_wrap=True)

    say({"store": str(store), "entries": entries}, as_json, table)


def in_words(how: dict[str, Any]) -> str:
    """How cells were chosen, for people; `--json` has all of it."""
    kind = str(how.get("kind", ""))
    of_prototype = {"prototype_cells": "cells of prototype", "prototype_nearest": "cells nearest to prototype"}
    if kind in of_prototype:
        return f"{of_prototype[kind]} {str(how.get('prototype'))[:60]}"
    parts = [f"{kind} {how[kind]}" if kind in ("flag", "gene", "prototype") and kind in how else kind]
    if isinstance(how.get("polygon"), list):
        parts.append(f"{len(how['polygon'])} corners")
    parts += [f"{name} {how[name]:.2g}" for name in ("min", "max", "radii") if isinstance(how.get(name), int | float)]
    if isinstance(how.get("p_value"), float):
        parts.append(f"p {how['p_value']:.2g}")
    if isinstance(how.get("target_fpr"), float):
        parts.append(f"at {how['target_fpr']:.2g} false alarms")
    return ", ".join(part for part in parts if part)


@labels_app.command("undo", epilog="Example: livelatent labels undo blood.zarr")
def labels_undo(store: Store, as_json: Json = False) -> None:
    """Take the last label back (by appending; nothing is erased)."""
    step_labels(store, as_json, "undo")


@labels_app.command("redo", epilog="Example: livelatent labels redo blood.zarr")
def labels_redo(store: Store, as_json: Json = False) -> None:
    """Give the label back that was undone last."""
    step_labels(store, as_json, "redo")


def step_labels(store: Any, as_json: bool, step: str) -> None:
    """Undo or redo one entry of the journal, and say what it was."""
    from livelatent.atlas.atlas import Atlas

    journal = Atlas.open(store).labels
    entry = journal.undo() if step == "undo" else journal.redo()
    facts = {"store": str(store), "entry": asdict(entry) if entry else None}

    def table() -> None:
        if entry is None or entry.undoes is None:
            stdout.print(f"nothing to {step}.")
            return
        name = journal.entries[entry.undoes].new
        done = "taken back from" if step == "undo" else "given again to"
        stdout.print(escape(f"{name!r} {done} {entry.n_cells:,} cells."), highlight=False, soft_wrap=True)

    say(facts, as_json, table)


@labels_app.command("write", epilog="Example: livelatent labels write blood.zarr --column livelatent_label")
def labels_write(
    store: Store,
    column: Annotated[str, typer.Option(help="The new obs column.")] = "livelatent_label",
    as_json: Json = False,
) -> None:
    """Write the labels into a new obs column of the store, for anndata and scanpy to see."""
    from livelatent.atlas.atlas import Atlas

    Atlas.open(store).write_labels(column)
    facts = {"store": str(store), "column": column}
    say(facts, as_json, lambda: stdout.print(escape(f"{store}: obs[{column!r}] written.")))


@labels_app.command("export", epilog="Example: livelatent labels export blood.zarr donor1.h5ad")
def labels_export(
    store: Store,
    file: Annotated[
        Path, typer.Argument(help="One of the files that the store was made of; it is not changed.", metavar="FILE")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The copy, or a .csv of names and labels [default: NAME.labelled.h5ad beside the store]."),
    ] = None,
    column: Annotated[str, typer.Option(help="The new obs column.")] = "livelatent_label",
    journal: Annotated[
        Path | None, typer.Option(help="Folder of the labels, where it is not beside the store.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what an earlier export wrote there.")] = False,
    as_json: Json = False,
) -> None:
    """Write the labels into a copy of your own file, in its row order."""
    from livelatent.atlas.atlas import Atlas

    done = Atlas.open(store, journal=journal).labels.export(file, out, column=column, overwrite=overwrite)
    facts = {**asdict(done), "path": str(done.path), "store": str(store), "column": column}

    def table() -> None:
        if done.note:
            stderr.print(f"[yellow]note:[/] {escape(done.note)}", soft_wrap=True)
        said = f"{done.path}: {done.n_labelled:,} of {done.n_cells:,} cells have a label in {column!r}."
        stdout.print(escape(said), highlight=False, soft_wrap=True)

    say(facts, as_json, table)
