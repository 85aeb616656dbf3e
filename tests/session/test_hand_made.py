import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.session.hand_made import laid_over


def cells(*ranges):
    return np.concatenate([np.arange(*one) for one in ranges])


def as_sets(pieces):
    return [(piece.id, piece.rows.tolist(), piece.sources) for piece in pieces]


def test_without_hands_everything_is_as_it_was_found():
    found = [cells((0, 5)), cells((10, 14))]
    assert as_sets(laid_over(found, {})) == [(None, [0, 1, 2, 3, 4], (0,)), (None, [10, 11, 12, 13], (1,))]


def test_clusters_of_a_merged_flag_are_one_flag_and_new_cells_of_theirs_go_with_it():
    found = [cells((0, 7)), cells((10, 14)), cells((20, 25))]
    got = as_sets(laid_over(found, {4: cells((0, 6), (10, 15))}))
    assert got == [(None, [20, 21, 22, 23, 24], (2,)), (4, [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13], (0, 1))]


def test_a_cut_flag_stays_cut_and_new_cells_go_to_the_larger_part():
    got = as_sets(laid_over([cells((0, 12))], {1: cells((0, 3)), 2: cells((3, 10))}))
    assert got == [(1, [0, 1, 2], (0,)), (2, list(range(3, 12)), (0,))]


def test_a_cluster_that_has_outgrown_a_hand_made_flag_stays_beside_it():
    got = as_sets(laid_over([cells((0, 100))], {7: cells((90, 100))}))
    assert got == [(None, list(range(90)), (0,)), (7, list(range(90, 100)), (0,))]


def test_a_cluster_that_merely_touches_a_hand_made_flag_is_not_changed():
    got = as_sets(laid_over([cells((0, 10))], {7: cells((8, 40))}))
    assert got == [(None, list(range(10)), (0,))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=60))
def test_no_cell_is_lost_or_in_two_flags(placed):
    # Cell i is found in cluster a (0: none) and was put into hand-made flag b (0: none).
    cluster = np.array([a for a, _ in placed])
    hand = np.array([b for _, b in placed])
    found = [np.flatnonzero(cluster == a) for a in range(1, 5) if (cluster == a).any()]
    pieces = laid_over(found, {b: np.flatnonzero(hand == b) for b in range(1, 4) if (hand == b).any()})
    rows = np.concatenate([piece.rows for piece in pieces]) if pieces else np.zeros(0, int)
    assert sorted(rows) == sorted(np.flatnonzero(cluster > 0))
    ids = [piece.id for piece in pieces if piece.id is not None]
    assert len(ids) == len(set(ids))
    for piece in pieces:
        assert (np.diff(piece.rows) > 0).all()
        assert {cluster[row] for row in piece.rows} == {cluster[found[i][0]] for i in piece.sources}


@pytest.mark.parametrize("hand_made", [{}, {3: np.zeros(0, np.int64)}])
def test_no_clusters_are_no_flags(hand_made):
    assert laid_over([], hand_made) == ()
