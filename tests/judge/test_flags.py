import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from livelatent.judge.evidence import log_excess_p
from livelatent.judge.flag import rare_and_wide, reason
from livelatent.judge.flags import find_novel
from livelatent.judge.prototypes import Prototypes
from livelatent.models.weights import load_model


@pytest.fixture(scope="module")
def novelty(trained, hidden_atlas):
    return find_novel(trained, hidden_atlas)


def test_a_hidden_type_is_one_flag_with_most_of_its_cells(novelty, hidden_atlas):
    hidden = hidden_atlas.true_labels == "B cell"
    flag = novelty[0]
    assert hidden[flag.rows].mean() >= 0.8
    assert hidden[flag.rows].sum() >= 0.6 * hidden.sum()
    assert flag.p_value < 1e-6
    assert sum(hidden[other.rows].sum() for other in novelty[1:]) <= 0.1 * hidden.sum()


def test_hidden_cells_score_higher_than_known_ones(novelty, hidden_atlas):
    hidden = hidden_atlas.true_labels[novelty.rows] == "B cell"
    known = hidden_atlas.label[novelty.rows] >= 0
    judged = hidden | known
    # Over five seeds of the shuffle, and so of the split, it was .87 to .98 (607 cells).
    assert roc_auc_score(hidden[judged], novelty.score[judged]) > 0.85


def test_its_markers_are_the_genes_that_make_a_b_cell(novelty):
    # The tiny cells' second type has genes 25 to 49 twelve times higher.
    flag = novelty[0]
    assert flag.higher
    assert set(flag.higher) <= {f"GENE{g}" for g in range(25, 50)}
    assert flag.nearest[0][0] in flag.reason
    assert [radii for _, radii in flag.nearest] == sorted(radii for _, radii in flag.nearest)
    assert sum(flag.batches.values()) == flag.n_cells == len(flag.rows)
    assert (np.diff(flag.rows) > 0).all()


def test_cells_that_training_has_seen_are_not_scored(novelty, hidden_atlas):
    seen = np.union1d(hidden_atlas.rows("train", labelled=True), hidden_atlas.rows("calibration", labelled=True))
    np.testing.assert_array_equal(novelty.rows, np.setdiff1d(hidden_atlas.rows(), seen))
    assert novelty.p_value.min() >= 1 / (len(hidden_atlas.rows("calibration", labelled=True)) + 1)


def test_known_cells_of_another_store_make_no_flag(trained, tiny_atlas):
    known = tiny_atlas.rows("validation", labelled=True)
    known = known[tiny_atlas.true_labels[known] != "B cell"]
    novelty = find_novel(trained, tiny_atlas, rows=known)
    np.testing.assert_array_equal(novelty.rows, known)
    assert len(novelty) == 0
    every = find_novel(trained, tiny_atlas)
    assert len(every.rows) == tiny_atlas.n_cells
    assert (tiny_atlas.true_labels[every[0].rows] == "B cell").mean() > 0.8


def test_another_threshold_changes_cells_and_not_scores(novelty):
    stricter = novelty.at(0.03)
    assert stricter.n_flagged <= novelty.n_flagged
    assert stricter.p_value is novelty.p_value
    assert stricter.target_fpr == 0.03
    back = stricter.at(0.05)
    assert [flag.rows.tolist() for flag in back] == [flag.rows.tolist() for flag in novelty]
    curve = novelty.curve.set_index("target_fpr")["n_flagged"]
    assert curve[0.05] == novelty.n_flagged
    assert curve.is_monotonic_increasing
    for target in (0.0, 0.3):
        with pytest.raises(ValueError, match="target_fpr"):
            novelty.at(target)


def test_a_threshold_that_the_calibration_cannot_resolve_says_so(trained, hidden_atlas):
    novelty = find_novel(trained, hidden_atlas, target_fpr=0.001)
    assert novelty.n_flagged == len(novelty) == 0
    assert "Too few for a target of 0.1%" in novelty.calibration


def test_a_part_of_a_flag_is_looked_at_anew(novelty):
    flag = novelty[0]
    half = novelty.flag_of(flag.rows[::2], 0.02)
    np.testing.assert_array_equal(half.rows, flag.rows[::2])
    assert half.p_value == 0.02 and half.nearest[0][0] in half.reason
    assert sum(half.batches.values()) == len(half.rows)
    whole = novelty.flag_of(flag.rows, flag.p_value)
    assert (whole.reason, whole.higher, whole.batches) == (flag.reason, flag.higher, flag.batches)
    with pytest.raises(ValueError, match="no flag"):
        novelty.flag_of(novelty.rows[novelty.p_value > 0.25], 0.5)
    assert set(novelty.known_types) == {"NK cell", "T cell", "monocyte"}


@pytest.mark.parametrize(
    ("index", "radii", "wanted"),
    [(2, 0.8, 12), (2, 1.2, None), (0, 0.8, None), (1, 0.8, None)],
)
def test_only_a_rare_types_wide_radius_is_called_so(index, radii, wanted):
    # Three types: common and usual, common and wide, rare and wide.
    prototypes = Prototypes(
        names=("common", "broad", "rare"),
        centroid=np.zeros((3, 2)),
        median=np.zeros((3, 2)),
        medoid=np.zeros((3, 2)),
        medoid_cell=np.arange(3),
        medoid_is_exact=(True,) * 3,
        count=np.array([500, 400, 12]),
        spread=np.ones(3),
        radius=np.array([1.0, 1.0, 2.5]),
    )
    assert rare_and_wide(prototypes, index, radii) == wanted
    if wanted:
        assert "inside the wide radius of a rare type (rare, 12 cells)" in reason(
            (("rare", radii),), {}, 0, None, wanted
        )


def test_no_cells_are_no_flags(trained, hidden_atlas):
    nothing = find_novel(trained, hidden_atlas, rows=np.empty(0, np.int64))
    assert len(nothing) == len(nothing.rows) == nothing.n_flagged == 0


def test_a_saved_model_needs_no_atlas_and_finds_the_same(trained, hidden_atlas, novelty, tmp_path):
    import shutil

    folder = shutil.copytree(trained.folder, tmp_path / "elsewhere")
    again = find_novel(load_model(folder), hidden_atlas)
    np.testing.assert_array_equal(again.p_value, novelty.p_value)
    assert [flag.reason for flag in again] == [flag.reason for flag in novelty]


def test_missing_genes_are_named_as_a_reason_for_false_alarms(trained, own_atlas):
    gone = trained.genes[5]
    own_atlas.genes = np.array(["other" if g == gone else g for g in own_atlas.genes], dtype=object)
    assert "1 of the model's 120 genes are missing" in find_novel(trained, own_atlas).calibration


def test_the_excess_of_a_cluster_is_the_chance_of_drawing_it():
    rng = np.random.default_rng(0)
    # 30 scored and 20 known cells; a blind cluster of 10 has at least 8 scored ones this often.
    draws = np.array([(rng.permutation(50)[:10] < 30).sum() for _ in range(20_000)])
    got = np.exp(log_excess_p(np.array([8]), np.array([2]), 30, 20))[0]
    assert got == pytest.approx((draws >= 8).mean(), abs=0.01)


@pytest.mark.parametrize(
    ("nearest", "batches", "n_batches", "wanted"),
    [
        ((("B", 2.4), ("DC", 2.6)), {"1": 3, "2": 1}, 2, "Between B and DC, 2.4 of its radii from the nearest (B)."),
        ((("CD34+", 1.3), ("B", 4.0)), {}, 0, "Nearest: CD34+ (1.3 of its radii)."),
        ((("B", 2.0),), {"107": 9}, 1, "Nearest: B (2.0 of its radii)."),
        (
            (("B", 2.0),),
            {"107": 9},
            8,
            "Nearest: B (2.0 of its radii). All from 107: look for a batch effect before naming it.",
        ),
    ],
)
def test_reasons_are_plain_sentences(nearest, batches, n_batches, wanted):
    assert reason(nearest, batches, n_batches) == wanted
