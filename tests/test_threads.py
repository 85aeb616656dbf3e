"""Threads are given back by whoever leaves last, in whatever order blocks end."""

import itertools

import pytest
import torch

from livelatent.threads import one_thread


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


def test_an_error_inside_gives_them_back_too():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="inside"), one_thread():
            raise RuntimeError("inside")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
