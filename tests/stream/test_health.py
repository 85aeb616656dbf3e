import dataclasses
import threading
from collections import Counter

import numpy as np
import pytest

from livelatent.stream import health as health_module
from livelatent.stream.balance import Balance
from livelatent.stream.health import MEMORY, Health, Meter, Mixture, mixture
from livelatent.stream.plan import plan_epoch
from livelatent.stream.read import group_spec
from livelatent.stream.stream import Stream
from streamed import SMALL


def by_hand(label, batch):
    """Labels and batches that some cell has, and labelled cells that are alone with theirs."""
    of_label = Counter(code for code in label if code >= 0)
    of_batch = {code for code in batch if code >= 0}
    return Mixture(len(label), len(of_label), len(of_batch), sum(n == 1 for n in of_label.values()))


def recent(values):
    """Their mean, each counting a hundredth less than the one after it."""
    weight = MEMORY ** np.arange(len(values))[::-1]
    return float((weight * values).sum() / weight.sum())


@pytest.mark.parametrize(
    ("label", "batch"),
    [
        ([], []),
        ([-1, -1], [-1, -1]),
        ([0], [0]),
        ([2, 2, 5, -1, -1, 7, 7, 9], [0, 1, 0, 3, 3, 3, -1, 0]),
        ([40_000, 0, 0, 0], [-1, 7, 7, 7]),
    ],
)
def test_a_mixture_is_what_counting_gives(label, batch):
    got = mixture(np.array(label, np.int32), np.array(batch, np.int32))
    assert got == by_hand(label, batch)
    assert all(type(value) is int for value in dataclasses.astuple(got))


def test_before_the_first_minibatch_all_is_zero(uneven):
    assert Meter().health(0) == Health()
    with Stream(uneven("uint16"), None, SMALL) as stream:
        assert stream.health() == Health()


def test_rates_and_shares_follow_the_clock(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(health_module.time, "perf_counter", lambda: clock[0])
    meter = Meter()
    clock[0] += 50  # nobody's time
    meter.begins()
    waits, works, cells = [0.5, 0.0, 0.25, 2.0], [0.0, 1.0, 0.75, 3.0], [10, 30, 20, 40]
    for wait, work, n_cells in zip(waits, works, cells, strict=True):
        clock[0] += work
        meter.asked()
        clock[0] += wait
        meter.gives(Mixture(n_cells, 2, 1, 0), 0.5)
    found = meter.health(7)
    spent = recent(np.add(waits, works))
    assert found.wait_share == pytest.approx(recent(waits) / spent)
    assert found.cells_per_s == pytest.approx(recent(cells) / spent)
    assert (found.types, found.batches, found.lone_cells, found.groups_ready) == pytest.approx((2, 1, 0, 0.5))
    assert found.bytes_read == 7
    # A pause between epochs is nobody's time either.
    clock[0] += 1000
    meter.begins()
    assert meter.health(7) == found


def test_what_is_long_past_counts_for_nothing():
    meter = Meter()
    for types in [9] * 300 + [2] * 1000:
        meter.gives(Mixture(5, types, 1, types), 1.0)
    assert meter.health(0).types == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("balance", [None, Balance(types=2, ring_cells=14)], ids=["natural", "balanced"])
@pytest.mark.parametrize("groups_ahead", [0, 1])
def test_a_streams_health_is_that_of_the_minibatches_it_gave(uneven, balance, groups_ahead):
    atlas = uneven("uint16")
    held = []
    with Stream(atlas, None, dataclasses.replace(SMALL, balance=balance, groups_ahead=groups_ahead)) as stream:
        for epoch in range(2):
            for m in stream.minibatches(epoch):
                held.append(by_hand(m.label.tolist(), m.batch.tolist()))
                found = stream.health()
                for name in ("types", "batches", "lone_cells"):
                    assert getattr(found, name) == pytest.approx(recent([getattr(one, name) for one in held]))
                assert found.cells_per_s > 0
                assert 0 <= found.wait_share <= 1
                assert 0 <= found.groups_ready <= 1
        assert stream.health().lone_cells > 0 or balance is not None


def decoded_bytes(stream, epoch):
    """Of the values and gene numbers from the first to the last row wanted of each block."""
    matrix = stream.atlas.matrix()
    per_value = matrix.data_type.itemsize + matrix.index_type.itemsize
    n_values = 0
    for group in plan_epoch(stream.rows, stream.config, epoch):
        spec = group_spec(group.rows(stream.rows), stream.config.block_cells, stream._together)
        n_values += sum(int(matrix.indptr[b] - matrix.indptr[a]) for part in spec.parts for a, b in part.stretches)
    return per_value * n_values


@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize("kind", ["uint16", "float64"])
def test_bytes_read_are_those_decoded_for_scattered_cells_too(uneven, kind, step):
    with Stream(uneven(kind), np.arange(0, 211, step), dataclasses.replace(SMALL, buffer_cells=16)) as stream:
        wanted = 0
        for epoch in range(3):
            for _ in stream.minibatches(epoch):
                pass
            wanted += decoded_bytes(stream, epoch)
            assert stream.health().bytes_read == wanted > 0


def test_bytes_of_rows_that_fit_one_buffer_are_read_once(uneven):
    with Stream(uneven("uint16"), None, dataclasses.replace(SMALL, buffer_cells=1000)) as stream:
        for epoch in range(3):
            assert sum(m.n_cells for m in stream.minibatches(epoch)) == 211
        assert stream.health().bytes_read == decoded_bytes(stream, 0)


def test_bytes_of_an_epoch_that_was_left_are_counted(uneven):
    with Stream(uneven("uint16"), None, SMALL) as stream:
        for _ in stream.minibatches(0):
            break
        n_bytes = stream.health().bytes_read
        assert 0 < n_bytes < decoded_bytes(stream, 0)
        list(stream.minibatches(1))
        assert stream.health().bytes_read == n_bytes + decoded_bytes(stream, 1)


def test_groups_are_ready_when_the_consumer_takes_its_time(uneven):
    pause = threading.Event()
    with Stream(uneven("uint16"), None, SMALL) as stream:
        for _ in stream.minibatches(0):
            pause.wait(0.01)
        assert stream.health().groups_ready > 0.5
        assert stream.health().wait_share < 0.9
