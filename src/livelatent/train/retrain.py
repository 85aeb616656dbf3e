"""Training that goes on under new labels: another run, from the weights that the last one reached."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from livelatent import atomic
from livelatent.arrays import Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.columns import codes_of
from livelatent.atlas.entries import Entry
from livelatent.errors import LabelError, ResumeError
from livelatent.train.history import History
from livelatent.train.run import Run

__all__ = ["labels_kept", "learned", "retrain"]

FILE, FACTS = "labels.i32", "labels.json"
SHARE, FEWEST_EPOCHS = 4, 5
"""A quarter of the epochs: the encoder has settled, and one or two types are new to it."""


def retrain(run: Run, *, epochs: int | None = None, folder: str | Path | None = None) -> Run:
    """A run that goes on from this one's weights with the labels of the atlas's journal; ready to be started.

    This run is stopped first, and its folder is left as it is. Steps, epochs and curves count on. A name that the
    model does not know becomes a type: the classifier gets a row for it, and class sizes and distances between
    types are taken anew (`Model.relabelled`).

    Parameters
    ----------
    epochs
        Of the longest stage; None takes a quarter of this run's, five at least.
    folder
        As in `Run`.

    Raises
    ------
    LabelError
        If no cell has a label, or every cell of a new type is set aside for calibration and validation.
    """
    run.stop()
    if run.status.state != "ready":
        run.wait()
    atlas = run.atlas
    # Somebody may label meanwhile: what is called learned below is what was read here.
    standing = named = None
    while standing is None or standing != atlas.labels.standing:
        standing = atlas.labels.standing
        named = atlas.labels.shown()
    assert named is not None
    names = tuple(sorted({str(name) for name in named if name is not None}))
    if not names:
        raise LabelError(f"{atlas.path}: no cell has a label, so there is nothing new to learn. Name some cells first.")
    labelled = atlas.relabelled(codes_of(named, names), names)
    model = run.model.relabelled(labelled, run.rows)
    if epochs is None:
        longest = run.epochs or max(stage.epochs for stage in run.model.stages)
        epochs = max(longest // SHARE, FEWEST_EPOCHS)
    if folder is None and not isinstance(atlas.path, Path):
        # A remote store has no place for runs beside it: this one goes where the last one is.
        folder = run.folder.with_name(f"{run.folder.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    fresh = Run(model, labelled, epochs, folder, run.stream, str(run.device), rows=run.rows)
    _keep_labels(fresh.folder, labelled, standing, run)
    before = run._state
    fresh.history = _grown(run)
    fresh.history.mark(before.step, _what_is_new(run.model.label_names, labelled))
    fresh._state.step, fresh._state.epoch = before.step, before.epoch
    fresh._save()
    return fresh


def labels_kept(folder: Path, atlas: Atlas) -> Atlas:
    """The atlas under the labels that the run of this folder trains with; as it is where those are its own.

    Raises
    ------
    ResumeError
        If they are damaged, or of another number of cells.
    """
    if not (folder / FACTS).exists():
        return atlas
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        codes = np.frombuffer((folder / FILE).read_bytes(), "<i4")
        return atlas.relabelled(codes, [str(name) for name in facts["names"]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{folder}: the labels it trains with can't be read ({error}). Retrain again.") from error


def learned(folder: Path) -> frozenset[int]:
    """Lines of the journal that the run of this folder trains with, by their `seq`; none where it was no retraining."""
    try:
        return frozenset(map(int, json.loads((folder / FACTS).read_text(encoding="utf-8"))["standing"]))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _keep_labels(folder: Path, atlas: Atlas, standing: Sequence[Entry], before: Run) -> None:
    """Write the labels down: the journal may move on, and a run that is resumed trains on what it began with."""
    assert atlas.given_labels is not None
    codes, names = atlas.given_labels
    atomic.write_bytes(folder / FILE, codes.astype("<i4").tobytes())
    facts = {
        "names": list(names),
        "from_run": before.folder.name,
        "from_model": before.model.sha256(),
        "standing": [entry.seq for entry in standing],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    atomic.write_json(folder / FACTS, facts)


def _grown(run: Run) -> History:
    """The curves so far, in an object of their own: the earlier run keeps its own."""
    if (run.folder / "history.npz").exists():
        history = History.load(run.folder / "history.npz")
        history.cut(run.status.step)
        return history
    return History()


def _what_is_new(known: Sequence[str], atlas: Atlas) -> str:
    new = [name for name in atlas.label_names if name not in known]
    sizes: Int[ndarray, " label"] = np.bincount(atlas.label[atlas.label >= 0], minlength=len(atlas.label_names))
    told = [f"{name} ({int(sizes[atlas.label_names.index(name)])} cells)" for name in new]
    return f"retrained with {', '.join(told)}" if told else "retrained with new labels"
