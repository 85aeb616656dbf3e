"""Work done before it is asked for."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future


def ahead[T](jobs: Iterable[Callable[[], T]], pool: Executor, n_ahead: int) -> Generator[T]:
    """Results of `jobs` in their order, the next `n_ahead` of them begun on `pool` meanwhile.

    A job that is asked for before `pool` came to it is done by whoever asks, so nobody waits for an idle thread.
    """
    waiting: deque[tuple[Future[T], Callable[[], T]]] = deque()
    try:
        for job in jobs:
            if n_ahead == 0:
                yield job()
                continue
            waiting.append((pool.submit(job), job))
            if len(waiting) > n_ahead:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        for future, _ in waiting:
            future.cancel()


def _result[T](future: "Future[T]", job: Callable[[], T]) -> T:
    return job() if future.cancel() else future.result()
