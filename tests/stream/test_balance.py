import dataclasses

import pytest

from livelatent.stream.balance import Balance
from livelatent.stream.plan import StreamConfig


@pytest.mark.parametrize(
    "wrong",
    [{"types": 0}, {"ring_cells": 0}, {"temperature": -0.1}, {"temperature": 1.1}, {"temperature": float("nan")}],
)
def test_a_balance_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* must|must .*{next(iter(wrong))}"):
        Balance(**wrong)


def test_a_minibatch_must_hold_a_cell_of_each_type():
    StreamConfig(minibatch_cells=16, balance=Balance(types=16))
    with pytest.raises(ValueError, match="cells of 17 types, so minibatch_cells must"):
        StreamConfig(minibatch_cells=16, balance=Balance(types=17))


def test_a_ring_must_hold_what_a_minibatch_takes_of_a_type():
    StreamConfig(minibatch_cells=100, balance=Balance(types=3, ring_cells=33))
    with pytest.raises(ValueError, match=r"takes 33 cells .* ring_cells must"):
        StreamConfig(minibatch_cells=100, balance=Balance(types=3, ring_cells=32))


def test_a_balance_in_store_order_is_refused():
    with pytest.raises(ValueError, match="shuffle must be True"):
        StreamConfig(balance=Balance(), shuffle=False)


def test_a_config_comes_back_from_its_dict():
    config = StreamConfig(seed=7, balance=Balance(types=3, temperature=0.25, ring_cells=900))
    assert StreamConfig.from_dict(config.to_dict()) == config


def test_a_config_without_balance_has_no_word_of_it():
    fields = StreamConfig(seed=7).to_dict()
    earlier = ["minibatch_cells", "block_cells", "buffer_cells", "groups_ahead", "seed", "shuffle"]
    assert list(fields) == earlier
    assert StreamConfig.from_dict(fields) == StreamConfig(seed=7)
    assert dataclasses.replace(StreamConfig(seed=7), balance=Balance()) != StreamConfig(seed=7)
