import numpy as np
import pytest
import torch

from livelatent.errors import LabelError, ResumeError
from livelatent.models.cellular import Cellular
from livelatent.stream.plan import StreamConfig
from livelatent.train.loop import default_stream, stage_rows, train
from livelatent.train.state import TrainState

torch.set_num_threads(1)
CONFIG = StreamConfig(minibatch_cells=100, block_cells=16, buffer_cells=200, seed=11)


def make(atlas, **settings):
    return Cellular(atlas, n_genes=60, n_latent=10, **settings)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


def test_steps_count_epochs_and_stages_and_validate_at_each_epochs_end(tiny_atlas):
    model = make(tiny_atlas)
    steps = list(train(model, tiny_atlas, CONFIG, epochs=3, device="cpu"))
    n_train = len(tiny_atlas.rows("train", labelled=True))
    per_epoch = -(-n_train // 100)
    assert [step.number for step in steps] == list(range(1, 6 * per_epoch + 1))
    assert [step.epoch for step in steps] == [epoch for epoch in range(6) for _ in range(per_epoch)]
    assert [step.stage for step in steps] == ["representation"] * 3 * per_epoch + ["classifier"] * 3 * per_epoch
    assert [step.number for step in steps if step.ends_epoch] == [per_epoch * k for k in range(1, 7)]
    assert all((step.validation is not None) == step.ends_epoch for step in steps)
    assert set(steps[-1].validation) == {"cross_entropy", "accuracy", "loss"}
    assert set(steps[0].terms) == {"type", "batch", "centroid", "loss"}
    assert not any(tensor.requires_grad for step in steps for tensor in step.terms.values())
    assert not model.training


def test_training_separates_the_types(tiny_atlas):
    model = make(tiny_atlas)
    steps = list(train(model, tiny_atlas, epochs=12, device="cpu"))
    first = next(step for step in steps if step.ends_epoch)
    last = [step for step in steps if step.stage == "representation" and step.ends_epoch][-1]
    assert last.validation["type"] < 0.5 * first.validation["type"]
    assert steps[-1].validation["accuracy"] > 0.9


def test_two_trainings_of_one_seed_are_equal_and_spare_the_callers_random_state(tiny_atlas):
    got = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        wanted = torch.rand(2)
        torch.manual_seed(noise)
        model = make(tiny_atlas)
        for _ in train(model, tiny_atlas, CONFIG, epochs=2, device="cpu"):
            pass
        assert torch.equal(torch.rand(2), wanted)
        got.append(weights(model))
    assert same(*got)


def test_a_stage_trains_its_own_parameters_alone(tiny_atlas):
    model = make(tiny_atlas)
    before = weights(model)
    for step in train(model, tiny_atlas, CONFIG, epochs=1, device="cpu"):
        if step.stage == "representation" and step.ends_epoch:
            between = weights(model)
    after = weights(model)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], between[name])}
    assert moved == {"encoder", "temperature"}
    moved = {name.split(".")[0] for name in before if not torch.equal(between[name], after[name])}
    assert moved == {"classifier"}


@pytest.mark.parametrize("at", [5, 10, 12, 20, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 4, 7, 17))])
def test_a_saved_state_goes_on_to_the_same_weights(tiny_atlas, tmp_path, at):
    whole = make(tiny_atlas)
    for _ in train(whole, tiny_atlas, CONFIG, epochs=2, device="cpu"):
        pass
    broken = make(tiny_atlas)
    state = TrainState.start(broken, epochs=2)
    for step in train(broken, tiny_atlas, CONFIG, device="cpu", state=state):
        if step.number == at:
            break
    state.save(tmp_path)
    model = make(tiny_atlas)
    state = TrainState.start(model, epochs=2)
    state.restore(tmp_path)
    assert state.step == min(at, 20)
    for step in train(model, tiny_atlas, CONFIG, device="cpu", state=state):
        assert step.number > at
    assert same(weights(model), weights(whole))


def test_a_state_refuses_other_rows_and_other_cuts(tiny_atlas, tmp_path):
    model = make(tiny_atlas)
    state = TrainState.start(model, epochs=2)
    next(train(model, tiny_atlas, CONFIG, device="cpu", state=state))
    with pytest.raises(ResumeError, match="other cells"):
        next(train(model, tiny_atlas, CONFIG, device="cpu", state=state, rows=np.arange(300)))
    with pytest.raises(ResumeError, match="minibatch_cells 100 then, 50 now"):
        next(train(model, tiny_atlas, StreamConfig(minibatch_cells=50), device="cpu", state=state))


def test_the_best_epochs_weights_are_kept_and_the_stage_ends_early(tiny_atlas):
    model = make(tiny_atlas, patience=2, learning_rate=0.05)
    state = TrainState.start(model, epochs=40)
    losses, kept = [], []
    for step in train(model, tiny_atlas, CONFIG, device="cpu", state=state):
        if step.stage != "representation":
            break
        if step.ends_epoch:
            losses.append(step.validation["loss"])
            kept.append(weights(model))
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 40
    assert state.epochs == len(losses) + 40
    encoder = {name for name in kept[0] if name.startswith("encoder")}
    assert all(torch.equal(kept[-1][name], kept[best][name]) for name in encoder)


def test_only_the_rows_given_are_used(tiny_atlas):
    model = make(tiny_atlas)
    rows = np.arange(0, tiny_atlas.n_cells, 2)
    used = stage_rows(model, tiny_atlas, model.stages[0], "train", rows)
    assert set(used) == set(rows) & set(tiny_atlas.rows("train", labelled=True))


def test_an_atlas_whose_labels_the_model_does_not_know_is_refused(tiny_atlas):
    model = make(tiny_atlas)
    unlabelled = tiny_atlas.rows(labelled=False)
    with pytest.raises(LabelError, match="no training cell has a label that the model knows"):
        next(train(model, tiny_atlas, CONFIG, rows=unlabelled, device="cpu"))


def test_without_validation_cells_training_goes_on_without_validation(tiny_atlas):
    model = make(tiny_atlas)
    steps = list(train(model, tiny_atlas, CONFIG, epochs=1, rows=tiny_atlas.rows("train"), device="cpu"))
    assert steps[-1].validation is None
    assert steps[-1].ends_epoch


def test_a_loss_that_is_not_finite_ends_training(tiny_atlas):
    model = make(tiny_atlas)
    with torch.no_grad():
        model.encoder[1].weight[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite in epoch 0"):
        list(train(model, tiny_atlas, CONFIG, device="cpu"))


@pytest.mark.parametrize(("n_cells", "wanted"), [(1, 128), (560, 128), (2000, 256), (4100, 512), (10**7, 1024)])
def test_the_minibatch_suits_the_number_of_cells(n_cells, wanted):
    assert default_stream(n_cells).minibatch_cells == wanted
