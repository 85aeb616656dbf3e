"""A model of another family, with one changed line: saved, judged and looked at as CELLULAR is."""

import numpy as np
import pandas as pd
import pytest
import torch

from livelatent.atlas import ingest
from livelatent.judge.classifier import annotate
from livelatent.judge.flags import find_novel
from livelatent.models.beta_vae import BetaVAE
from livelatent.models.weights import load_model
from livelatent.session.live import LiveSession
from livelatent.train.embed import embed
from livelatent.train.run import Run
from livelatent.widget.report import write_report
from watched import CONFIG, HIDDEN, hidden_atlas

torch.set_num_threads(1)


def finished(atlas, folder, epochs, **settings):
    run = Run(BetaVAE(atlas, n_genes=120, n_latent=8, n_hidden=64, **settings), atlas, epochs, folder, CONFIG, "cpu")
    run.start()
    run.wait()
    return run


@pytest.fixture(scope="module")
def run(tiny_h5ad, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    return finished(hidden_atlas(tiny_h5ad, folder), folder / "run", 12)


def test_the_view_shows_map_prototypes_predictions_and_flags(run, tmp_path):
    session = LiveSession(run)
    session.settle(timeout_s=0.0)
    status, shown, prototypes = session.status(), session.latent_map(), session.prototypes()
    assert status.alarms == () or "PCA" in status.alarms[0]
    assert len(shown.xy) == run.atlas.n_cells
    known = shown.label >= 0
    names = np.array(shown.predicted_names, object)[shown.predicted[known]]
    assert (names == np.array(shown.label_names, object)[shown.label[known]]).mean() > 0.9
    assert set(prototypes.names) >= set(run.atlas.label_names)
    assert session.board.flag_list().n_scored > 0
    assert {curve.name for curve in session.curves().series} == {"reconstruction", "kl", "loss", "active_units"}
    session.close()
    write_report(run, html=tmp_path / "report.html", png=tmp_path / "report.png")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_a_saved_model_judges_as_the_one_in_memory(run, tmp_path):
    found, names = find_novel(run.model, run.atlas), annotate(run.model, run.atlas)
    run.model.save(tmp_path / "model")
    twin = load_model(tmp_path / "model")
    assert np.array_equal(embed(twin, run.atlas, device="cpu"), embed(run.model, run.atlas, device="cpu"))
    assert np.array_equal(find_novel(twin, run.atlas).p_value, found.p_value)
    # Read back, a regression's arrays lie in memory in another order, which moves the last bits of a product.
    pd.testing.assert_frame_equal(annotate(twin, run.atlas), names, rtol=1e-6)
    hidden = run.atlas.true_labels[found.rows] == HIDDEN
    assert np.median(found.p_value[hidden]) < np.median(found.p_value[~hidden])


def test_a_collapsed_model_raises_its_alarm_in_the_view(run, tmp_path):
    settings = {"reconstruction": "mean", "kl_warmup_epochs": 0, "learning_rate": 5e-3}
    collapsed = finished(run.atlas, tmp_path / "run", 8, **settings)
    session = LiveSession(collapsed)
    assert "The posterior has collapsed: 0 of 8" in session.status().alarms[0]
    before = session.versions()["status"]
    collapsed._state.alarms = ()
    assert session.versions()["status"] > before
    assert session.status().alarms == ()
    session.close()


def test_an_atlas_without_a_label_is_shown_with_no_error(tiny_h5ad, tmp_path):
    atlas = ingest(tiny_h5ad, tmp_path / "nameless.zarr")
    session = LiveSession(finished(atlas, tmp_path / "run", 2))
    session.settle(timeout_s=0.0)
    status = session.status()
    assert not [alarm for alarm in status.alarms if "could not" in alarm]
    assert any("no flags and no predicted types" in note for note in status.notes)
    assert len(session.latent_map().xy) == atlas.n_cells
    assert session.prototypes().names == ()
    saved = session.label(np.arange(5), "first cells")
    assert saved.n_cells == 5
    session.close()
    atlas.labels.close()
