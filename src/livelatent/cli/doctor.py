"""`livelatent doctor` and `livelatent copy`: a store's health, and its way to another place."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from livelatent.shell import Json, Store, bar, place, say, stdout


def doctor(
    store: Store,
    mend: Annotated[bool, typer.Option("--mend", help="Mend what can be mended without losing anything.")] = False,
    as_json: Json = False,
) -> None:
    """Examine a store: every file, every chunk, every cell. Exit code 1 where it is damaged."""
    from livelatent.atlas.doctor import examine
    from livelatent.atlas.doctor import mend as mend_store

    with bar() as progress:
        look = mend_store if mend else examine
        found = look(store, progress=lambda done, total, what: progress(what, done / max(total, 1)))
    is_damaged = any(finding.is_damage for finding in found)

    def table() -> None:
        for finding in found:
            kind = "[bold red]damaged[/]" if finding.is_damage else "[yellow]untidy[/] "
            cure = " [dim](--mend)[/]" if finding.cure and not mend else ""
            stdout.print(f"{kind}  {escape(str(finding))}{cure}", highlight=False, soft_wrap=True)
        if not found:
            stdout.print(f"{escape(str(store))}: all is well.", highlight=False, soft_wrap=True)

    facts = {"store": str(store), "damaged": is_damaged, "findings": [asdict(finding) for finding in found]}
    say(facts, as_json, table)
    if is_damaged:
        raise typer.Exit(1)


def copy(
    store: Store,
    target: Annotated[
        Any,
        typer.Argument(parser=place, help="A folder, or an address: s3://bucket/blood.zarr.", metavar="TARGET"),
    ],
    overwrite: Annotated[bool, typer.Option(help="Replace another store that stands there.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a store to a bucket, or from one; cut off, it is gone on with, and never opened half."""
    from livelatent.atlas.atlas import Atlas

    with bar() as progress:
        atlas = Atlas.open(store).copy_to(
            target,
            overwrite=overwrite,
            progress=lambda done, total, what: progress(what, done / max(total, 1)),
        )
    facts = {"store": str(atlas.path), "uuid": atlas.uuid, "cells": atlas.n_cells}
    say(facts, as_json, lambda: stdout.print(escape(f"{atlas.path}: {atlas.n_cells:,} cells."), soft_wrap=True))
