"""Threads are given back by whoever leaves last, in whatever order blocks end."""

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from livelatent.threads import one_thread, one_thread_here


@pytest.mark.parametrize("leaving", list(itertools.permutations(range(3))))
def test_the_last_to_leave_gives_the_threads_back(leaving):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        blocks = [one_thread() for _ in range(3)]
        for block in blocks:
            block.__enter__()
        for index in leaving[:2]:
            blocks[index].__exit__(None, None, None)
            assert torch.get_num_threads() == 1
        blocks[leaving[2]].__exit__(None, None, None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_thread_kept_to_one_keeps_no_other_to_it_though_it_is_the_last_to_leave():
    def kept():
        one_thread_here()
        assert torch.get_num_threads() == 1
        with one_thread():
            pass
        one_thread_here()
        return torch.get_num_threads()

    def in_a_new_thread(work):
        with ThreadPoolExecutor(1) as fresh:
            return fresh.submit(work).result()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert in_a_new_thread(kept) == 1
        assert torch.get_num_threads() == 2
        assert in_a_new_thread(torch.get_num_threads) == 2
    finally:
        torch.set_num_threads(before)


def test_who_leaves_before_the_last_gets_its_own_number_back():
    """As the notebook's thread does after a find, while the trainer still holds one."""
    entered, left = threading.Event(), threading.Event()

    def trains():
        with one_thread():
            entered.set()
            assert left.wait(30)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(1) as trainer:
            training = trainer.submit(trains)
            assert entered.wait(30)
            with one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 2
            left.set()
            training.result()
    finally:
        torch.set_num_threads(before)


def test_an_error_inside_gives_them_back_too():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="inside"), one_thread():
            raise RuntimeError("inside")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_library_loaded_inside_is_held_from_the_next_entry_and_given_back():
    # In a process of its own: scipy's BLAS is another library than numpy's, and is loaded here or never again.
    code = """
import sys, threadpoolctl
def blas(): return sorted((lib["filepath"], lib["num_threads"]) for lib in threadpoolctl.threadpool_info()
                          if lib["user_api"] == "blas")
from livelatent.threads import one_thread, one_thread_here
with one_thread():
    import numpy, scipy.linalg
    threadpoolctl.threadpool_limits(2, user_api="blas")
    late = blas()
    with one_thread():
        assert {n for _, n in blas()} == {1}, blas()
assert blas() == late and {n for _, n in late} == {2}, (late, blas())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
