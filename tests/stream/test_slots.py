import gc
import threading

import numpy as np
import pytest
import torch

from livelatent.stream import slots as slots_module
from livelatent.stream.slots import ALIGNMENT, Slots, carve, room_for

U16, F32, I32 = np.dtype(np.uint16), np.dtype(np.float32), np.dtype(np.int32)


@pytest.fixture
def n_made(monkeypatch):
    """How often memory was asked of the system."""
    made = []

    def ordinary(n_bytes):
        made.append(n_bytes)
        return np.empty(n_bytes, np.uint8)

    monkeypatch.setattr(slots_module, "_ordinary", ordinary)
    return lambda: len(made)


def sparse_tensor(piece):
    values, columns, pointers = carve(piece, (F32, 3), (I32, 3), (I32, 4))
    values[:], columns[:], pointers[:] = 0, [0, 1, 2], [0, 1, 2, 3]
    parts = map(torch.from_numpy, (pointers, columns, values))
    return torch.sparse_csr_tensor(*parts, size=(3, 4), check_invariants=True)


FORMS = {
    "array": lambda piece: piece,
    "view": lambda piece: piece[7:19].reshape(3, 4),
    "tensor": torch.from_numpy,
    "view of a tensor": lambda piece: torch.from_numpy(piece).view(torch.int32).reshape(8, -1)[3:, 1],
    "numpy of a tensor": lambda piece: torch.from_numpy(piece).numpy()[5:],
    "memoryview": lambda piece: memoryview(piece)[3:],
    "values of a sparse tensor": lambda piece: sparse_tensor(piece).values(),
    "columns of a sparse tensor": lambda piece: sparse_tensor(piece).col_indices(),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("form", FORMS)
def test_what_is_held_in_any_form_is_never_lent_again_and_comes_back_when_dropped(form, n_made):
    slots = Slots(256, 2)
    first = FORMS[form](slots.take())
    others = [slots.take() for _ in range(3)]
    assert n_made() == 4
    held = np.asarray(first)
    for other in others:
        assert not np.shares_memory(held, other)
        other[:] = 255
    del held
    # Back come the three, of which two are kept.
    del other, others
    again = [slots.take() for _ in range(2)]
    assert n_made() == 4
    assert not any(np.shares_memory(np.asarray(first), other) for other in again)
    del first
    again.append(slots.take())
    assert n_made() == 4


def test_as_many_free_ones_are_kept_as_was_said(n_made):
    slots = Slots(64, 2)
    for n_taken, n_wanted in ((5, 5), (5, 8), (2, 8), (3, 9)):
        taken = [slots.take() for _ in range(n_taken)]
        assert n_made() == n_wanted
        del taken


def test_a_piece_is_writable_and_as_large_as_said():
    for n_bytes in (1, 64, 1000):
        piece = Slots(n_bytes, 1).take()
        assert (piece.shape, piece.dtype, piece.flags.writeable) == ((n_bytes,), np.uint8, True)


def test_slots_of_no_bytes_lend_nothing_that_breaks():
    assert Slots(0, 1).take().size == 0


def test_a_piece_in_a_circle_comes_back_when_it_is_collected(n_made):
    slots = Slots(64, 1)
    circle = [slots.take()]
    circle.append(circle)
    del circle
    gc.collect()
    slots.take()
    assert n_made() == 1


def test_threads_that_take_and_drop_never_share_a_piece():
    slots, clashes = Slots(8, 3), []

    def work(number):
        kept = []
        for turn in range(2_000):
            mark = number << 32 | turn
            piece = slots.take().view(np.int64)
            piece[0] = mark
            kept.append((piece, mark))
            if len(kept) == 3:
                held, wanted = kept.pop(turn % 3)
                if held[0] != wanted:
                    clashes.append(wanted)
                del held
        clashes.extend(wanted for held, wanted in kept if held[0] != wanted)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []


def test_carved_arrays_are_aligned_and_apart_and_fill_what_was_reckoned():
    parts = [(U16, 33), (F32, 1), (I32, 0), (np.dtype(np.float64), 8)]
    piece = np.empty(room_for(*parts), np.uint8)
    arrays = carve(piece, *parts)
    assert [(array.dtype, array.size) for array in arrays] == parts
    begin = piece.ctypes.data
    assert all((array.ctypes.data - begin) % ALIGNMENT == 0 for array in arrays)
    for number, array in enumerate(arrays):
        array.view(np.uint8)[:] = number + 1
    for number, array in enumerate(arrays):
        assert np.all(array.view(np.uint8) == number + 1)


def test_a_piece_too_small_is_refused():
    with pytest.raises(ValueError, match="128 bytes were wanted of a piece of 127"):
        carve(np.empty(127, np.uint8), (U16, 32), (F32, 16))
