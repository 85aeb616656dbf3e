"""What a hurried user gives `judge`: one clear message each, before anything is fitted or written."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from latents import mixed_latent
from livelatent.arrays import as_rows
from livelatent.errors import GeneMismatchError, LabelError, ModelError, UndefinedMetricError
from livelatent.judge.classifier import annotate
from livelatent.judge.flags import find_novel
from livelatent.judge.label_tree import LabelTree
from livelatent.judge.metrics.compare import compare_latents
from livelatent.judge.metrics.integration import score_latent
from livelatent.judge.prototypes import fit_prototypes
from livelatent.models.beta_vae import BetaVAE
from livelatent.models.weights import load_model
from livelatent.train.embed import embed


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, 0.3, float("nan")])
def test_a_rate_that_can_not_be_asked_for_is_refused_before_anything_is_fitted(tiny_atlas, target):
    bare = BetaVAE(tiny_atlas, n_genes=20, n_latent=3)  # nothing is fitted for it yet: that would show in its cost
    for call in (annotate, find_novel):
        with pytest.raises(ValueError, match=rf"target_fpr is a share of cells, more than 0 .* got {target}"):
            call(bare, tiny_atlas, target_fpr=target)
    with pytest.raises(ValueError, match="threshold is a share"):
        find_novel(bare, tiny_atlas, method="thesis", threshold=target)


def test_ways_that_do_not_exist_are_refused_by_name(trained, hidden_atlas):
    with pytest.raises((ValueError, TypeError), match="method"):
        annotate(trained, hidden_atlas, method="forest")
    with pytest.raises((ValueError, TypeError), match="method"):
        find_novel(trained, hidden_atlas, method="forest")
    with pytest.raises(LabelError, match="goes in a circle"):
        annotate(trained, hidden_atlas, tree={"T cell": "x", "x": "T cell"})


def test_a_model_without_a_classifier_says_what_else_there_is_before_anything_is_fitted(hidden_atlas, tmp_path):
    bare = BetaVAE(hidden_atlas, n_genes=20, n_latent=3)
    bare.save(tmp_path / "bare")
    bare = load_model(tmp_path / "bare")  # what is fitted for it is kept in its folder
    before = sorted(path.name for path in (tmp_path / "bare").rglob("*"))
    with pytest.raises(ModelError, match="BetaVAE has no classifier of its own"):
        annotate(bare, hidden_atlas, hidden_atlas.rows("validation"), target_fpr=None, method="head")
    with pytest.raises(ModelError, match='"combined" of `find_novel`'):
        find_novel(bare, hidden_atlas, method="thesis")
    assert sorted(path.name for path in (tmp_path / "bare").rglob("*")) == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([0.5, 1.2]), "whole numbers in 0..9, .* got float64"),
        (["train"], "whole numbers in 0..9"),
        ([[0, 1], [2, 3]], r"along one axis.* shape \(2, 2\)"),
        ([3, 10], r"rows must lie in 0..9; got 3..10"),
        ([-1], r"rows must lie in 0..9; got -1..-1"),
        (np.zeros(9, bool), r"a mask over 10 cells was wanted; got one of shape \(9,\)"),
    ],
)
def test_rows_that_name_no_cells_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        as_rows(rows, 10)
    assert as_rows([], 10).tolist() == as_rows(np.zeros(10, bool), 10).tolist() == []


LATENT, LABEL, BATCH, _ = (part[:200] for part in mixed_latent())


@pytest.mark.parametrize(
    ("latent", "given", "message"),
    [
        (LATENT[:, 0], {}, r"table of real numbers, \[cell, dimension\]; got ndarray of shape \(200,\)"),
        (LATENT.astype(complex), {}, "real numbers"),
        (LATENT.astype(str), {}, "real numbers"),
        (sparse.csr_matrix(LATENT), {}, "real numbers.*got csr_matrix"),
        (np.where(LATENT > 1, np.nan, LATENT), {}, "must be finite"),
        (LATENT, {"max_cells": 0}, "room for two cells of each of the 5 labels, 10 in all; got 0"),
        (LATENT, {"max_cells": 9}, "10 in all; got 9"),
        (LATENT, {"resolutions": ()}, "resolutions are positive numbers, at least one"),
        (LATENT, {"resolutions": (1.0, float("nan"))}, "resolutions are positive numbers"),
        (LATENT[:90], {}, "a latent of 90 cells was given with the labels of 200"),
        (LATENT[:, :0], {}, "lie on one point"),
    ],
)
def test_a_latent_that_can_not_be_judged_is_refused(latent, given, message):
    with pytest.raises((ValueError, UndefinedMetricError), match=message):
        score_latent(latent, LABEL, BATCH, **given)


def test_labels_of_two_axes_and_none_at_all_are_refused():
    with pytest.raises(ValueError, match=r"one for each cell, along one axis; got an array of shape \(200, 1\)"):
        score_latent(LATENT, LABEL[:, None], BATCH)
    for nothing in ([None] * 200, np.full(200, np.nan), np.full(200, -1)):
        with pytest.raises(LabelError, match="got 0 labels and 0 labelled cells"):
            score_latent(LATENT, nothing, BATCH)


def test_a_latent_may_be_a_table_or_lists_of_any_scale_and_labels_floats_with_gaps():
    known = np.where(LABEL == 2, np.nan, LABEL.astype(float))
    settings = {"resolutions": (0.5, 1.0)}
    wanted = score_latent(LATENT, np.where(LABEL == 2, -1, LABEL), BATCH, **settings)
    assert wanted.n_unlabelled == (LABEL == 2).sum()
    for latent in (pd.DataFrame(LATENT), LATENT.tolist(), LATENT * 1e25, LATENT.astype(float) * 1e-35):
        got = score_latent(latent, known, BATCH, **settings)
        assert got.n_unlabelled == wanted.n_unlabelled
        assert got.values == pytest.approx(wanted.values, abs=0.02)
    negative = score_latent(LATENT, np.where(LABEL == 2, -1.0, LABEL), BATCH, **settings)
    assert negative.values == wanted.values


def test_latents_are_refused_by_name_and_a_tie_still_has_its_scores(tiny_atlas):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(607, 3)) + np.asarray(tiny_atlas.label)[:, None]
    rows = tiny_atlas.rows("train", labelled=True)[:200]
    latent, genes = latent[rows], np.arange(40)
    with pytest.raises((ValueError, TypeError), match="latents"):
        compare_latents(tiny_atlas, {}, rows)
    with pytest.raises(ValueError, match="spoilt: the latent must be finite"):
        compare_latents(tiny_atlas, {"mine": latent, "spoilt": np.full_like(latent, np.nan)}, rows, genes=genes)
    # Where types are checked, as here, the lengths are compared already.
    with pytest.raises((ValueError, TypeError), match="short"):
        compare_latents(tiny_atlas, {"short": latent[:10]}, rows)
    for wrong in (np.array([0, 300]), np.array([], np.int64)):
        with pytest.raises(ValueError, match="genes are indices into the atlas's 300 genes"):
            compare_latents(tiny_atlas, {"mine": latent}, rows, genes=wrong)
    tied = compare_latents(tiny_atlas, {"one": latent, "other": latent.copy()}, rows, genes=genes)
    assert tied.overall is None
    assert tied.table.loc["one"].equals(tied.table.loc["other"])


def test_prototypes_of_nothing_or_of_spoilt_cells_are_refused():
    latent, label, rows = LATENT[:30], np.repeat([0, 1, -1], 10), np.arange(30)
    spoilt = latent.copy()
    spoilt[3, 1] = np.nan
    with pytest.raises(ValueError, match="latents of 1 labelled cells are not finite"):
        fit_prototypes(spoilt, label, ("a", "b"), rows)
    spoilt[3], spoilt[25, 0] = latent[3], np.inf  # of a cell without a label: it enters nothing
    fitted = fit_prototypes(spoilt, label, ("a", "b"), rows)
    with pytest.raises(ValueError, match="indices into 1 names"):
        fit_prototypes(latent, label, ("a",), rows)
    with pytest.raises((ValueError, TypeError), match="label"):
        fit_prototypes(latent, label[:20], ("a", "b"), rows)
    with pytest.raises((ValueError, TypeError), match=r"kind|centroid, median, medoid"):
        fitted.distances("mean")
    with pytest.raises((ValueError, TypeError), match=r"of 10 dimensions were wanted|latent"):
        fitted.nearest(latent[:, :3])
    with pytest.raises(ValueError, match="every cell of the atlas"):
        fitted.facts(["x"] * 5)


def test_a_label_tree_is_a_mapping_of_names():
    with pytest.raises((LabelError, TypeError), match="parent"):
        LabelTree({"A": 3})


def test_an_empty_query_and_one_cell_are_answered(trained, tiny_atlas):
    for rows in (np.zeros(0, np.int64), np.array([5])):
        table = annotate(trained, tiny_atlas, rows)
        novelty = find_novel(trained, tiny_atlas, rows=rows)
        assert len(table) == len(novelty.rows) == len(embed(trained, tiny_atlas, rows)) == len(rows)
        assert len(novelty) == 0
        with pytest.raises(IndexError, match=r"no flag 0: 0 clusters .* at 5.0% false alarms"):
            novelty[0]
        assert novelty.n_flagged <= len(rows)


def test_a_query_that_shares_one_gene_is_refused_by_both(trained, tiny_adatas, tmp_path):
    from livelatent.atlas import ingest

    other = tiny_adatas["two.h5ad"].copy()
    other.var_names = [str(trained.genes[0]), *(f"OTHER{g}" for g in range(299))]
    other.write_h5ad(tmp_path / "q.h5ad")
    query = ingest(tmp_path / "q.h5ad", tmp_path / "q.zarr", progress=False)
    for call in (annotate, find_novel):
        with pytest.raises(GeneMismatchError, match=r"q\.zarr: 119 of the model's 120 genes are missing"):
            call(trained, query)
