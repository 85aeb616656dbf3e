import json

import pytest
import torch

from livelatent.errors import ResumeError
from livelatent.models.cellular import Cellular
from livelatent.train.state import TrainState

torch.set_num_threads(1)


@pytest.fixture
def saved(tiny_atlas, tmp_path):
    state = TrainState.start(Cellular(tiny_atlas, n_genes=20, n_latent=4))
    state.save(tmp_path)
    return state, tmp_path


def test_epochs_are_those_of_the_longest_stage(tiny_atlas):
    model = Cellular(tiny_atlas, n_genes=20, epochs=50, classifier_epochs=25)
    assert [stage.epochs for stage in TrainState.start(model, epochs=8).stages] == [8, 4]
    assert [stage.epochs for stage in TrainState.start(model).stages] == [50, 25]
    assert [stage.epochs for stage in TrainState.start(model, epochs=1).stages] == [1, 1]
    with pytest.raises(ValueError, match="at least 1"):
        TrainState.start(model, epochs=0)


def test_the_facts_for_people_say_what_the_file_says(saved):
    state, folder = saved
    facts = json.loads((folder / "state.json").read_text())
    assert (facts["format"], facts["stage"], facts["step"], facts["position"]) == (1, state.stage.name, 0, None)


def test_no_state_and_damaged_states_are_refused(saved):
    state, folder = saved
    path = folder / "state.safetensors"
    content = path.read_bytes()
    for wrong in (content[:-9], b"", content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(wrong)
        with pytest.raises(ResumeError, match=r"state\.safetensors"):
            state.restore(folder)
    path.unlink()
    with pytest.raises(ResumeError, match="start a new one"):
        state.restore(folder)


def test_a_state_of_another_model_is_refused(saved, tiny_atlas):
    _, folder = saved
    other = TrainState.start(Cellular(tiny_atlas, n_genes=24, n_latent=4))
    with pytest.raises(ResumeError, match="can't be read"):
        other.restore(folder)
