import dataclasses

import numpy as np
import pytest

from livelatent.errors import ResumeError
from livelatent.stream.balance import Balance
from livelatent.stream.plan import StreamConfig
from livelatent.stream.position import Position, hash_rows

ROWS = np.array([1, 5, 6], dtype=np.int64)
HERE = Position(3, 7, hash_rows(ROWS), StreamConfig(minibatch_cells=32, seed=2**63))


BALANCED = dataclasses.replace(HERE.config, balance=Balance(types=4, temperature=0.5, ring_cells=64))
# What livelatent wrote before there was a balance.
EARLIER = (
    '{"epoch": 3, "step": 7, "rows_sha256": "5c1f", "config": {"minibatch_cells": 32, "block_cells": 512, '
    '"buffer_cells": 16384, "groups_ahead": 1, "seed": 9223372036854775808, "shuffle": true}}'
)


@pytest.mark.parametrize("config", [HERE.config, BALANCED], ids=["natural", "balanced"])
def test_json_gives_the_position_back(config):
    here = dataclasses.replace(HERE, config=config)
    assert Position.from_json(here.to_json()) == here


def test_json_from_before_balance_is_read_and_still_written():
    here = Position.from_json(EARLIER)
    assert here == Position(3, 7, "5c1f", HERE.config)
    assert here.to_json() == EARLIER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"epoch": 1, "step": 2, "rows_sha256": "x", "config": {"other": 1}}',
        '{"epoch": 1, "step": 2, "rows_sha256": "x", "config": {"balance": {"types": 0}}}',
        '{"epoch": 1, "step": 2, "rows_sha256": "x", "config": []}',
    ],
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


def test_another_balance_is_refused_and_named():
    here = dataclasses.replace(HERE, config=BALANCED)
    here.check(ROWS, BALANCED)
    for other in (None, Balance(types=4, temperature=0.5, ring_cells=65)):
        with pytest.raises(ResumeError, match=r"balance Balance.* then, "):
            here.check(ROWS, dataclasses.replace(BALANCED, balance=other))


def test_reading_further_ahead_is_the_same_stream():
    HERE.check(ROWS, dataclasses.replace(HERE.config, groups_ahead=3))
