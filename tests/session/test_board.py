import os
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from livelatent.atlas import Atlas
from livelatent.errors import LabelError
from livelatent.session.board import Board
from livelatent.session.ledger import Place


@dataclass(frozen=True)
class Flag:
    rows: np.ndarray
    p_value: float = 0.01
    batches: dict = field(default_factory=lambda: {"d1": 3})
    nearest: tuple = (("B cell", 2.5),)
    higher: tuple = ("GENE1",)
    lower: tuple = ()
    reason: str = "Nearest: B cell (2.5 radii)."


@dataclass(frozen=True)
class Novelty:
    """Scores whose clusters the test gives, one list per threshold."""

    by_target: dict
    target_fpr: float = 0.05
    calibration: str = "70 calibration cells"
    rows: np.ndarray = field(default_factory=lambda: np.arange(100))
    p_value: np.ndarray = field(default_factory=lambda: np.linspace(0.001, 1, 100))

    def __len__(self):
        return len(self.by_target[self.target_fpr])

    def __getitem__(self, index):
        return Flag(np.array(self.by_target[self.target_fpr][index]))

    @property
    def n_flagged(self):
        return int((self.p_value <= self.target_fpr).sum())

    @property
    def curve(self):
        return pd.DataFrame({"target_fpr": [0.01, 0.05], "n_flagged": [2, 7]})

    def flag_of(self, rows, p_value):
        return Flag(np.array(rows), p_value)

    def at(self, target_fpr):
        if target_fpr not in self.by_target:
            raise ValueError(f"no such target {target_fpr}")
        return replace(self, target_fpr=target_fpr)


def found(*flags):
    return Novelty({0.05: [list(flag) for flag in flags]})


@pytest.fixture
def board(own_atlas):
    made = Board([Place("tiny.zarr", own_atlas.n_cells, own_atlas.labels)])
    made.show([found(range(10, 20), range(30, 36))], model="abc")
    yield made
    own_atlas.labels.close()


@pytest.fixture
def two_boards(own_atlas, tmp_path):
    """A board over the atlas and another store as query, and a way to open it anew."""
    import shutil

    shutil.copytree(own_atlas.path, tmp_path / "query.zarr")
    query = Atlas.open(tmp_path / "query.zarr")
    places = [Place(one.path.name, one.n_cells, one.labels) for one in (own_atlas, query)]
    yield Board(places)
    own_atlas.labels.close()
    query.labels.close()


def test_a_name_is_in_the_journal_when_saved_is_said(board, own_atlas):
    saved = board.label_flag(1, " plasmablast? ")
    assert saved.label == "plasmablast?" and saved.n_cells == 10 and saved.n_saved == 1
    again = Atlas.open(own_atlas.path).labels
    assert (again.current()[10:20] == "plasmablast?").all()
    [entry] = again.entries
    assert saved.saved_at == entry.time
    assert entry.model == "abc"
    assert {key: entry.how[key] for key in ("kind", "flag", "target_fpr", "p_value")} == {
        "kind": "flag",
        "flag": 1,
        "target_fpr": 0.05,
        "p_value": 0.01,
    }


def test_a_flag_that_has_other_cells_than_were_seen_is_not_named(board, own_atlas):
    board.show([found(range(10, 24), range(30, 36))], model="abc")
    with pytest.raises(LabelError, match=r"flag 1 was computed again and has 14 cells now, where 10 were shown"):
        board.label_flag(1, "plasmablast?", n_seen=10)
    assert own_atlas.labels.entries == ()
    assert board.label_flag(1, "plasmablast?", n_seen=14).n_cells == 14


def test_a_merged_and_a_cut_flag_are_counted_anew(board):
    before = board.judged
    board.merge([1, 2])
    merged = board.judged
    board.split(1, [np.arange(10, 15)])
    assert before < merged < board.judged


def test_a_named_flag_says_so_and_undo_and_redo_move_it_both_ways(board, own_atlas):
    board.label_flag(1, "plasmablast?")
    first = board.flag_list().flags[0]
    assert (first.state, first.label) == ("named", "plasmablast?") and first.saved_at
    assert board.ledger.undo() == "10 cells: plasmablast?"
    assert board.flag_list().flags[0].state == "open"
    assert own_atlas.labels.current()[10] is None
    assert board.ledger.undo() is None
    board.ledger.redo()
    assert board.flag_list().flags[0].label == "plasmablast?"
    assert board.ledger.redo() is None


def test_undo_reaches_back_beyond_a_restart(board, own_atlas):
    board.label_flag(1, "one")
    board.label_flag(2, "two")
    own_atlas.labels.close()
    reopened = Atlas.open(own_atlas.path)
    fresh = Board([Place("tiny.zarr", reopened.n_cells, reopened.labels)])
    assert fresh.ledger.history.n_saved == 2
    assert fresh.ledger.undo() == "6 cells: two"
    assert fresh.ledger.undo() == "10 cells: one"
    reopened.labels.close()


def test_a_label_on_cells_of_both_atlases_is_one_step_back_and_one_forth(two_boards):
    atlas, query = (place.journal for place in two_boards.places)
    saved = two_boards.ledger.label_rows([[1, 2], [3]], "both", {"kind": "lasso"})
    assert saved.n_cells == 3
    two_boards.ledger.label_rows([[], [7]], "query only", {"kind": "lasso"})
    assert two_boards.ledger.undo() == "1 cells: query only"
    two_boards.ledger.undo()
    assert atlas.current()[1] is None and query.current()[3] is None
    assert two_boards.ledger.history.n_saved == 0
    two_boards.ledger.redo()
    assert atlas.current()[2] == "both" and query.current()[3] == "both" and query.current()[7] is None


def test_a_new_label_ends_redo_in_the_other_atlas_too(two_boards):
    two_boards.ledger.label_rows([[1], []], "first", {})
    two_boards.ledger.undo()
    two_boards.ledger.label_rows([[], [1]], "second", {})
    assert two_boards.ledger.redo() is None


def test_the_order_of_labels_holds_on_a_disk_that_syncs_at_once(two_boards, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    for _ in range(20):
        two_boards.ledger.label_rows([[1], [2]], "both", {})
        two_boards.ledger.label_rows([[], [3]], "query only", {})
        assert two_boards.ledger.undo() == "1 cells: query only"
        two_boards.ledger.label_rows([[4], []], "atlas only", {})
        assert two_boards.ledger.redo() is None


def test_flags_keep_their_id_where_their_cells_largely_overlap(board):
    board.dismiss(2)
    board.show([found(range(29, 36), range(50, 60), range(12, 24))])
    assert [(flag.id, len(flag.rows)) for flag in board.flags] == [(2, 7), (3, 10), (1, 12)]
    assert board.state_of(2) == "dismissed"


def test_a_flag_that_comes_back_has_its_old_id_again(board):
    board.show([found(range(30, 36))])
    assert [flag.id for flag in board.flags] == [2]
    board.show([found(range(80, 90), range(10, 20))])
    assert [flag.id for flag in board.flags] == [3, 1]


def test_one_of_two_halves_keeps_the_id(board):
    board.show([found(range(10, 14), range(14, 20))])
    assert sorted(flag.id for flag in board.flags) == [1, 3]
    assert board.flag(1).rows.tolist() == list(range(14, 20))


def test_the_same_rows_of_the_query_are_another_flag(two_boards):
    two_boards.show([found(range(10)), found(range(10))])
    assert [(flag.id, flag.is_query) for flag in two_boards.flags] == [(1, False), (2, True)]
    two_boards.label_flag(2, "new")
    assert two_boards.places[0].journal.entries == ()
    views = two_boards.flag_list().flags
    assert [(view.atlas, view.state) for view in views] == [("tiny.zarr", "open"), ("query.zarr", "named")]


def test_a_dismissed_flag_can_be_reopened_and_history_does_not_know(board):
    assert board.dismiss(1) == "dismissed"
    assert board.reopen(1) == "open"
    assert board.ledger.history.undo == ()


def test_another_threshold_flags_other_cells_with_the_same_scores(own_atlas):
    board = Board([Place("tiny.zarr", own_atlas.n_cells, own_atlas.labels)])
    board.show([Novelty({0.05: [range(9)], 0.01: [range(2, 9), range(20, 30)]})])
    assert board.threshold(0.01) == 1
    assert [flag.id for flag in board.flags] == [1, 2]
    shown = board.flag_list()
    assert (shown.target_fpr, shown.n_scored, shown.n_flagged) == (0.01, 100, 1)
    told = board.flags_version
    with pytest.raises(LabelError, match=r"share in \(0, 0\.25\]; got 0\.7"):
        board.threshold(0.7)
    assert board.flags_version == told
    with pytest.raises(LabelError, match="no such target"):
        board.threshold(0.2)
    assert board.target_fpr == 0.01


def test_scores_asked_for_before_somebody_set_another_threshold_are_shown_at_that_one(own_atlas):
    board = Board([Place("tiny.zarr", own_atlas.n_cells, own_atlas.labels)])
    novelty = Novelty({0.05: [range(9)], 0.01: [range(2, 9), range(20, 30)]})
    board.show_found([novelty], "abc", 0.05)
    assert (board.target_fpr, len(board.flags)) == (0.05, 1)
    board.threshold(0.01)
    board.show_found([novelty], "abc", 0.05)
    assert (board.target_fpr, len(board.flags)) == (0.01, 2)


@pytest.mark.parametrize("target_fpr", [0.0, 5.0, -1.0, float("nan")])
def test_a_share_that_is_none_is_refused_when_the_board_is_made(own_atlas, target_fpr):
    with pytest.raises(LabelError, match=r"share in \(0, 0\.25\]; got"):
        Board([Place("tiny.zarr", own_atlas.n_cells, own_atlas.labels)], target_fpr=target_fpr)


def test_curves_of_two_atlases_are_summed(two_boards):
    two_boards.show([found(), found()])
    shown = two_boards.flag_list()
    p_value = found().p_value
    assert 0.05 in shown.curve_target_fpr and len(shown.curve_target_fpr) > 40
    for target_fpr, n_flagged in zip(shown.curve_target_fpr, shown.curve_n_flagged, strict=True):
        assert n_flagged == 2 * sum(p <= target_fpr for p in p_value)


@pytest.mark.parametrize("name", ["", "   ", "x" * 121, "a\x00b"])
def test_a_name_that_is_none_is_refused_and_nothing_is_written(board, own_atlas, name):
    with pytest.raises(LabelError):
        board.label_flag(1, name)
    assert own_atlas.labels.entries == ()


def test_cells_outside_the_atlas_and_no_cells_at_all_are_refused(board):
    with pytest.raises(LabelError, match=r"cells 0\.\.606"):
        board.ledger.label_rows([[607]], "x", {})
    with pytest.raises(LabelError, match="nothing to name"):
        board.ledger.label_rows([[]], "x", {})
    with pytest.raises(LabelError, match="there is no flag 9"):
        board.label_flag(9, "x")


def test_a_label_given_past_the_view_is_seen_by_it(board, own_atlas):
    before = board.version
    own_atlas.labels.label(np.arange(10, 20), "by hand")
    assert board.ledger.vocabulary == ("by hand",)
    assert board.version > before
    assert board.flag_list().flags[0].label == "by hand"


def test_two_places_say_which_calibration_is_whose_and_which_journals_hold_labels(two_boards):
    same = found(range(5))
    two_boards.show([same, same])
    assert two_boards.flag_list().calibration == "70 calibration cells"
    two_boards.show([same, replace(same, calibration="9 others")])
    assert two_boards.flag_list().calibration == "tiny.zarr: 70 calibration cells; query.zarr: 9 others"
    assert two_boards.ledger.journals == "tiny.labels"
    two_boards.ledger.label_rows([[], [7]], "query only", {"kind": "lasso"})
    assert two_boards.ledger.journals == "query.labels"
    two_boards.ledger.label_rows([[1], [7]], "both", {"kind": "lasso"})
    assert two_boards.ledger.journals == "tiny.labels and query.labels"
