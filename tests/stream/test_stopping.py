"""A stream that is left, closed, or interrupted: every thread ends, and nobody waits for ever."""

import dataclasses
import signal
import subprocess
import sys
import threading

import pytest

from livelatent.stream.balance import Balance
from livelatent.stream.stream import Stream
from streamed import SMALL, bits, stream_threads
from watched import until

WAYS = {
    "natural": {},
    "balanced": {"balance": Balance(types=2, ring_cells=14)},
    "one buffer": {"buffer_cells": 1000},
}


@pytest.fixture(params=WAYS)
def config(request):
    return dataclasses.replace(SMALL, **WAYS[request.param])


@pytest.mark.parametrize("groups_ahead", [0, 1, 3])
def test_close_stops_the_threads_and_the_iterator_says_so(uneven, config, groups_ahead):
    config = dataclasses.replace(config, groups_ahead=groups_ahead)
    stream = Stream(uneven("uint16"), None, config)
    wanted = [bits(m) for m in stream.minibatches(0)]
    for n_before in (1, 4):
        minibatches = stream.minibatches(0)
        for step in range(n_before):
            assert bits(next(minibatches)) == wanted[step]
        if len(stream.rows) > config.buffer_cells:
            assert stream_threads() != []
        stream.close()
        assert stream_threads() == []
        with pytest.raises(RuntimeError, match="closed within this epoch; ask for its minibatches again"):
            next(minibatches)
        assert list(minibatches) == []
        assert [bits(m) for m in stream.minibatches(0, n_before)] == wanted[n_before:]
    assert stream_threads() == []


def test_close_before_after_and_twice_is_nothing(uneven):
    with Stream(uneven("uint16"), None, SMALL) as stream:
        stream.close()
        n_cells = sum(m.n_cells for m in stream.minibatches(0))
        stream.close()
        stream.close()
    assert n_cells == 211
    # Made, and never begun.
    minibatches = stream.minibatches(1)
    assert stream_threads() == []
    del minibatches


@pytest.mark.parametrize("step", [0, 1, 5, -1])
def test_a_loop_that_is_left_leaves_no_thread(uneven, config, step):
    stream = Stream(uneven("uint16"), None, config)
    step %= stream.n_steps
    for number, _ in enumerate(stream.minibatches(0)):
        if number == step:
            break
    assert stream_threads() == []
    with pytest.raises(ZeroDivisionError):
        for number, _ in enumerate(stream.minibatches(0)):
            if number == step:
                1 / 0  # noqa: B018
    assert stream_threads() == []
    minibatches = stream.minibatches(1)
    for _ in range(step + 1):
        next(minibatches)
    del minibatches
    assert stream_threads() == []


def test_close_from_another_thread_wakes_who_waits(uneven, monkeypatch):
    atlas = uneven("uint16")
    waits, go_on, read_stretches = threading.Event(), threading.Event(), atlas.matrix().read_stretches

    def slow(*arguments):
        waits.set()
        go_on.wait(30)
        read_stretches(*arguments)

    monkeypatch.setattr(atlas.matrix(), "read_stretches", slow)
    stream, said = Stream(atlas, None, SMALL), []

    def consume():
        try:
            for _ in stream.minibatches(0):
                pass
        except RuntimeError as error:
            said.append(str(error))

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert waits.wait(30)
    closing = threading.Thread(target=stream.close)
    closing.start()
    until(lambda: all(reader.is_closed for reader in stream._readers))
    # The stretch that is being read is finished first.
    go_on.set()
    for thread in (closing, consumer):
        thread.join(30)
        assert not thread.is_alive()
    assert len(said) == 1 and "closed within this epoch" in said[0]
    assert stream_threads() == []


# In processes of their own

PROGRAM = """
import dataclasses, signal, sys, threading, time
sys.path.insert(0, sys.argv[2])
import livelatent as ll
from livelatent.atlas.stored_matrix import StoredMatrix
from livelatent.stream.balance import Balance
from livelatent.stream.stream import Stream
from streamed import SMALL, stream_threads

signal.signal(signal.SIGINT, signal.default_int_handler)
atlas = ll.Atlas.open(sys.argv[1])
stream = Stream(atlas, None, dataclasses.replace(SMALL, balance=Balance(types=2, ring_cells=14)))
n_cells = sum(m.n_cells for m in stream.minibatches(0))

read_stretches = StoredMatrix.read_stretches

def slow_disk(*arguments):
    time.sleep(0.02)
    read_stretches(*arguments)

def wait_until_gone():
    for _ in range(1000):
        if not stream_threads():
            return
        time.sleep(0.01)
    raise AssertionError(stream_threads())
"""
INTERRUPTED_WHILE_IT_WAITS = """
# A signal each few milliseconds later: while it waits, while it makes, while the consumer works.
StoredMatrix.read_stretches = slow_disk
for turn in range(15):
    stream = Stream(atlas, None, dataclasses.replace(SMALL, groups_ahead=turn % 3))
    timer = threading.Timer(0.007 * turn, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    try:
        timer.start()
        for epoch in range(100):
            for m in stream.minibatches(epoch):
                sum(range(20_000))
    except KeyboardInterrupt:
        pass
    timer.join()
    wait_until_gone()
StoredMatrix.read_stretches = read_stretches
assert sum(m.n_cells for m in stream.minibatches(0)) == 211
StoredMatrix.read_stretches = slow_disk
for epoch in range(100_000):
    for m in stream.minibatches(epoch):
        print("ready", flush=True)
"""
INTERRUPTED_IN_ITS_OWN_CODE_AND_NEVER_CLOSED = """
try:
    for m in stream.minibatches(0):
        print("ready", flush=True)
        time.sleep(100)
except KeyboardInterrupt:
    wait_until_gone()
StoredMatrix.read_stretches = slow_disk
first, second = stream.minibatches(0), Stream(atlas, None, SMALL).minibatches(1)
next(first), next(second)
assert stream_threads()
print("the end", flush=True)
"""


@pytest.fixture
def started(uneven, pytestconfig):
    running = []

    def start(program):
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM + program, str(uneven("uint16").path)]
        command.append(str(pytestconfig.rootpath / "tests"))
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_wherever_ctrl_c_meets_it_no_thread_is_left_and_at_last_no_process(started):
    process = started(INTERRUPTED_WHILE_IT_WAITS)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    process.send_signal(signal.SIGINT)
    # Within seconds; a minute is for a machine with other things to do.
    _, error = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in error


def test_ctrl_c_in_the_consumers_code_leaves_no_thread_and_a_process_ends_without_close(started):
    process = started(INTERRUPTED_IN_ITS_OWN_CODE_AND_NEVER_CLOSED)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (out, error, process.returncode) == ("the end\n", "", 0)
