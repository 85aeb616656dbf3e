import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.session.panel import align, choose_panel, layout_sha256, pca_layout, place_new, shares


@given(st.lists(st.integers(0, 60), max_size=12), st.integers(0, 200))
@settings(deadline=None)
def test_shares_fill_the_panel_and_keep_small_groups_whole(sizes, n_cells):
    taken = shares(np.array(sizes, np.int64), n_cells)
    assert taken.sum() == min(n_cells, sum(sizes))
    assert all(0 <= t <= size for t, size in zip(taken, sizes, strict=True))
    cut = [t for t, size in zip(taken, sizes, strict=True) if t < size]
    if cut:
        assert max(cut) - min(cut) <= 1
        assert max(taken) <= max(cut) + 1


def _labels(n_unlabelled=40):
    label = np.repeat([0, 1, 2, -1], [1000, 300, 7, n_unlabelled])
    return np.random.default_rng(1).permutation(label)


def test_a_panel_keeps_rare_types_and_unlabelled_cells_whole():
    label = _labels()
    panel = choose_panel(label, 0, n_cells=200)
    got = label[panel.rows]
    assert len(panel) == 200
    assert (got == 2).sum() == 7
    assert (got == -1).sum() == 40


def test_unknown_cells_leave_half_of_the_panel_to_the_known():
    label = _labels(n_unlabelled=5000)
    panel = choose_panel(label, 5000, n_cells=200)
    assert len(panel) == 200
    assert (label[panel.rows] >= 0).sum() == 100
    assert len(panel.query_rows) == 50


def test_a_small_atlas_is_shown_whole_in_row_order():
    panel = choose_panel(_labels(), 11, n_cells=20_000)
    assert panel.rows.tolist() == list(range(1347))
    assert panel.query_rows.tolist() == list(range(11))
    assert panel.cell.tolist() == [*range(1347), *range(11)]
    assert panel.is_query.tolist() == [0] * 1347 + [1] * 11


def test_cells_that_must_be_shown_are_and_only_once():
    label = _labels()
    keep = np.array([1, 2, 3, 1346])
    panel = choose_panel(label, 100, n_cells=50, keep=keep, keep_query=np.array([99]))
    assert np.isin(keep, panel.rows).all() and 99 in panel.query_rows
    assert len(np.unique(panel.rows)) == len(panel.rows)


@pytest.mark.parametrize("mirrored", [False, True])
def test_alignment_undoes_a_turn_a_mirror_a_scale_and_a_shift(mirrored):
    random = np.random.default_rng(2)
    before = random.normal(size=(80, 2)) * [5, 1] + [3, -4]
    turn = np.array([[np.cos(2.2), -np.sin(2.2)], [np.sin(2.2), np.cos(2.2)]])
    if mirrored:
        turn = turn @ np.diag([1, -1])
    after = (before @ turn) * 0.3 + [100, 7]
    anchors = np.array([3, 9, 11, 40, 79])
    aligned, moved = align(after, anchors, before[anchors])
    np.testing.assert_allclose(aligned, before, atol=1e-4)
    assert moved < 1e-6


def test_alignment_keeps_the_spread_however_much_cells_moved():
    random = np.random.default_rng(3)
    before, after = random.normal(size=(2, 500, 2))
    aligned, moved = align(after, np.arange(500), before)
    np.testing.assert_allclose(aligned.std(axis=0).mean(), before.std(axis=0).mean(), rtol=0.02)
    assert moved > 1


def test_alignment_on_cells_in_one_point_only_shifts():
    xy = np.ones((4, 2), np.float32)
    aligned, moved = align(xy, np.arange(4), np.zeros((4, 2)))
    assert moved == 0 and (aligned == 0).all()


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (2, 1), (50, 1), (50, 8)])
def test_a_pca_layout_exists_for_any_number_of_cells(shape):
    xy = pca_layout(np.random.default_rng(4).normal(size=shape).astype(np.float32))
    assert xy.shape == (shape[0], 2) and np.isfinite(xy).all()


def test_a_pca_layout_is_sklearns_up_to_sign_and_scale():
    from sklearn.decomposition import PCA

    latent = np.random.default_rng(5).normal(size=(60, 4)) * [9, 5, 2, 1]
    want = PCA(2).fit_transform(latent)
    got = pca_layout(latent)
    for axis in range(2):
        assert abs(np.corrcoef(want[:, axis], got[:, axis])[0, 1]) > 0.999999


def test_a_new_cell_starts_where_its_nearest_known_cell_lies():
    latent = np.random.default_rng(6).normal(size=(30, 5)).astype(np.float32)
    known = np.arange(0, 30, 3)
    xy = np.random.default_rng(7).normal(size=(10, 2)).astype(np.float32)
    placed = place_new(latent, known, xy)
    for cell in range(30):
        nearest = np.linalg.norm(latent[known] - latent[cell], axis=1).argmin()
        assert placed[cell].tolist() == xy[nearest].tolist()


def test_a_layouts_hash_names_its_cells_and_their_positions():
    panel = choose_panel(_labels(), 3, n_cells=50)
    xy = np.random.default_rng(8).normal(size=(len(panel), 2)).astype(np.float32)
    other = xy.copy()
    other[0, 0] += 1
    assert layout_sha256(panel, xy) == layout_sha256(panel, xy.copy())
    assert layout_sha256(panel, xy) != layout_sha256(panel, other)


def test_cells_that_qc_masks_are_not_shown_unless_they_are_flagged():
    label = _labels()
    shown, shown_query = np.arange(len(label)) % 2 == 0, np.arange(100) < 7
    keep, keep_query = np.array([3]), np.array([99])
    panel = choose_panel(label, 100, n_cells=60, shown=shown, shown_query=shown_query, keep=keep, keep_query=keep_query)
    assert set(np.flatnonzero(~shown[: len(label)])) & set(panel.rows.tolist()) == {3}
    assert set(panel.query_rows.tolist()) == {*range(7), 99}
    whole = choose_panel(label, 7, n_cells=10**6, shown=shown)
    assert whole.rows.tolist() == np.flatnonzero(shown).tolist() and whole.query_rows.tolist() == list(range(7))


def test_a_cell_between_islands_lies_on_the_nearer_one_and_a_panel_cell_on_itself():
    from livelatent.session.placed import position_of

    random = np.random.default_rng(3)
    island = np.repeat([0, 1], [30, 11])
    panel = np.where(island[:, None] == 0, 0.0, 8.0) + random.normal(size=(41, 4))
    xy = np.where(island[:, None] == 0, [[-5.0, 2.0]], [[5.0, -1.0]]) + 0.05 * random.normal(size=(41, 2))
    cells = np.concatenate([panel[[7, 33]], panel[island == 0].mean(axis=0)[None] + 3.0])
    placed = position_of(cells.astype(np.float32), panel.astype(np.float32), xy.astype(np.float32))
    assert np.allclose(placed[:2], xy[[7, 33]], atol=1e-5)
    assert np.linalg.norm(placed[2] - [-5, 2]) < 0.5  # a mean over both islands would lie in the sea


def test_a_looks_share_counts_what_the_layout_process_took_and_not_the_waiting_for_it(monkeypatch):
    from livelatent.session import pace as module

    clock, helper = [100.0], [0.0, 0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    pace = module.Pace(0.1, lambda: True, lambda: (helper[0], helper[1]))

    def look():
        clock[0] += 5.0  # 2 s of its own, 3 s of waiting for a process that took 1.5 s of CPU
        helper[0] += 1.5
        helper[1] += 3.0

    pace.timed(look)
    assert pace.cost_s == pytest.approx(3.5) and pace.spent_s == pytest.approx(3.5)
    # Begun at 100 s, 3.5 s are a tenth of the time until 135 s.
    assert pace.next_s == pytest.approx(30.0)
    pace.cpu_share = 0.5
    assert pace.next_s == pytest.approx(2.0) and pace.is_resting
    clock[0] += 2.0
    assert not pace.is_resting
    with pytest.raises(ValueError, match=r"between 0\.01 and 1"):
        pace.cpu_share = 15
    assert pace.cpu_share == 0.5


def test_what_takes_longer_than_a_look_is_paid_off_by_the_looks_after_it(monkeypatch):
    from livelatent.session import pace as module

    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    pace = module.Pace(0.1, lambda: True)

    def taking(seconds):
        def work():
            clock[0] += seconds

        return work

    pace.timed(taking(1.0))
    assert pace.next_s == pytest.approx(9.0) and pace.owed_s == 0
    pace.timed(taking(6.0), in_instalments=True)  # begun at 1 s, while the trainer has its time
    # 7 s are the share of 70 s; the next look comes at 29 s, and 41 s of the trainer's time are owed.
    assert clock[0] + pace.next_s == pytest.approx(29.0) and pace.owed_s == pytest.approx(4.1)
    waited = []
    while pace.owed_s:
        clock[0] += pace.next_s
        waited.append(clock[0])
        pace.timed(taking(1.0))
    # Each further look takes 1 s and has 2.9 s to its credit: 4.1, 2.2, .3, and the third one's rest.
    assert waited == pytest.approx([29.0, 58.0, 87.0])
    assert clock[0] + pace.next_s == pytest.approx(100.0)
    # From the first look on: 10 s of work within 100 s.
    pace.cpu_share = 0.2
    assert clock[0] + pace.next_s == pytest.approx(93.5) and pace.owed_s == 0
