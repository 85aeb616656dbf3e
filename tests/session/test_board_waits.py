"""While a merge reads expression, cells are named and looked at; a change of flags that fails changes nothing."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from livelatent.errors import StoreError
from livelatent.session.board import Board
from livelatent.session.flag_marks import FILE
from livelatent.session.ledger import Place


@dataclass(frozen=True)
class Cluster:
    rows: np.ndarray
    p_value: float = 0.01
    batches: dict = field(default_factory=dict)
    nearest: tuple = ()
    higher: tuple = ()
    lower: tuple = ()
    reason: str = "far"


class Found:
    """Three clusters; what a merge makes of them takes until the test lets it go on."""

    target_fpr, calibration = 0.05, ""
    rows, p_value = np.arange(90), np.linspace(0.001, 1, 90)
    n_flagged = 4
    curve = pd.DataFrame({"target_fpr": [0.05], "n_flagged": [4]})

    def __init__(self):
        self.asked, self.may_go_on, self.error = threading.Event(), threading.Event(), None

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return Cluster(np.arange(20) + 30 * index)

    def flag_of(self, rows, p_value):
        self.asked.set()
        assert self.may_go_on.wait(60)
        if self.error is not None:
            raise self.error
        return Cluster(np.array(rows), p_value)

    def at(self, target_fpr):
        assert target_fpr == self.target_fpr
        return self


@pytest.fixture
def found():
    return Found()


@pytest.fixture
def board(own_atlas, found):
    made = Board([Place("tiny.zarr", own_atlas.n_cells, own_atlas.labels)])
    made.show([found])
    yield made
    own_atlas.labels.close()


def sizes(board):
    return {view.id: view.n_cells for view in board.flag_list().flags}


def test_a_flag_is_named_and_shown_while_others_are_merged(board, found):
    merging = threading.Thread(target=board.merge, args=([1, 2],))
    merging.start()
    assert found.asked.wait(60)
    saved = board.label_flag(1, "plasmablast", n_seen=20)
    assert saved.n_cells == 20 and board.ledger.undo() == "20 cells: plasmablast"
    assert sizes(board) == {1: 20, 2: 20, 3: 20}
    found.may_go_on.set()
    merging.join(60)
    assert sizes(board) == {1: 40, 3: 20}


def test_dismissals_during_a_merge_come_after_it(board, found):
    changing = [threading.Thread(target=board.merge, args=([1, 2],)), threading.Thread(target=board.dismiss, args=(3,))]
    changing[0].start()
    assert found.asked.wait(60)
    changing[1].start()
    changing[1].join(0.2)
    assert changing[1].is_alive() and board.state_of(3) == "open"
    found.may_go_on.set()
    for thread in changing:
        thread.join(60)
    assert sizes(board) == {1: 40, 3: 20}
    assert board.state_of(3) == "dismissed" and board.state_of(1) == "open"


def test_a_merge_whose_expression_cannot_be_read_is_neither_shown_nor_written(board, found, own_atlas):
    found.error = StoreError("expression can't be read")
    found.may_go_on.set()
    before = board.judged
    with pytest.raises(StoreError, match="expression"):
        board.merge([1, 2])
    assert sizes(board) == {1: 20, 2: 20, 3: 20} and board.judged == before
    assert not (own_atlas.labels.folder / FILE).exists()


def test_a_merge_that_cannot_be_written_down_is_not_shown(board, found, own_atlas):
    found.may_go_on.set()
    board.dismiss(3)
    (own_atlas.labels.folder / FILE).write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        board.merge([1, 2])
    assert sizes(board) == {1: 20, 2: 20, 3: 20}
    assert board.state_of(3) == "dismissed"


def test_a_name_on_a_dismissed_flag_is_saved_though_its_file_of_marks_is_damaged(board, own_atlas):
    board.dismiss(2)
    (own_atlas.labels.folder / FILE).write_text("{")
    assert board.label_flag(2, "doublets").label == "doublets"
    assert board.state_of(2) == "named"
    board.ledger.undo()
    assert board.state_of(2) == "dismissed"
