import json

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from livelatent.errors import SettingError
from livelatent.models.beta_vae import BetaVAE
from livelatent.models.cellular import Cellular
from livelatent.stream.plan import StreamConfig
from livelatent.train.loop import train
from livelatent.train.run import Run
from livelatent.train.settings import Change, changed, in_words
from livelatent.train.stage import Stage
from livelatent.train.state import TrainState
from watched import until

torch.set_num_threads(1)
CONFIG = StreamConfig(minibatch_cells=100, block_cells=16, buffer_cells=200)
STAGE = Stage(name="encoder", trains=("encoder.",), weights={"type": 0.9, "batch": 0.1}, epochs=10)


def make(atlas, folder, epochs=4, **settings):
    return Run(Cellular(atlas, n_genes=40, n_latent=8, **settings), atlas, epochs, folder, CONFIG, "cpu")


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_what_is_set_replaces_what_it_names_and_nothing_else():
    after = changed(STAGE, Change(stage="encoder", weights={"batch": 3}))
    assert (after.weights, after.learning_rate) == ({"type": 0.9, "batch": 3.0}, STAGE.learning_rate)
    assert changed(STAGE, Change(stage="encoder", learning_rate=0.5)).learning_rate_at(0.0) == 0.5
    assert in_words(STAGE, after) == "batch weight 0.1 → 3"
    assert in_words(STAGE, STAGE) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"learning_rate": 1.5}, "at most 1"),
        ({"learning_rate": True}, "above 0"),
        ({"weights": {"batch": -0.1}}, "0 or more"),
        ({"weights": {"batch": float("inf")}}, "0 or more"),
        ({"weights": {"kl": 1.0}}, "weighs type, batch, and not 'kl'"),
        ({"weights": {"type": 0, "batch": 0}}, "nothing is learned"),
    ],
)
def test_what_can_not_train_is_refused(change, said):
    with pytest.raises(SettingError, match=said):
        changed(STAGE, Change(stage="encoder", **change))


def test_a_paused_run_trains_one_minibatch_a_step_and_is_where_training_on_would_be(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run")
    assert run.step().state == "paused"  # not started before: it begins paused
    for number in range(2, 7):
        assert run.step().step == number
    assert run.history.series("type", "train")[0].tolist() == [1, 2, 3, 4, 5, 6]
    until(lambda: json.loads((run.folder / "state.json").read_text())["step"] == 6)  # a pause is kept
    stepped = weights_of(run.snapshot().model)
    run.stop()
    run.wait()
    model = Cellular(tiny_atlas, n_genes=40, n_latent=8)
    for step in train(model, tiny_atlas, CONFIG, epochs=4, device="cpu"):
        if step.number == 6:
            break
    alone = weights_of(model)
    assert all(torch.allclose(alone[name].double(), stepped[name].double(), rtol=0, atol=1e-5) for name in alone)


def test_a_run_that_trains_takes_no_single_step_and_a_stepped_one_goes_on(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=500, patience=1000)
    run.start()
    with pytest.raises(RuntimeError, match=r"run\.pause\(\)"):
        run.step()
    run.pause()
    step = run.status.step
    assert run.step().step == step + 1
    run.resume()
    until(lambda: run.status.step > step + 3)
    run.stop()
    assert run.wait().state == "stopped"


def test_single_steps_reach_the_end_of_the_run(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", epochs=1)
    whole = make(tiny_atlas, tmp_path / "whole", epochs=1)
    whole.start()
    n_steps = whole.wait().step
    for _ in range(n_steps):
        run.step()
    run.resume()  # the last step was done; what is left is to end
    assert run.wait().state == "done"
    assert same(weights_of(run.model), weights_of(whole.model))
    with pytest.raises(SettingError, match="no step left"):
        run.set(learning_rate=0.1)


def test_a_rate_set_between_steps_holds_from_the_next_step_on(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run", warmup_epochs=0)
    run.step()
    before = weights_of(run.snapshot().model)
    run.set(learning_rate=1e-12)
    run.step()
    after = weights_of(run.snapshot().model)
    moved = max(float((after[name] - before[name]).abs().max()) for name in before if name.endswith("weight"))
    assert moved < 1e-9  # 1e-3 moves every weight by about 1e-3
    run.set(learning_rate=1e-3)
    run.step()
    assert not same(after, weights_of(run.snapshot().model))
    run.stop()
    run.wait()


def test_a_run_shows_its_own_rate_and_that_of_now(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run")
    run.set(learning_rate=0.008, weights={"type": 0.5})
    now = run.settings
    assert (now.stage, now.learning_rate, now.weights["type"]) == ("representation", 0.008, 0.5)
    assert now.learning_rate_now == 0.002  # the first step of the warm-up: a quarter
    run.step()
    assert 0.002 < run.settings.learning_rate_now < 0.008
    run.stop()
    run.wait()


def test_a_vae_names_its_own_weights_and_their_warm_up_goes_on(tiny_atlas, tmp_path):
    model = BetaVAE(tiny_atlas, n_genes=60, n_latent=4, n_hidden=8, kl_warmup_epochs=4)
    run = Run(model, tiny_atlas, 50, tmp_path / "run", CONFIG, "cpu")
    n_steps = -(-len(tiny_atlas.rows("train")) // 100)
    assert run.set(weights={"kl": 2}).weights == {"reconstruction": 1.0, "kl": 2.0}
    run.step()
    assert run.settings.weights_now["kl"] == pytest.approx(2 / (4 * n_steps))
    assert run.settings.weights_now["reconstruction"] == 1.0
    run.stop()
    run.wait()


def test_what_was_set_is_a_mark_and_a_resumed_run_goes_on_with_it(tiny_atlas, tmp_path):
    """Stopped and resumed, a run that was changed ends with the weights of one that was changed and never stopped."""
    ends = []
    for is_resumed in (False, True):
        run = make(tiny_atlas, tmp_path / str(is_resumed), epochs=2)
        for _ in range(3):
            run.step()
        run.set(learning_rate=4e-3, weights={"batch": 0.7})
        run.step()
        if is_resumed:
            run.stop()
            run.wait()
            run = Run.resume(run.folder)
            assert run.settings.weights["batch"] == 0.7
            assert [(change.step, change.learning_rate) for change in run.settings.changes] == [(3, 4e-3)]
            run.start()
        run.resume()
        assert run.wait().state == "done"
        assert (3, "learning rate 0.001 → 0.004, batch weight 0.1 → 0.7") in run.history.marks
        ends.append(weights_of(run.model))
    assert same(*ends)


def test_a_state_of_before_settings_existed_is_read(tiny_atlas, tmp_path):
    state = TrainState.start(Cellular(tiny_atlas, n_genes=20, n_latent=4))
    state.apply(Change(stage="representation", learning_rate=0.5))
    state.save(tmp_path)
    path = tmp_path / "state.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    assert facts.pop("changes") == [{"stage": "representation", "step": 0, "learning_rate": 0.5, "weights": {}}]
    safetensors.torch.save_file(tensors, path, metadata={"state": json.dumps(facts)})
    old = TrainState.start(Cellular(tiny_atlas, n_genes=20, n_latent=4))
    old.restore(tmp_path)
    assert (old.changes, old.stage.learning_rate) == ((), 1e-3)


def test_other_weights_forget_the_lowest_total_so_far(tiny_atlas):
    """Weights divided by ten would make every later epoch the best, and times ten none."""
    state = TrainState.start(Cellular(tiny_atlas, n_genes=20, n_latent=4))
    state.end_epoch(0.25)
    state.apply(Change(stage="representation", learning_rate=0.01))
    assert state.best_loss == 0.25
    state.apply(Change(stage="representation", weights={"type": 9.0}))
    assert (state.best_loss, state.best_epoch, state.best) == (np.inf, 1, {})
    state.end_epoch(2.5)
    assert state.best_loss == 2.5


def test_a_setting_for_a_stage_that_has_just_ended_is_said_to_be_none(tiny_atlas, tmp_path):
    run = make(tiny_atlas, tmp_path / "run")
    run._apply(Change(stage="classifier", learning_rate=0.5))
    assert run.settings.learning_rate == 1e-3
    assert run.history.marks == ((0, "not set: the stage classifier had ended"),)
