import math

import pytest

from livelatent.train.stage import Stage


def test_the_rate_rises_from_a_quarter_and_falls_to_zero_along_a_cosine():
    stage = Stage(name="s", trains=("a",), epochs=20, learning_rate=2.0, warmup_epochs=4)
    assert [stage.learning_rate_at(epoch) for epoch in (0.0, 2.0, 4.0, 12.0, 20.0)] == pytest.approx(
        [0.5, 1.25, 2, 1, 0]
    )
    assert stage.learning_rate_at(8.0) == pytest.approx(1 + math.cos(math.pi / 4))


def test_without_warm_up_it_starts_in_full():
    assert Stage(name="s", trains=("a",), learning_rate=3.0).learning_rate_at(0.0) == 3.0
