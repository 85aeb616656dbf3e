import dataclasses

import numpy as np
import pytest

from livelatent.errors import ResumeError
from livelatent.stream.plan import StreamConfig
from livelatent.stream.position import Position, hash_rows

ROWS = np.array([1, 5, 6], dtype=np.int64)
HERE = Position(3, 7, hash_rows(ROWS), StreamConfig(minibatch_cells=32, seed=2**63))


def test_json_gives_the_position_back():
    assert Position.from_json(HERE.to_json()) == HERE


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"epoch": 1, "step": 2, "rows_sha256": "x", "config": {"other": 1}}']
)
def test_other_text_is_refused(text):
    with pytest.raises(ResumeError, match="no saved position"):
        Position.from_json(text)


def test_other_rows_are_refused():
    HERE.check(ROWS, HERE.config)
    with pytest.raises(ResumeError, match="other cells"):
        HERE.check(ROWS[:2], HERE.config)


@pytest.mark.parametrize(
    "change", [{"minibatch_cells": 16}, {"block_cells": 8}, {"buffer_cells": 999}, {"seed": 1}, {"shuffle": False}]
)
def test_another_cut_is_refused_and_named(change):
    with pytest.raises(ResumeError, match=next(iter(change))):
        HERE.check(ROWS, dataclasses.replace(HERE.config, **change))


def test_reading_further_ahead_is_the_same_stream():
    HERE.check(ROWS, dataclasses.replace(HERE.config, groups_ahead=3))
