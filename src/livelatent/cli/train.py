"""`livelatent train` and `embed`: a model, and what it makes of every cell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from livelatent.cli.options import Device, Epochs, Model
from livelatent.shell import Json, Store, bar, print_rows, say, stderr


def train(
    store: Store,
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    epochs: Epochs = 50,
    genes: Annotated[int, typer.Option(min=2, help="Highly variable genes to learn from.")] = 2000,
    device: Device = "auto",
    memory: Annotated[str | None, typer.Option(help='What reading may hold, such as "1GB".')] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Mix the annotator by calibration cells: trains no further encoder.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train CELLULAR's Model 1 on a store, and fit what annotation and novelty need."""
    from livelatent.atlas.atlas import Atlas
    from livelatent.demo import follow
    from livelatent.judge.annotator import fit_annotator
    from livelatent.judge.reference import fit_reference
    from livelatent.models.cellular import Cellular
    from livelatent.models.weights import check_place
    from livelatent.train.run import Run

    atlas = Atlas.open(store)
    check_place(out)
    with bar() as progress:
        progress("choosing genes", 0.0)
        model = Cellular(atlas, n_genes=genes)
        for note in model.notes:
            stderr.print(escape(note))
        run = Run(model, atlas, epochs=epochs, device=device, memory=memory)
        try:
            follow(run, progress)
        except KeyboardInterrupt:
            stderr.print(
                f"{escape(str(out))} is not written. In Python, livelatent.Run.resume({escape(repr(str(run.folder)))}) "
                "goes on from there.",
                highlight=False,
                soft_wrap=True,
            )
            raise
        progress("fitting prototypes and novelty", 0.0)
        fit_reference(run.model, atlas)
        annotator = fit_annotator(run.model, atlas, retrain=not quick, device=device, progress=progress)
        run.model.save(out)
    status = run.status
    for alarm in status.alarms:
        stderr.print(escape(alarm))
    facts = {
        "model": str(out),
        "run": str(run.folder),
        "epochs": status.epoch,
        "steps": status.step,
        "state": status.state,
        "annotator": repr(annotator),
    }
    say(facts, as_json, lambda: print_rows(list(facts.items())))


def embed(
    store: Store,
    model: Model,
    name: Annotated[str, typer.Option(help="obsm name to write.")] = "X_livelatent",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write every cell's latent vector into the store's obsm."""
    from livelatent.atlas.atlas import Atlas
    from livelatent.models.weights import load_model
    from livelatent.train.embed import embed_into

    with bar() as progress:
        n_cells, n_dims = embed_into(
            load_model(model),
            Atlas.open(store),
            name,
            device=device,
            progress=lambda done, total, what: progress(what, done / max(total, 1)),
        )
    facts = {"store": str(store), "obsm": name, "cells": n_cells, "dimensions": n_dims}
    say(facts, as_json, lambda: print_rows(list((facts | {"cells": f"{n_cells:,}"}).items())))
