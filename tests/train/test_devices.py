import pytest
import torch

from livelatent.train.devices import cpu_threads, device_of, resolve_device


def test_threads_are_given_back_by_the_last_of_two_runs():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        small = torch.nn.Linear(3, 3)
        first, second = cpu_threads(small, 10), cpu_threads(small, 10)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert torch.get_num_threads() == 1
        second.__exit__(None, None, None)
        assert torch.get_num_threads() == 2
        with cpu_threads(small, 10**9):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_auto_is_a_device_torch_has():
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == wanted
    assert device_of(torch.nn.Linear(1, 1)).type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is at hand")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        resolve_device("cuda")
