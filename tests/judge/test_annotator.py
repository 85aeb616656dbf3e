import shutil
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from livelatent.atlas import Atlas, ingest
from livelatent.errors import GeneMismatchError, LabelError, ModelError
from livelatent.judge import naming
from livelatent.judge.annotator import fit_annotator, load_annotator
from livelatent.judge.classifier import NewStudyWarning, annotate
from livelatent.models.cellular import Cellular
from livelatent.models.weights import load_model
from livelatent.train.embed import embed


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    """A copy of the trained model with an annotator of its own beside the reference."""
    folder = shutil.copytree(trained.folder, tmp_path_factory.mktemp("annotator") / "m")
    copy = load_model(folder)
    fit_annotator(copy, Atlas.open(copy.atlas_path), seed=1)
    return copy


def test_it_says_its_mixture_and_how_far_to_trust_it(model):
    fitted = load_annotator(model)
    assert fitted.weights.min() >= 0 and fitted.weights.sum() > 0.3
    text = repr(fitted)
    assert f"{fitted.weights[0]:.2f} x regression on genes + {fitted.weights[1]:.2f} x on components" in text
    assert "cells held back with their whole batch, in two folds" in text
    assert 0 <= fitted.reliability.error < 0.2
    assert f"expected calibration error {fitted.reliability.error:.3f}" in text
    assert fitted.batch_names == ("d1", "d2", "d3")


def test_regressions_learn_from_every_labelled_cell(model, hidden_atlas):
    from sklearn.linear_model import LogisticRegression

    from livelatent.judge.expression import log_genes

    rows = hidden_atlas.rows(labelled=True)
    x = log_genes(hidden_atlas, np.arange(607), np.arange(300), model.mean_total)
    plain = LogisticRegression(C=1.0, max_iter=500).fit(x[rows], hidden_atlas.label[rows])
    got = np.exp(load_annotator(model).heads.log_proba(model, hidden_atlas, np.arange(607))[0])
    np.testing.assert_allclose(got[:, plain.classes_], plain.predict_proba(x), atol=2e-3)


def test_a_loaded_model_answers_as_it_did_in_memory_whatever_the_querys_genes(model, tiny_adatas, tmp_path):
    source = tiny_adatas["two.h5ad"]
    genes = np.random.default_rng(2).permutation(np.setdiff1d(np.arange(300), [7, 90]))
    extra = anndata.AnnData(source.X[:, :3], obs=source.obs[[]], var={"name": ["EXTRA1", "EXTRA2", "EXTRA3"]})
    extra.var_names = ["EXTRA1", "EXTRA2", "EXTRA3"]
    mixed = anndata.concat([extra, source[:, genes]], axis=1, merge="first")
    mixed.obs = source.obs[["donor"]]
    mixed.write_h5ad(tmp_path / "query.h5ad")
    query = ingest(tmp_path / "query.h5ad", tmp_path / "query.zarr", batch="donor")
    here = annotate(model, query)
    shutil.copytree(model.folder, tmp_path / "moved")
    again = annotate(load_model(tmp_path / "moved"), query)
    pd.testing.assert_frame_equal(here, again, rtol=1e-6)
    assert any("2 of the 300 genes" in note for note in here.attrs["notes"])


def test_a_reference_alone_answers_where_no_annotator_is_kept_and_else_it_is_fitted(trained, model, hidden_atlas):
    quick = load_annotator(trained)
    assert "calibration and validation splits" in quick.weights_from
    assert quick.heads.genes == tuple(trained.genes)
    assert "whole batch" in load_annotator(model).weights_from
    rows = hidden_atlas.rows("validation", labelled=True)
    one, other = (annotate(each, hidden_atlas, rows)["label"] for each in (trained, model))
    assert (one == other).mean() > 0.9


def test_without_reference_annotator_and_atlas_there_is_a_way_out(tmp_path, hidden_atlas):
    lone = Cellular(hidden_atlas, n_genes=20, n_latent=3)
    object.__setattr__(lone.config, "atlas_path", str(tmp_path / "gone.zarr"))
    with pytest.raises(ModelError, match=r"never saved.*fit_annotator\(model, atlas\)"):
        load_annotator(lone)


def test_no_labelled_cell_is_a_clear_error(trained, own_atlas):
    own_atlas.__dict__["label"] = np.full(607, -1, np.int32)
    with pytest.raises(LabelError, match="learns from labelled cells, and there are none"):
        fit_annotator(trained, own_atlas)


def renamed(adata, tmp_path, genes=None, donors=None):
    changed = adata.copy()
    if genes is not None:
        changed.var_names = genes
    if donors is not None:
        changed.obs["donor"] = [donors[name] for name in changed.obs["donor"]]
    changed.write_h5ad(tmp_path / "q.h5ad")
    return ingest(tmp_path / "q.h5ad", tmp_path / "q.zarr", batch="donor")


def test_batches_all_new_are_warned_of_and_some_are_not(model, tiny_adatas, tmp_path):
    new = renamed(tiny_adatas["two.h5ad"], tmp_path, donors={"d1": "p1", "d2": "p2", "d3": "p1"})
    with pytest.warns(NewStudyWarning, match=r"\(p1, p2\) took part in training"):
        table = annotate(model, new)
    assert table.attrs["notes"][-1].startswith("None of the query's batches")
    (tmp_path / "some").mkdir()
    some = renamed(tiny_adatas["two.h5ad"], tmp_path / "some", donors={"d1": "p1", "d2": "d2", "d3": "p1"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        annotate(model, some)


def test_another_species_is_refused_by_name(model, tiny_adatas, tmp_path):
    lower = [f"Gene{g}" for g in range(300)]
    query = renamed(tiny_adatas["two.h5ad"], tmp_path, genes=lower)
    with pytest.raises(GeneMismatchError, match="another species"):
        annotate(model, query)


def test_cells_of_a_hidden_type_are_unassigned_more_often_and_seen_cells_never(model, hidden_atlas):
    table = annotate(model, hidden_atlas, target_fpr=0.1, tree={"T cell": "lymphoid", "NK cell": "lymphoid"})
    seen = np.isin(np.arange(607), hidden_atlas.rows("train", labelled=True))
    assert table["novelty_p"][seen].isna().all() and (table["assigned"][seen] == table["label"][seen]).all()
    is_b, known = hidden_atlas.true_labels == "B cell", np.isin(np.arange(607), hidden_atlas.rows("validation"))
    unassigned = (table["assigned"] == "unassigned").to_numpy()
    np.testing.assert_array_equal(unassigned, table["novelty_p"].to_numpy() <= 0.1)
    assert unassigned[is_b].mean() > 2 * unassigned[known & ~is_b].mean()
    assert set(table["node"].dropna()) <= {"T cell", "NK cell", "lymphoid", "monocyte"}
    plain = annotate(model, hidden_atlas, target_fpr=None)
    assert list(plain.columns) == ["label", "probability", "runner_up"]
    assert plain["label"].equals(table["label"])


def test_a_query_of_few_genes_leaves_the_regression_on_genes_out(model, hidden_atlas, monkeypatch):
    fitted = load_annotator(model)
    monkeypatch.setattr(naming.Heads, "raw_places", lambda self, atlas: np.full(len(self.genes), -1))
    rows = hidden_atlas.rows("validation", labelled=True)
    got = fitted.log_proba(model, hidden_atlas, rows)
    weights = np.array([0.0, max(fitted.weights[1], 1e-3), max(fitted.weights[2], 1e-3)])
    weights *= fitted.weights.sum() / weights.sum()
    wanted = naming.pool(fitted.heads.log_proba(model, hidden_atlas, rows), weights)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_the_models_own_classifier_can_name_cells_too(model, hidden_atlas):
    rows = hidden_atlas.rows("validation", labelled=True)
    table = annotate(model, hidden_atlas, rows, method="head", target_fpr=None)
    latent = torch.from_numpy(embed(model, hidden_atlas, rows, "cpu"))
    with torch.no_grad():
        proba = model.logits(latent).softmax(dim=1).numpy()
    assert table["label"].tolist() == [model.label_names[code] for code in proba.argmax(axis=1)]
    np.testing.assert_allclose(table["probability"], proba.max(axis=1), rtol=1e-5)
