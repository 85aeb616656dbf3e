import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from livelatent.errors import LabelError
from livelatent.judge.expression import log_genes
from livelatent.judge.held_back import stratified_folds
from livelatent.judge.scorecard import five_fold
from livelatent.models.cellular import Cellular


def test_folds_share_every_type_evenly():
    label = np.random.default_rng(0).choice(4, 203, p=[0.5, 0.3, 0.18, 0.02])
    fold = stratified_folds(label, 5, seed=2)
    for code in (None, 0, 1, 2, 3):
        sizes = np.bincount(fold if code is None else fold[label == code], minlength=5)
        assert sizes.max() - sizes.min() <= 1
    assert not np.array_equal(fold, stratified_folds(label, 5, seed=3))


def test_models_see_their_folds_cells_only_and_the_baseline_is_scikit_learns(tiny_atlas):
    seen, shares = [], []

    def make_model(atlas, rows):
        seen.append(rows)
        return Cellular(atlas, rows=rows, n_genes=60, n_latent=6)

    card = five_fold(tiny_atlas, make_model, epochs=6, device="cpu", progress=shares.append)
    labelled = tiny_atlas.rows(labelled=True)
    held = [np.setdiff1d(labelled, rows) for rows in seen]
    assert np.sort(np.concatenate(held)).tolist() == labelled.tolist()
    assert card.n_cells == len(labelled)
    assert card.n_left_out == 0
    assert shares == sorted(shares)
    assert shares[-1] == 1
    x = log_genes(tiny_atlas, tiny_atlas.rows(), np.arange(tiny_atlas.n_genes), tiny_atlas.mean_total)
    label = tiny_atlas.label
    for fold in (0, 3):
        plain = LogisticRegression(C=1.0, max_iter=500).fit(x[seen[fold]], label[seen[fold]])
        wanted = plain.score(x[held[fold]], label[held[fold]])
        assert card.folds["lr_raw"][fold] == pytest.approx(wanted, abs=1.5 / len(held[fold]))
    assert card["lr_raw"] == pytest.approx(card.folds["lr_raw"].mean())
    assert card["annotator"] > 0.9
    assert card["annotator"] >= max(card["lr_raw"], card["lr_pca"]) - 0.03


def test_a_sample_says_how_many_cells_it_left_out(tiny_atlas):
    def make_model(atlas, rows):
        return Cellular(atlas, rows=rows, n_genes=20, n_latent=3)

    card = five_fold(tiny_atlas, make_model, epochs=1, max_cells=120, device="cpu")
    assert card.n_cells <= 120
    assert card.n_cells + card.n_left_out == len(tiny_atlas.rows(labelled=True))


def test_one_type_cannot_be_cross_validated(own_atlas):
    own_atlas.__dict__["label"] = np.where(own_atlas.label == 0, 0, -1).astype(np.int32)
    with pytest.raises(LabelError, match="two types"):
        five_fold(own_atlas)
