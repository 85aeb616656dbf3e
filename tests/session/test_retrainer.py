import numpy as np
import pytest

from livelatent.errors import LabelError
from livelatent.session.live import LiveSession
from watched import HIDDEN, hidden_atlas, small_run


@pytest.fixture(scope="module")
def watched_run(tiny_h5ad, tmp_path_factory):
    """A session on a finished run, its map a PCA."""
    folder = tmp_path_factory.mktemp("retrained")
    atlas = hidden_atlas(tiny_h5ad, folder)
    run = small_run(atlas, folder / "hidden.runs" / "first", epochs=6)
    run.start()
    run.wait()
    session = LiveSession(run)
    session.settle(timeout_s=0.0)
    yield session
    session.close()
    atlas.labels.close()


def test_one_click_teaches_the_model_the_new_type_and_the_session_follows(watched_run):
    session = watched_run
    status = session.status()
    assert not status.can.retrain and status.n_unlearned == 0
    assert not session.answer("r0", "retrain", {}).ok
    first, panel = session.run, session.latent_map()
    hidden = np.flatnonzero(session.atlas.true_labels == HIDDEN)
    session.label(hidden, "NK <b>new</b>")
    assert session.status().can.retrain and session.status().n_unlearned == 1
    assert session.answer("r1", "retrain", {"epochs": 6}).result == {"state": "preparing"}
    session.retrainer.wait()
    assert session.run is not first and session.run.folder.parent == first.folder.parent
    session.run.wait()
    session.settle(timeout_s=0.0)
    assert session.status().alarms == () or all("Not retrained" not in alarm for alarm in session.status().alarms)

    # The type has its prototype, and is what its cells are taken for.
    assert "NK <b>new</b>" in session.prototypes().names
    shown = session.latent_map()
    assert "NK <b>new</b>" in shown.label_names
    own = np.isin(shown.cell, hidden)
    names = np.array([*shown.predicted_names, ""])
    assert (names[shown.predicted[own]] == "NK <b>new</b>").mean() > 0.7  # of all cells 0.08 are
    # The map moved, with the same cells in it; the curves went on; there is nothing more to learn.
    assert shown.panel == panel.panel and shown.layout > panel.layout
    assert not np.allclose(shown.xy, panel.xy)
    told = next(curve for curve in session.curves().series if curve.name == "loss" and curve.split == "train")
    assert (np.diff(np.asarray(told.steps, int)) == 1).all() and told.steps[-1] == session.run.status.step
    assert any(mark.text.startswith("retrained with NK <b>new</b>") for mark in session.curves().marks)
    status = session.status()
    assert status.n_unlearned == 0 and not status.can.retrain and status.retraining == ""
    # Taking the label back is something to learn again; the label itself is as safe as before.
    session.board.ledger.undo()
    assert session.status().n_unlearned == 1
    session.board.ledger.redo()
    with pytest.raises(LabelError, match="nothing to learn"):
        session.retrain()


def test_what_can_not_be_learned_is_an_alarm_and_the_run_can_go_on(watched_run):
    session = watched_run
    run = session.run
    validation = np.flatnonzero(session.atlas.split == "validation")[:2]
    session.label(validation, "two cells")
    session.retrain()
    session.retrainer.wait()
    assert session.run is run
    assert any("no training cell is named two cells" in alarm for alarm in session.status().alarms)
    session.board.ledger.undo()


def test_a_run_that_was_stopped_for_nothing_trains_on(own_atlas, tmp_path):
    session = LiveSession(small_run(own_atlas, tmp_path / "run", epochs=500, patience=1000))
    run = session.run
    session.drive("start")
    session.label(np.flatnonzero(session.atlas.split == "validation")[:2], "two cells")
    session.retrain()
    session.retrainer.wait()
    assert session.run is run and run.status.state == "training"
    assert any("Not retrained" in alarm for alarm in session.status().alarms)
    session.drive("stop")
    run.wait()
    session.close()
    own_atlas.labels.close()
