"""Dismiss, merge, cut: over new finds and restarts, and beside the journal, not in it."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from livelatent.atlas import Atlas
from livelatent.errors import LabelError
from livelatent.session.board import Board
from livelatent.session.board_flag import identified
from livelatent.session.flag_marks import FILE
from livelatent.session.flag_view import suggestions
from livelatent.session.ledger import Place


@dataclass(frozen=True)
class Cluster:
    rows: np.ndarray
    p_value: float = 0.01
    batches: dict = field(default_factory=lambda: {"d1": 3})
    nearest: tuple = (("B cell", 2.5),)
    higher: tuple = ()
    lower: tuple = ()
    reason: str = "as found"


@dataclass(frozen=True)
class Found:
    """Clusters that the test gives; each has its own p-value."""

    clusters: tuple
    target_fpr: float = 0.05
    calibration: str = ""
    rows: np.ndarray = field(default_factory=lambda: np.arange(600))
    p_value: np.ndarray = field(default_factory=lambda: np.linspace(0.0005, 1, 600))

    def __len__(self):
        return len(self.clusters)

    def __getitem__(self, index):
        return Cluster(np.array(self.clusters[index]), 0.001 * (index + 1))

    def flag_of(self, rows, p_value):
        return Cluster(np.array(rows), p_value, reason="made by hand")

    @property
    def n_flagged(self):
        return int((self.p_value <= self.target_fpr).sum())

    @property
    def curve(self):
        return pd.DataFrame({"target_fpr": [0.05], "n_flagged": [self.n_flagged]})

    def at(self, target_fpr):
        return replace(self, target_fpr=target_fpr)


def found(*clusters):
    return [Found(tuple(list(cluster) for cluster in clusters))]


def board_of(atlas):
    return Board([Place(atlas.path.name, atlas.n_cells, atlas.labels)])


FIRST = found(range(10, 30), range(40, 52), range(60, 67))
AGAIN = found(range(61, 68), range(9, 29), range(39, 53))
"""A later find of the same three, each somewhat different, in another order."""


@pytest.fixture
def atlas(own_atlas):
    yield own_atlas
    own_atlas.labels.close()


@pytest.fixture
def board(atlas):
    made = board_of(atlas)
    made.show(FIRST)
    return made


def shown(board):
    return {view.id: (view.n_cells, view.state) for view in board.flag_list().flags}


def restarted(atlas):
    """A board of a later session, which has found the same clusters again."""
    atlas.labels.close()
    later = Atlas.open(atlas.path)
    board = board_of(later)
    board.show(AGAIN)
    return board


def test_a_dismissal_outlasts_a_new_find_and_a_restart_and_is_in_no_journal(board, atlas):
    board.dismiss(2)
    board.show(AGAIN)
    assert shown(board) == {3: (7, "open"), 1: (20, "open"), 2: (14, "dismissed")}
    later = restarted(atlas)
    assert [state for _, state in shown(later).values()] == ["open", "open", "dismissed"]
    assert later.ledger.history.undo == () and later.places[0].journal.entries == ()
    dismissed = next(id for id, (_, state) in shown(later).items() if state == "dismissed")
    assert later.reopen(dismissed) == "open"
    assert "dismissed" not in [state for _, state in shown(restarted(atlas)).values()]


def test_a_flag_that_has_grown_far_beyond_what_was_dismissed_is_open_again(board):
    board.dismiss(3)
    board.show(found(range(60, 100)))
    assert shown(board) == {3: (40, "open")}


def test_merged_flags_stay_one_over_a_new_find_and_a_restart(board, atlas):
    assert board.merge([2, 3]) == 2
    assert shown(board) == {1: (20, "open"), 2: (19, "open")}
    assert board.flag(2).judged.reason == "made by hand"
    assert board.flag(2).judged.p_value == 0.003  # the less certain of the two
    assert board.merge([2, 3]) == 2  # asked for again
    board.show(AGAIN)
    assert shown(board) == {1: (20, "open"), 2: (21, "open")}
    later = restarted(atlas)
    assert sorted(n for n, _ in shown(later).values()) == [20, 21]
    assert [view.is_hand_made for view in later.flag_list().flags] == [True, False]


def test_a_cut_flag_stays_cut_over_a_new_find_and_a_restart(board, atlas):
    part = board.split(1, [np.arange(25, 200)])
    assert shown(board) == {1: (15, "open"), part: (5, "open"), 2: (12, "open"), 3: (7, "open")}
    board.dismiss(part)
    board.show(AGAIN)  # row 9 is new, 29 is gone
    assert shown(board)[part] == (4, "dismissed") and shown(board)[1] == (16, "open")
    assert sorted(shown(restarted(atlas)).values()) == [(4, "dismissed"), (7, "open"), (14, "open"), (16, "open")]


def test_a_cut_that_cuts_nothing_is_refused_in_words(board):
    with pytest.raises(LabelError, match=r"none of the 20 cells of flag 1 .* Draw around some"):
        board.split(1, [np.arange(100, 120)])
    with pytest.raises(LabelError, match="all of the 20 cells"):
        board.split(1, [np.arange(0, 120)])
    with pytest.raises(LabelError, match="there is no flag 9"):
        board.split(9, [np.arange(5)])


def test_a_merge_of_one_or_of_a_flag_that_is_gone_is_refused(board):
    with pytest.raises(LabelError, match="two flags or more"):
        board.merge([1, 1])
    with pytest.raises(LabelError, match="there is no flag 8"):
        board.merge([1, 8])
    assert shown(board) == {1: (20, "open"), 2: (12, "open"), 3: (7, "open")}


def test_as_found_takes_merges_and_cuts_back_and_leaves_others(board):
    part = board.split(1, [np.arange(25, 30)])
    board.merge([2, 3])
    board.apart(part)
    assert sorted(n for n, _ in shown(board).values()) == [19, 20]
    board.apart(2)
    assert sorted(n for n, _ in shown(board).values()) == [7, 12, 20]
    assert not any(view.is_hand_made for view in board.flag_list().flags)


def test_a_part_can_be_merged_with_another_flag_and_each_cell_is_in_one(board):
    part = board.split(1, [np.arange(25, 30)])
    joined = board.merge([3, part])
    assert shown(board) == {1: (15, "open"), 2: (12, "open"), joined: (12, "open")}
    again = board.split(joined, [np.arange(25, 28)])
    assert shown(board) == {1: (15, "open"), 2: (12, "open"), joined: (9, "open"), again: (3, "open")}


def test_cells_of_two_atlases_do_not_become_one_flag(atlas):
    board = Board([Place("a", 607, atlas.labels), Place("b", 607, atlas.labels)])
    board.show([*found(range(5)), *found(range(7))])
    with pytest.raises(LabelError, match="two atlases"):
        board.merge([1, 2])


def test_two_views_of_one_store_add_to_what_the_other_has_written(board, atlas):
    other = board_of(atlas)
    other.show(FIRST)
    board.dismiss(1)
    other.dismiss(3)
    assert sorted(state for _, state in shown(restarted(atlas)).values()) == ["dismissed", "dismissed", "open"]


def test_two_views_that_count_alike_never_write_into_each_others_mark(board, atlas):
    other = board_of(atlas)
    other.show(found(range(200, 230), range(300, 305)))
    board.dismiss(1)
    other.dismiss(1)  # flag 1 there is another cluster
    other.merge([1, 2])
    other.apart(1)
    later = board_of(atlas)
    later.show(found(range(10, 30), range(200, 230), range(300, 305)))
    assert sorted(shown(later).values()) == [(5, "open"), (20, "dismissed"), (30, "open")]


def test_a_cluster_that_two_views_dismissed_is_taken_up_again_at_once(board, atlas):
    other = board_of(atlas)
    other.show(FIRST)
    board.dismiss(1)
    other.dismiss(1)
    later = board_of(atlas)
    later.show(AGAIN)
    [dismissed] = [id for id, (_, state) in shown(later).items() if state == "dismissed"]
    later.reopen(dismissed)
    assert {state for _, state in shown(restarted(atlas)).values()} == {"open"}


def test_cells_that_two_views_merged_go_with_the_later_merge(board, atlas):
    other = board_of(atlas)
    other.show(FIRST)
    board.merge([1, 2])
    other.merge([2, 3])
    assert sorted(n for n, _ in shown(restarted(atlas)).values()) == [20, 21]


def test_the_query_s_marks_are_its_own_where_both_atlases_count_alike(atlas, tmp_path):
    import shutil

    shutil.copytree(atlas.path, tmp_path / "query" / atlas.path.name)
    query = Atlas.open(tmp_path / "query" / atlas.path.name)
    for alone, cluster in ((atlas, range(5)), (query, range(90, 99))):
        board = board_of(alone)
        board.show(found(cluster))
        board.dismiss(1)
    both = Board([Place("a", 607, atlas.labels), Place("b", 607, query.labels)])
    both.show([*found(range(5)), *found(range(90, 99))])
    assert sorted(shown(both).values()) == [(5, "dismissed"), (9, "dismissed")]
    for flag in both.flags:
        both.reopen(flag.id)
    for alone, cluster in ((atlas, range(5)), (query, range(90, 99))):
        board = board_of(alone)
        board.show(found(cluster))
        assert [state for _, state in shown(board).values()] == ["open"]
        alone.labels.close()


FORMAT_1 = """{
 "format": 1,
 "flags": [
  {
   "id": 1,
   "dismissed": true,
   "hand_made": false,
   "n_cells": 20,
   "cells": {
    "one.h5ad": "eJzTZ4AAFigtA6WLoDQzlBaG0nJQWgVKK0BpMSjNCaUBSDABWQ==",
    "two.h5ad": "eJwTYoAAcSjNBqWloTQ7lOaD0sxoNCeUBgAVEABv"
   }
  },
  {
   "id": 2,
   "dismissed": false,
   "hand_made": true,
   "n_cells": 19,
   "cells": {
    "one.h5ad": "eJyzZYAAESitDKUFoLQ1lFaH0nJQmgtKK0FpADOwATE=",
    "two.h5ad": "eJxjY4AAdyjNCqVlobQalGaE0jxofGYozQ6lAScIAK4="
   }
  }
 ],
 "crc": "df70d38c"
}
"""
"""As the version before marks had a uuid wrote it: flag 1 dismissed, flags 2 and 3 merged."""


def test_a_file_of_format_1_is_read_and_two_views_call_its_marks_the_same(atlas):
    atlas.labels.folder.mkdir(exist_ok=True)
    (atlas.labels.folder / FILE).write_text(FORMAT_1)
    one, other = board_of(atlas), board_of(atlas)
    for board in (one, other):
        board.show(FIRST)
        assert shown(board) == {1: (20, "dismissed"), 2: (19, "open")}
    one.reopen(1)
    other.dismiss(2)
    assert sorted(shown(restarted(atlas)).values()) == [(20, "open"), (21, "dismissed")]
    assert json.loads((atlas.labels.folder / FILE).read_text())["format"] == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"id":1', '"id":7').replace('"id": 1', '"id": 7'),
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "format": 3}),
        lambda text: "\x00",
    ],
)
def test_a_damaged_file_is_told_and_left_and_the_view_opens(board, atlas, spoil):
    board.dismiss(1)
    path = atlas.labels.folder / FILE
    path.write_text(spoil(path.read_text()))
    spoilt = path.read_bytes()
    later = restarted(atlas)
    assert {state for _, state in shown(later).values()} == {"open"}
    [warning] = later.flag_list().warnings
    assert FILE in warning and "labels are elsewhere" in warning
    with pytest.raises(Exception, match="damaged"):
        later.dismiss(later.flags[0].id)
    assert path.read_bytes() == spoilt


def test_where_labels_have_no_home_a_dismissal_lasts_as_long_as_the_view(atlas):
    from livelatent.atlas.labels import LabelJournal

    homeless = LabelJournal(None, np.array(["a"] * 600), np.arange(600), np.full(600, None, object))
    board = Board([Place("a", 600, homeless)])
    board.show(found(range(9)))
    assert board.dismiss(1) == "dismissed"
    board.show(found(range(1, 9)))
    assert board.state_of(1) == "dismissed"


def test_thousands_of_flags_find_their_ids_again():
    @dataclass(frozen=True)
    class One:
        rows: np.ndarray

    rng = np.random.default_rng(0)
    first = identified([(False, One(np.arange(20 * i, 20 * i + 15))) for i in range(3000)], {})
    order = rng.permutation(3000)
    again = identified(
        [(False, One(np.arange(20 * i + 3, 20 * i + 18))) for i in order], {flag.id: flag for flag in first}
    )
    assert [flag.id for flag in again] == [first[i].id for i in order]


def test_a_known_types_name_may_be_accepted_and_a_far_ones_only_suggested(atlas):
    class Near(Found):
        def __getitem__(self, index):
            radii = (0.8, 1.4) if index == 0 else (2.5, 3.0)
            return replace(super().__getitem__(index), nearest=(("B cell", radii[0]), ("NK cell", radii[1])))

    board = board_of(atlas)
    board.show([Near((list(range(10)), list(range(20, 30))))])
    inside, far = board.flag_list().flags
    assert (inside.accept, inside.suggested) == ("B cell", ("B cell", "NK cell"))
    assert (far.accept, far.suggested) == (None, ("B cell", "NK cell"))
    atlas.labels.label(np.arange(20, 23), "plasma?")
    far = board.flag_list().flags[1]
    assert (far.accept, far.state) == ("plasma?", "open")
    assert far.suggested == ("plasma?", "B cell", "NK cell")


def test_a_rare_types_name_is_suggested_and_not_accepted_unseen():
    # On a simulated run the hidden type lay half a radius from a type of 24 cells, and was not that type.
    nearest = (("rare", 0.5), ("broad", 0.9))
    assert suggestions(nearest, Counter(), 24) == (None, ("rare", "broad"))
    assert suggestions(nearest, Counter(), 400) == ("rare", ("rare", "broad"))
    assert suggestions(nearest, Counter({"by hand": 3}), 24) == ("by hand", ("by hand", "rare", "broad"))
