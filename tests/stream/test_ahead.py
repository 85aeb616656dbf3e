import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from livelatent.stream.ahead import ahead


class Log:
    """Who did which job."""

    def __init__(self, n_jobs, fails=()):
        self.done = []
        self.n_made = 0
        self.n_jobs, self.fails = n_jobs, fails

    def jobs(self):
        for number in range(self.n_jobs):
            self.n_made += 1
            yield functools.partial(self._do, number)

    def _do(self, number):
        self.done.append((number, threading.current_thread()))
        if number in self.fails:
            raise OSError(f"job {number}")
        return number

    def numbers(self):
        return sorted(number for number, _ in self.done)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def stuck():
    """A pool whose thread is busy until it is told."""
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go_on.wait)
        yield pool, go_on
        go_on.set()


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_ahead", [0, 1, 2, 50])
def test_results_come_in_order_and_each_job_is_done_once(n_ahead, n_threads):
    log = Log(20)
    with ThreadPoolExecutor(n_threads) as pool:
        assert list(ahead(log.jobs(), pool, n_ahead)) == list(range(20))
    assert log.numbers() == list(range(20))


@pytest.mark.parametrize("n_ahead", [0, 1, 3])
def test_no_more_are_begun_than_was_said(pool, n_ahead):
    log = Log(20)
    results = ahead(log.jobs(), pool, n_ahead)
    for number in range(10):
        assert next(results) == number
        assert log.n_made == number + 1 + n_ahead
    results.close()


def test_those_ahead_are_done_without_being_asked_for(pool):
    log = Log(20)
    results = ahead(log.jobs(), pool, 2)
    next(results)
    pool.submit(lambda: None).result()  # behind them
    assert log.numbers() == [0, 1, 2]
    assert all(thread is not threading.current_thread() for number, thread in log.done if number)


def test_whoever_asks_does_what_the_pool_has_not_come_to(stuck):
    log = Log(5)
    assert list(ahead(log.jobs(), stuck[0], 2)) == list(range(5))
    assert {thread for _, thread in log.done} == {threading.current_thread()}


def test_with_none_ahead_the_pool_does_nothing(pool):
    log = Log(5)
    assert list(ahead(log.jobs(), pool, 0)) == list(range(5))
    assert {thread for _, thread in log.done} == {threading.current_thread()}


@pytest.mark.parametrize("n_ahead", [0, 1, 3])
def test_an_error_comes_in_its_turn_and_ends_it(pool, n_ahead):
    log = Log(20, fails={6})
    results = ahead(log.jobs(), pool, n_ahead)
    assert [next(results) for _ in range(6)] == list(range(6))
    with pytest.raises(OSError, match="job 6"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    assert log.n_made == 7 + n_ahead


def test_an_error_in_making_jobs_leaves_none_that_will_be_done(stuck):
    pool, go_on = stuck
    log = Log(2)

    def jobs():
        yield from log.jobs()
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        next(ahead(jobs(), pool, 2))
    go_on.set()
    pool.shutdown()
    assert log.done == []


def test_what_is_left_is_not_done(stuck):
    pool, go_on = stuck
    log = Log(20)
    results = ahead(log.jobs(), pool, 4)
    assert next(results) == 0
    results.close()
    go_on.set()
    pool.shutdown()
    assert log.numbers() == [0]
