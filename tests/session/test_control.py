import pytest
import torch

from livelatent.models.beta_vae import BetaVAE
from livelatent.session.health import STARVED_SHARE, health_of, settable_of, training_alarms
from livelatent.session.live import LiveSession
from livelatent.stream.plan import StreamConfig
from livelatent.train.run import Run
from watched import CONFIG, small_run, until


@pytest.fixture
def session(own_atlas, tmp_path):
    session = LiveSession(small_run(own_atlas, tmp_path / "run"))
    yield session
    session.run.stop()
    session.close()
    own_atlas.labels.close()


def test_a_page_steps_a_paused_run_and_sets_what_the_stage_weighs(session):
    assert session.status().can.step
    assert session.answer("1", "step", {}).result == {"state": "paused"}
    until(lambda: session.run.status.step == 1)  # a page is answered after a second at most
    before = session.versions()
    got = session.answer("2", "set", {"learning_rate": 0.004, "weights": {"batch": 0}})
    assert got.ok
    until(lambda: session.run.settings.changes)
    assert session.run.settings.weights == {"type": 0.9, "centroid": 1.0, "batch": 0.0}
    settable = session.status().settable
    assert (settable.stage, settable.learning_rate, settable.n_changes) == ("representation", 0.004, 1)
    assert ("batch", 0.0, 0.0) in settable.weights
    after = session.versions()
    assert after["status"] > before["status"] and after["curves"] > before["curves"]  # the mark too, with no step
    assert session.curves().marks[-1].text == "learning rate 0.001 → 0.004, batch weight 0.1 → 0"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"learning_rate": "fast"}, "`learning_rate` must be a number"),
        ({"learning_rate": 7}, "at most 1"),
        ({"weights": [1]}, "`weights` must be an object"),
        ({"weights": {"<b>": 1}}, "weighs type, centroid, batch, and not '<b>'"),
        ({"weights": {"type": None}}, "must be a number"),
    ],
)
def test_a_setting_that_is_none_is_refused_in_words(session, args, said):
    answer = session.answer("1", "set", args)
    assert not answer.ok and said in answer.error
    assert session.run.settings.changes == ()


def test_a_run_that_trains_is_told_to_pause_before_a_step(session):
    session.answer("1", "start", {})
    session.run.pause()
    session.run.resume()
    if session.run.status.state == "training":
        assert "run.pause()" in session.answer("2", "step", {}).error


def test_health_is_the_streams_own_and_starved_anchors_are_said(own_atlas, tmp_path):
    """Eight cells a minibatch, of four types: many are alone with theirs."""
    from livelatent.models.cellular import Cellular

    config = StreamConfig(minibatch_cells=8, block_cells=8, buffer_cells=64)
    run = Run(Cellular(own_atlas, n_genes=40, n_latent=4), own_atlas, 2, tmp_path / "starved", config, "cpu")
    assert health_of(run) is None
    for _ in range(20):
        run.step()
    health, own = health_of(run), run.status.health
    assert (health.types, health.batches, health.minibatch_cells) == (own.types, own.batches, 8)
    assert health.lone_share == own.lone_cells / 8 > STARVED_SHARE
    (alarm,) = training_alarms(run)
    assert alarm.startswith(f"{health.lone_share:.0%} of the anchors") and "Balance" in alarm
    run.stop()
    run.wait()


def test_a_model_that_compares_no_cells_starves_none(own_atlas, tmp_path):
    config = StreamConfig(minibatch_cells=8, block_cells=8, buffer_cells=64)
    model = BetaVAE(own_atlas, n_genes=40, n_latent=4, n_hidden=8)
    run = Run(model, own_atlas, 2, tmp_path / "vae", config, "cpu")
    for _ in range(5):
        run.step()
    assert run.status.health.lone_cells > 0
    assert health_of(run).lone_share is None and training_alarms(run) == ()
    assert [name for name, *_ in settable_of(run).weights] == ["reconstruction", "kl"]
    run.stop()
    run.wait()


def test_a_loss_that_is_no_number_is_said_at_once_with_its_step(own_atlas, tmp_path):
    run = small_run(own_atlas, tmp_path / "run")
    for _ in range(2):
        run.step()
    with torch.no_grad():
        for parameter in run._model.encoder.parameters():
            parameter.fill_(float("nan"))
    assert training_alarms(run) == ()
    run.step()
    run.history.names()  # values are fetched when somebody looks
    (alarm,) = training_alarms(run)
    assert "is no number since step 3" in alarm and "lower the learning rate" in alarm
    run.stop()
    run.wait()
    assert run.stream == CONFIG


def test_after_the_end_nothing_can_be_set(finished_run):
    assert settable_of(finished_run) is None
