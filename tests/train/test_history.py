import numpy as np
import torch

from livelatent.train.history import History


def filled():
    history = History()
    for step in range(1, 8):
        history.add(step, {"type": torch.tensor(step / 2), "batch": 10.0 * step}, "train")
        if step % 3 == 0:
            history.add(step, {"type": step * 1.0}, "validation")
    history.mark(3, "stage two")
    history.mark(6, "late")
    return history


def test_a_series_is_read_from_any_point_on():
    history = filled()
    assert set(history.names()) == {("type", "train"), ("batch", "train"), ("type", "validation")}
    steps, values = history.series("type", "train", start=5)
    assert (steps.dtype, values.dtype) == (np.uint32, np.float32)
    assert (steps.tolist(), values.tolist()) == ([6, 7], [3.0, 3.5])
    assert history.series("type", "validation")[0].tolist() == [3, 6]
    assert history.series("absent", "train")[0].tolist() == []


def test_what_was_saved_comes_back_and_can_be_added_to(tmp_path):
    filled().save(tmp_path / "h.npz")
    history = History.load(tmp_path / "h.npz")
    history.add(8, {"type": 9.0}, "train")
    assert history.series("type", "train")[1].tolist() == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 9]
    assert history.marks == ((3, "stage two"), (6, "late"))


def test_cut_forgets_what_came_after_a_step():
    history = filled()
    history.cut(5)
    assert history.series("batch", "train")[0].tolist() == [1, 2, 3, 4, 5]
    assert history.series("type", "validation")[0].tolist() == [3]
    assert history.marks == ((3, "stage two"),)
