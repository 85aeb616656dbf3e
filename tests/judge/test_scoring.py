"""The ways to score novelty, on the small trained model."""

import dataclasses
import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from livelatent.atlas import Atlas, ingest
from livelatent.errors import CalibrationError, ModelError
from livelatent.judge import keep
from livelatent.judge.flags import find_novel
from livelatent.judge.novelty.methods import METHODS, checked_method
from livelatent.judge.novelty.thesis import likelihood
from livelatent.judge.reference import Reference, fit_reference, load_reference
from livelatent.models.cellular import Cellular
from livelatent.models.weights import load_model
from livelatent.train.embed import embed


@pytest.fixture(scope="module")
def patient(tiny_adatas, tmp_path_factory):
    """The cells of the second file, one donor of which has another name."""
    adata = tiny_adatas["two.h5ad"].copy()
    adata.obs["donor"] = adata.obs["donor"].astype(str).replace("d2", "patient")
    return ingest(adata, tmp_path_factory.mktemp("patient") / "patient.zarr", label="cell_type", batch="donor")


def auroc(novelty, atlas):
    hidden = atlas.true_labels[novelty.rows] == "B cell"
    judged = hidden | (atlas.label[novelty.rows] >= 0)
    return roc_auc_score(hidden[judged], novelty.score[judged])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ranks_a_hidden_type_first(trained, hidden_atlas, method):
    novelty = find_novel(trained, hidden_atlas, method=method)
    assert novelty.method == method
    # Of three known types few mixtures can be made, and the thesis's rule is the weak one.
    assert auroc(novelty, hidden_atlas) > (0.6 if method in ("thesis", "synthetic") else 0.75)
    assert set(novelty.p_value <= novelty.target_fpr) == {True, False} or method == "thesis"


def test_one_score_alone_is_its_own_conformal_p(trained, hidden_atlas):
    reference = fit_reference(trained, hidden_atlas)
    novelty = find_novel(trained, hidden_atlas, method="mahalanobis")
    from livelatent.judge.expression import gene_indices, log_genes

    x = log_genes(hidden_atlas, novelty.rows, gene_indices(hidden_atlas, trained.genes), trained.mean_total)
    score = reference.expression.mahalanobis.score(reference.expression.projection(x))
    known = reference.expression.scores[0]
    wanted = [(1 + (known >= one).sum()) / (len(known) + 1) for one in score]
    np.testing.assert_allclose(novelty.p_value, wanted)


@pytest.mark.parametrize("method", ["expression", "mahalanobis", "synthetic"])
def test_without_a_network_weights_change_nothing(trained, hidden_atlas, method):
    untrained = Cellular(hidden_atlas, n_genes=120, n_latent=10, seed=5)
    fit_reference(untrained, hidden_atlas)
    novelty = find_novel(untrained, hidden_atlas, method=method)
    again = find_novel(trained, hidden_atlas, method=method)
    np.testing.assert_array_equal(novelty.p_value, again.p_value)
    assert [flag.reason for flag in novelty] == [flag.reason for flag in again]


def test_the_documents_rule_flags_what_lies_below_its_threshold(trained, hidden_atlas):
    import torch

    novelty = find_novel(trained, hidden_atlas, method="thesis")
    with torch.no_grad():
        logits = trained.logits(torch.from_numpy(embed(trained, hidden_atlas, novelty.rows))).numpy()
    np.testing.assert_allclose(novelty.p_value, likelihood(logits), atol=1e-5)
    assert novelty.target_fpr == 0.25
    assert find_novel(trained, hidden_atlas, method="thesis", threshold=0.1).target_fpr == 0.1
    assert "no rate of false alarms" in novelty.calibration
    assert "likelihood 0.25" in repr(novelty)


def test_a_model_without_a_classifier_has_no_rule_of_the_document(trained, hidden_atlas, monkeypatch):
    monkeypatch.setattr(type(trained), "logits", None)
    with pytest.raises(ModelError, match=r'Cellular has no classifier of its own.*"combined" of `find_novel`'):
        find_novel(trained, hidden_atlas, method="thesis")


def test_an_unknown_method_names_those_there_are():
    with pytest.raises(ValueError, match=r"one of combined, knn, .*; got 'magic'"):
        checked_method("magic")


def test_the_query_aware_score_refuses_batches_that_calibration_does_not_have(trained, patient, tiny_adatas, tmp_path):
    with pytest.raises(CalibrationError, match=r'of d1, d2, d3, not patient:.*91 %.*method="combined"'):
        find_novel(trained, patient, method="query_aware")
    unnamed = ingest(tiny_adatas["two.h5ad"], tmp_path / "unnamed.zarr")
    with pytest.raises(CalibrationError, match="names no batch"):
        find_novel(trained, unnamed, method="query_aware")


def test_the_query_aware_score_needs_the_training_atlas(trained, hidden_atlas, tiny_atlas, tmp_path, monkeypatch):
    monkeypatch.setattr(type(trained), "atlas_path", str(tmp_path / "gone.zarr"))
    known = tiny_atlas.rows(labelled=True)
    with pytest.raises(ModelError, match=r"can't be opened.*training_atlas="):
        find_novel(trained, tiny_atlas, rows=known, method="query_aware")
    with pytest.raises(ModelError, match="not the atlas that the model's reference was fitted on"):
        find_novel(trained, tiny_atlas, rows=known, method="query_aware", training_atlas=tiny_atlas)
    named = find_novel(trained, tiny_atlas, rows=known, method="query_aware", training_atlas=hidden_atlas)
    assert any("gained nothing" in text for text in named.warnings)


def test_a_query_of_one_donor_is_held_against_that_donors_cells_only(trained, hidden_atlas):
    code = hidden_atlas.batch_names.index("d1")
    rows = np.flatnonzero((hidden_atlas.batch == code) & (hidden_atlas.split == "validation"))
    novelty = find_novel(trained, hidden_atlas, rows=rows, method="query_aware")
    held = hidden_atlas.rows("calibration", labelled=True)
    assert f"{(hidden_atlas.batch[held] == code).sum()} calibration cells" in novelty.calibration
    assert not any("other shares" in text for text in novelty.warnings)


def test_new_batches_are_a_warning(trained, patient):
    novelty = find_novel(trained, patient)
    assert any("1 of the query's batches (patient)" in text for text in novelty.warnings)
    assert "Warning: New to the model" in repr(novelty)


def test_flags_say_what_is_measured_of_their_cells(trained, hidden_atlas):
    genes = [str(gene) for gene in hidden_atlas.genes]
    # The hidden type's own markers as "S genes": its cells then all divide, and the others do not.
    cycle = {"S": genes[25:45], "G2M": genes[200:215]}
    flag = find_novel(trained, hidden_atlas, cell_cycle=cycle)[0]
    assert flag.quality.table.loc["depth", "flag"] == np.median(hidden_atlas.total[flag.rows])
    assert np.isnan(flag.quality.table.loc["mitochondrial share", "flag"])
    assert flag.quality.phases["S"] > 0.9
    assert "in S or G2M" in flag.reason
    assert not flag.is_probably_technical
    too_few = find_novel(trained, hidden_atlas, cell_cycle=(genes[25:45], [*genes[200:204], "MKI67"]))
    assert too_few[0].quality.phases == {}
    assert any("4 of the 5 G2M genes are measured" in text for text in too_few.warnings)


def test_a_reference_of_an_earlier_version_is_completed_where_the_atlas_is(trained, tmp_path, monkeypatch):
    folder = shutil.copytree(trained.folder, tmp_path / "m")
    kept = keep.read(folder / "judge", "reference", Reference)
    keep.write(folder / "judge", "reference", dataclasses.replace(kept, inspection=None))
    import json

    head = json.loads((folder / "judge" / "reference.json").read_text())
    del head["facts"]["inspection"], head["facts_sha256"]  # as the earlier version wrote it
    (folder / "judge" / "reference.json").write_text(json.dumps(head))
    model = load_model(folder)
    completed = load_reference(model)
    assert completed.inspection is not None
    assert completed.latent.model_sha256 == kept.latent.model_sha256

    query = Atlas.open(trained.atlas_path)
    lost = load_model(shutil.copytree(folder, tmp_path / "lost"))
    keep.write(tmp_path / "lost" / "judge", "reference", dataclasses.replace(kept, inspection=None))
    monkeypatch.setattr(type(lost), "atlas_path", str(tmp_path / "gone.zarr"))
    novelty = find_novel(lost, query)
    assert novelty[0].quality is None
    with pytest.raises(ModelError, match=r"earlier version.*fit_reference\(model, atlas\)"):
        find_novel(lost, query, method="expression")
