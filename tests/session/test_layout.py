import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from livelatent.session.layout import LayoutError, LayoutWorker
from livelatent.session.pipes import receive, send


@pytest.fixture(scope="session")
def worker(finished):
    """The finished session's, warm already."""
    assert finished.lookout.worker.is_ready
    return finished.lookout.worker


def _two_clumps(n=60):
    latent = np.random.default_rng(1).normal(size=(n, 6))
    latent[: n // 2] += 12
    return latent


def test_two_clumps_stay_apart_in_a_layout(worker):
    xy = worker.layout(_two_clumps())
    assert xy.shape == (60, 2) and xy.dtype == np.float32
    first, second = xy[:30], xy[30:]
    between = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert between > 2 * max(first.std(), second.std()) / 2


@pytest.mark.parametrize("n", [1, 2, 4, 5, 14, 15])
def test_a_handful_of_cells_has_a_layout_too(worker, n):
    xy = worker.layout(_two_clumps()[:n])
    assert xy.shape == (n, 2) and np.isfinite(xy).all()


def test_a_later_layout_starts_from_the_last_one_and_is_repeatable(worker):
    latent = _two_clumps()
    first = worker.layout(latent)
    assert (worker.layout(latent, first) == worker.layout(latent, first)).all()


def test_what_umap_refuses_is_an_error_and_the_worker_lives_on(worker):
    bad = _two_clumps()
    bad[3, 2] = np.nan
    with pytest.raises(LayoutError, match="layout failed"):
        worker.layout(bad)
    assert worker.layout(_two_clumps()).shape == (60, 2)


def test_a_killed_worker_is_an_error_not_a_wait():
    worker = LayoutWorker()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(LayoutError):
        worker.layout(_two_clumps())
    assert not worker.is_ready
    worker.close()


def test_the_worker_ends_when_its_parent_does():
    process = subprocess.Popen(
        [sys.executable, "-m", "livelatent.session.layout_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdout.close()


def test_a_message_comes_back_as_it_was_sent(tmp_path):
    arrays = [np.arange(6).reshape(2, 3), np.zeros((0, 2), np.float32), np.array(2.5)]
    with open(tmp_path / "pipe", "wb") as pipe:
        send(pipe, {"seed": 3}, *arrays)
    with open(tmp_path / "pipe", "rb") as pipe:
        header, got = receive(pipe)
        assert header == {"seed": 3}
        for a, b in zip(arrays, got, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        with pytest.raises(EOFError):
            receive(pipe)


def test_objects_do_not_pass_the_pipe(tmp_path):
    with open(tmp_path / "pipe", "wb") as pipe, pytest.raises(ValueError, match="pickle"):
        send(pipe, {}, np.array([object()]))
