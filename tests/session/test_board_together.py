"""Labels across atlas and query stand whole or not at all, and undo takes back what was shown."""

import multiprocessing

import numpy as np
import pytest

import labelling
from labelling import journal
from livelatent.atlas.labels import LabelJournal
from livelatent.errors import LabelError, StoreBusyError
from livelatent.session.board import Board
from livelatent.session.ledger import Place


@pytest.fixture
def board(tmp_path):
    return Board([Place(name, 20, journal(tmp_path / f"{name}.labels")) for name in ("atlas", "query")])


@pytest.fixture
def query_is_held(tmp_path):
    """Another process labels the query's cells, and keeps the lock."""
    context = multiprocessing.get_context("spawn")
    is_held, may_end = context.Event(), context.Event()
    other = context.Process(target=labelling.hold, args=(tmp_path / "query.labels", is_held, may_end))
    other.start()
    assert is_held.wait(120)
    yield
    may_end.set()
    other.join(60)


def test_where_one_journal_is_held_by_another_process_neither_is_written(board, query_is_held):
    with pytest.raises(StoreBusyError):
        board.ledger.label_rows([[1, 2], [3]], "new type", {"kind": "cells"})
    assert board.places[0].journal.entries == ()
    assert board.ledger.history.n_saved == 0
    board.ledger.label_rows([[1, 2], []], "new type", {"kind": "cells"})
    assert [entry.new for entry in board.places[0].journal.entries] == ["new type"]


def test_where_the_second_journal_refuses_the_first_half_is_taken_back(board, monkeypatch):
    def refuse(*_, **__):
        raise LabelError("the disk is full")

    monkeypatch.setattr(board.places[1].journal, "label", refuse)
    with pytest.raises(LabelError, match="disk is full"):
        board.ledger.label_rows([[1, 2], [3]], "new type", {"kind": "cells"})
    assert (board.places[0].journal.current() == None).all()  # noqa: E711 - of every cell
    assert board.ledger.history.n_saved == 0


def test_undo_takes_back_no_label_that_another_process_gave_meanwhile(tmp_path, board):
    board.ledger.label_rows([[1, 2], []], "mine", {"kind": "cells"})
    own = board.places[0].journal
    own.close()
    later = Board([Place("atlas", 20, journal(tmp_path / "atlas.labels"))])
    assert later.ledger.history.undo[-1].what.endswith("mine")
    _label_elsewhere(tmp_path / "atlas.labels", "theirs")
    with pytest.raises(LabelError, match="elsewhere meanwhile, so nothing was undone"):
        later.ledger.undo()
    assert later.places[0].journal.current()[5] == "theirs"
    assert later.ledger.undo().endswith("theirs")


def _label_elsewhere(folder, name):
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=labelling.label, args=(folder, name))
    other.start()
    other.join(120)
    assert other.exitcode == 0


def test_a_store_without_a_place_for_labels_is_still_shown():
    names = np.array([f"cell {row}" for row in range(3)], object)
    homeless = LabelJournal(None, np.full(3, "a.h5ad", object), np.arange(3), np.full(3, None), names=names)
    board = Board([Place("remote", 3, homeless)])
    assert board.ledger.journals == ""
    with pytest.raises(LabelError, match="journal="):
        board.ledger.label_rows([[0]], "a", {"kind": "cells"})
