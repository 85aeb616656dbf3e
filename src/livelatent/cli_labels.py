"""`livelatent labels`: the journal of labels given by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livelatent.shell import Json, OneMessage, Store, say, stdout

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
            how = json.dumps(entry["how"])
            stdout.print(
                escape(f"{entry['seq']}  {entry['time']}  {entry['user']}  {entry['n_cells']} cells  {what}  {how}")
            )

    say({"store": str(store), "entries": entries}, as_json, table)


@labels_app.command("undo", epilog="Example: livelatent labels undo blood.zarr")
def labels_undo(store: Store, as_json: Json = False) -> None:
    """Take the last label back (by appending; nothing is erased)."""
    step_labels(store, as_json, "undo")


@labels_app.command("redo", epilog="Example: livelatent labels redo blood.zarr")
def labels_redo(store: Store, as_json: Json = False) -> None:
    """Give the label back that was undone last."""
    step_labels(store, as_json, "redo")


def step_labels(store: Path, as_json: bool, step: str) -> None:
    """Undo or redo one entry of the journal, and say what it was."""
    from livelatent.atlas.atlas import Atlas

    journal = Atlas.open(store).labels
    entry = journal.undo() if step == "undo" else journal.redo()
    facts = {"store": str(store), "entry": asdict(entry) if entry else None}
    say(facts, as_json, lambda: stdout.print(f"{step}: entry {entry.seq}." if entry else f"nothing to {step}."))


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
