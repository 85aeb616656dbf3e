"""Where a run stands, and its curves, as a view shows them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from livelatent.atlas.atlas import Atlas
from livelatent.session.board import Board
from livelatent.session.health import health_of, settable_of, training_alarms
from livelatent.session.pace import Pace
from livelatent.session.state import MARKS, Can, Curve, Curves, Mark, Status
from livelatent.session.watched import Watched
from livelatent.train.run import Run

__all__ = ["curves_of", "status_of"]

DRIFT = "prototype drift"
"""A curve beside the losses: how far prototypes went from look to look, see `PrototypeView.drift`."""


def status_of(
    run: Watched,
    query: Atlas | None,
    board: Board,
    pace: Pace,
    *,
    alarms: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Status:
    """The run's state, with what is wrong: first with the model itself, since whoever looks would wait for nothing.

    Parameters
    ----------
    alarms, notes
        What the session adds to the run's own.
    """
    status, history, next_s = run.status, board.ledger.history, pace.next_s
    state = status.state
    # A latent that was given was never trained: a step 0 would say that it is about to be.
    trains = state != "latent"
    failure = (f"Training failed: {status.message}",) if state == "failed" else ()
    return Status(
        state=state,
        message=status.message or "",
        store=run.atlas.path.name,
        query=None if query is None else query.path.name,
        stage=status.stage or "",
        epoch=status.epoch if trains else None,
        epochs=status.epochs if trains else None,
        step=status.step if trains else None,
        cells_per_s=status.cells_per_s,
        wait_share=status.wait_share,
        n_cells=run.atlas.n_cells,
        n_genes=run.atlas.n_genes,
        can=Can(
            start=run.can_start,
            pause=state == "training",
            resume=state == "paused",
            stop=state in ("training", "paused"),
            step=isinstance(run, Run) and state in ("ready", "paused", "stopped"),
        ),
        alarms=(*failure, *training_alarms(run), *status.alarms, *alarms),
        notes=(*run.notes, *notes),
        journal=board.ledger.journals,
        vocabulary=board.ledger.vocabulary,
        n_saved=history.n_saved,
        n_undo=len(history.undo),
        n_redo=len(history.redo),
        layout_share=pace.cpu_share,
        # In whole seconds: ten times a second would be news each time.
        layout_next_s=None if next_s is None else float(math.ceil(next_s)),
        health=health_of(run),
        settable=settable_of(run),
    )


def curves_of(run: Watched, drift: Sequence[tuple[int, float]], since: Mapping[tuple[str, str], int]) -> Curves:
    """Loss curves, and the drift of prototypes, from the points that are known already on."""
    series = []
    for name, split in run.history.names():
        start = since.get((name, split), 0)
        steps, values = run.history.series(name, split, start)
        series.append(Curve(name=name, split=split, start=start, steps=steps, values=values))
    if drift:
        start = min(since.get((DRIFT, "train"), 0), len(drift))
        steps, values = (np.array([point[axis] for point in drift[start:]]) for axis in (0, 1))
        series.append(Curve(name=DRIFT, split="train", start=start, steps=steps.astype(np.int64), values=values))
    known = since.get(MARKS, 0)
    marks = tuple(Mark(step=step, text=text) for step, text in run.history.marks_from(known))
    return Curves(series=tuple(series), marks=marks, marks_start=known)
