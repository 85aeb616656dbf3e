"""The comparison on the tiny atlas, by fast methods; the whole of it once."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from livelatent.errors import ColumnError, DeviceError, LabelError
from livelatent.judge.comparison.compare import compare
from livelatent.judge.comparison.methods import MODELS, lr_raw, methods_of
from livelatent.judge.comparison.scores import annotation_scores, embedding_scores
from livelatent.judge.comparison.show import figure, markdown
from livelatent.judge.comparison.splits import groups_of, held_out_splits, stratified_splits
from livelatent.judge.comparison.trial import Answer, Method
from livelatent.judge.expression import log_genes
from livelatent.models.cellular import Cellular


def test_each_batch_is_held_out_once_and_types_of_it_alone_are_not_scored(tiny_atlas):
    splits = held_out_splits(tiny_atlas, groups_of(tiny_atlas))
    assert [split.name for split in splits] == list(tiny_atlas.batch_names)
    nk = tiny_atlas.label_names.index("NK cell")
    labelled = tiny_atlas.rows(labelled=True)
    for code, split in enumerate(splits):
        own = labelled[tiny_atlas.batch[labelled] == code]
        assert set(split.held) == set(own[tiny_atlas.label[own] != nk])
        assert split.n_new_type == (tiny_atlas.label[own] == nk).sum()
        assert set(split.training) == set(labelled) - set(own)
    assert splits[0].n_new_type > 0


def test_folds_stratified_by_type_cover_every_labelled_cell(tiny_atlas):
    splits = stratified_splits(tiny_atlas, 4)
    assert np.sort(np.concatenate([split.held for split in splits])).tolist() == tiny_atlas.rows(labelled=True).tolist()
    assert all(len(np.intersect1d(split.held, split.training)) == 0 for split in splits)


def test_scores_are_scikit_learns_over_the_types_that_are_there():
    label, predicted = np.array([0, 0, 0, 2, 2, 1]), np.array([0, 0, 3, 2, 0, 1])
    got = annotation_scores(label, predicted)
    assert got["accuracy"] == pytest.approx(4 / 6)
    assert got["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert got["macro_f1"] == pytest.approx(f1_score(label, predicted, labels=[0, 1, 2], average="macro"))


def test_an_embedding_of_separate_types_has_an_nmi_of_1():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [60, 40, 50])
    apart = rng.normal(size=(150, 4)) + 30 * np.eye(4)[label]
    assert embedding_scores(apart, label, label)["nmi"] == pytest.approx(1)
    assert embedding_scores(rng.normal(size=(150, 4)), label, label)["nmi"] < 0.3


def test_the_raw_row_is_scikit_learns_and_gains_are_over_the_better_baseline(tiny_atlas):
    label = np.asarray(tiny_atlas.label)

    def right_but(every):
        def method(trial):
            predicted = label[trial.split.held].copy()
            predicted[::every] = (predicted[::every] + 1) % 4
            return Answer(predicted)

        return method

    methods = [Method("lr_raw", lr_raw), Method("lr_pca", right_but(3)), Method("livelatent", right_but(50))]
    found = compare(tiny_atlas, methods=methods, embeddings=False)
    x = log_genes(tiny_atlas, np.arange(607), np.arange(300), tiny_atlas.mean_total)
    trials = found.trials.set_index(["method", "split"])["accuracy"]
    for split in held_out_splits(tiny_atlas, groups_of(tiny_atlas)):
        plain = LogisticRegression(C=1.0, max_iter=500).fit(x[split.training], label[split.training])
        wanted = (plain.predict(x[split.held]) == label[split.held]).mean()
        assert trials["lr_raw"][split.name] == pytest.approx(wanted, abs=1.5 / len(split.held))
        better = max(trials["lr_raw"][split.name], trials["lr_pca"][split.name])
        assert found.gain()["accuracy"][split.name] == pytest.approx(trials["livelatent"][split.name] - better)
    row = found.rows[2]
    assert row["accuracy"] == pytest.approx(trials["livelatent"].mean())
    assert row["accuracy_sd"] == pytest.approx(trials["livelatent"].std())
    assert row["nmi"] is None and row["cpu_s"] >= 0


def test_a_method_without_chance_runs_once_and_others_for_every_seed(tiny_atlas):
    seen = []

    def method(trial):
        seen.append((trial.split.name, trial.seed))
        return Answer(np.zeros(len(trial.split.held), np.int64))

    found = compare(
        tiny_atlas,
        methods=[Method("fixed", method), Method("random", method, is_random=True)],
        seeds=2,
        embeddings=False,
    )
    assert len(seen) == 3 * (1 + 2)
    assert found.rows[1]["n_trials"] == 6


def test_a_peer_that_fails_says_so_in_its_row_and_the_others_stay(tiny_atlas):
    def failing(trial):
        raise RuntimeError("needs another torch")

    fixed = Method("fixed", lambda trial: Answer(np.zeros(len(trial.split.held), np.int64)))
    found = compare(tiny_atlas, methods=[fixed, Method("scvi", failing, is_peer=True)], embeddings=False)
    first, second = found.rows
    assert first["accuracy"] > 0 and second["accuracy"] is None and second["n_trials"] == 3
    assert "d1: scvi failed: RuntimeError: needs another torch" in found.to_json()["notes"]
    assert "| scvi | - | - | - |" in markdown(found)
    assert len(figure(found).axes) == 2
    with pytest.raises(RuntimeError, match="another torch"):
        compare(tiny_atlas, methods=[Method("ours", failing)], embeddings=False)


def test_what_would_fail_after_an_hour_is_refused_at_once(tiny_atlas):
    def never(trial):
        raise AssertionError("a method was run")

    methods = [Method("never", never)]
    with pytest.raises(DeviceError, match="tpu9"):
        compare(tiny_atlas, methods=methods, device="tpu9")
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        compare(tiny_atlas, methods=methods, seeds=0)
    with pytest.raises(ColumnError, match="study"):
        compare(tiny_atlas, methods=methods, by="study")
    with pytest.raises(ColumnError, match="holds numbers"):
        compare(tiny_atlas, methods=methods, by="age")


def test_every_row_of_the_issue_is_there_and_shown(tiny_atlas, monkeypatch):
    monkeypatch.setitem(
        MODELS,
        "cellular",
        lambda atlas, rows, seed: Cellular(atlas, rows=rows, seed=seed, n_genes=40, n_latent=4),
    )
    found = compare(tiny_atlas, methods=methods_of(peers=False), epochs=2, device="cpu")
    names = [row["method"] for row in found.rows]
    assert names == ["lr_raw", "lr_pca", "knn_pca", "livelatent", "cellular"]
    assert all(row["accuracy"] > 0.7 for row in found.rows)
    assert all(0 <= row["nmi"] <= 1 for row in found.rows[1:])
    # Both pay for the network that they share, the annotator for its folds' networks too.
    cost = {row["method"]: row["cpu_s"] for row in found.rows}
    assert cost["livelatent"] > cost["cellular"] > 0
    text = markdown(found)
    assert text.count("\n| ") == 2 + len(names) and "livelatent's annotator" in text
    assert "of types that no other group has are not scored" in text
    # Two batches are left to learn from, too few to hold one back.
    assert "two folds stratified by type" in found.to_json()["trials"][3]["note"]
    assert [axes.get_xlabel() for axes in figure(found).axes] == ["accuracy", "macro-F1"]


def test_an_unknown_model_and_a_file_of_one_type_are_refused(own_atlas):
    with pytest.raises(ValueError, match="models are cellular"):
        methods_of(["nonsense"])
    own_atlas.__dict__["label"] = np.where(own_atlas.label == 0, 0, -1).astype(np.int32)
    with pytest.raises(LabelError, match="at least two types; got 1"):
        compare(own_atlas)
