import pytest
import torch

from livelatent.errors import DeviceError
from livelatent.threads import has_few_cores
from livelatent.train.devices import cpu_threads, device_of, resolve_device


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_small_model_trains_on_one_thread():
    with cpu_threads(torch.nn.Linear(3, 3), 10):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_large_model_takes_all_threads_where_the_cores_are_more_than_few():
    with cpu_threads(torch.nn.Linear(3, 3), 10**9):
        assert torch.get_num_threads() == (1 if has_few_cores() else 2)


def test_auto_is_a_device_torch_has():
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == wanted
    assert device_of(torch.nn.Linear(1, 1)).type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is at hand")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        resolve_device("cuda")


def test_a_name_that_is_no_device_is_refused():
    with pytest.raises(DeviceError, match="gpu9"):
        resolve_device("gpu9")
