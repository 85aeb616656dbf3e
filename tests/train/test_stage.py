import math

import pytest
import torch

from livelatent.train.schedule import Schedule
from livelatent.train.stage import Stage


def test_the_rate_rises_from_a_quarter_and_falls_to_zero_along_a_cosine():
    stage = Stage(name="s", trains=("a",), epochs=20, learning_rate=2.0, warmup_epochs=4)
    assert [stage.learning_rate_at(epoch) for epoch in (0.0, 2.0, 4.0, 12.0, 20.0)] == pytest.approx(
        [0.5, 1.25, 2, 1, 0]
    )
    assert stage.learning_rate_at(8.0) == pytest.approx(1 + math.cos(math.pi / 4))


def test_without_warm_up_it_starts_in_full():
    assert Stage(name="s", trains=("a",), learning_rate=3.0).learning_rate_at(0.0) == 3.0


def test_a_rate_that_does_not_decay_stays_after_its_warm_up():
    stage = Stage(name="s", trains=("a",), epochs=20, learning_rate=2.0, warmup_epochs=4, decay="none")
    assert [stage.learning_rate_at(epoch) for epoch in (0.0, 4.0, 19.5)] == [0.5, 2, 2]


def test_a_model_sees_the_weights_of_the_present_step():
    stage = Stage(
        name="s",
        trains=("a",),
        weights={"fit": 3.0, "kl": 0.5, "mi": 2.0},
        schedules={"kl": Schedule(rise_epochs=4), "mi": Schedule(wait_epochs=2, rise_epochs=2)},
    )
    assert stage.at(0.0).weights == {"fit": 3, "kl": 0, "mi": 0}
    assert stage.at(3.0).weights == {"fit": 3, "kl": 0.375, "mi": 1}
    assert stage.in_full().weights == stage.at(9.0).weights == stage.weights
    assert stage.at(3.0).at(0.0) == stage.at(3.0)


def test_a_shorter_stage_has_its_whole_warm_up_and_a_longer_one_the_same():
    stage = Stage(name="s", trains=("a",), weights={"kl": 1.0}, schedules={"kl": Schedule(rise_epochs=10)}, epochs=40)
    assert stage.lasting(8).at(1.0).weights == {"kl": 0.5}
    assert stage.lasting(80).at(5.0).weights == {"kl": 0.5}


def test_a_schedule_of_a_term_that_has_no_weight_is_refused():
    with pytest.raises(ValueError, match="schedules kl, mi, and weighs no such term"):
        Stage(name="s", trains=("a",), weights={"fit": 1.0}, schedules={"mi": Schedule(), "kl": Schedule()})


def test_the_optimiser_is_adam_with_the_stages_eps():
    model = torch.nn.Linear(2, 1)
    assert Stage(name="s", trains=("weight",), eps=0.01).optimizer(model).defaults["eps"] == 0.01
