"""The novelty benchmark's own arithmetic: who is asked about, and how answers are counted."""

import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import mannwhitneyu

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "leaving_out"]:
        del sys.modules[name]


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    kind = np.repeat(["A", "B", "C"], [200, 90, 40])
    batch = np.where(rng.random(330) < 0.3, "x", "y")
    batch[kind == "C"] = "x"
    obs = pd.DataFrame({"cell_type": kind, "batch": batch}, index=[f"c{i}" for i in range(330)])
    return anndata.AnnData(sparse.csr_matrix(np.ones((330, 2), np.float32)), obs=obs)


def test_a_query_has_all_hidden_cells_and_a_fifth_of_every_batch_of_the_others(cells):
    from leaving_out.tasks import Task, divided

    reference, query = divided(cells, Task("data", hidden="B"), seed=3)
    assert not set(reference.obs_names) & set(query.obs_names)
    assert len(reference) + len(query) == 330
    assert (query.obs["cell_type"] == "B").sum() == 90
    assert (reference.obs["cell_type"] != "B").all()
    others = cells.obs[cells.obs["cell_type"] != "B"]["batch"].value_counts()
    asked = query.obs[query.obs["cell_type"] != "B"]["batch"].value_counts()
    assert {name: round(0.2 * n) for name, n in others.items()} == asked.to_dict()


def test_a_held_out_batch_is_asked_about_types_that_are_known_elsewhere(cells):
    from leaving_out.tasks import Task, divided

    reference, query = divided(cells, Task("data", held_out=("x",), what="new study"), seed=3)
    assert set(reference.obs["batch"]) == {"y"}
    assert set(query.obs["batch"]) == {"x"}
    # C lives in x alone: it would be new there.
    assert set(query.obs["cell_type"]) == {"A", "B"}


def test_ranking_is_that_of_plain_counts():
    from leaving_out.scores import ranking

    rng = np.random.default_rng(1)
    new = rng.random(300) < 0.3
    score = rng.normal(size=300) + new
    got = ranking(score, new)
    n_pairs = new.sum() * (~new).sum()
    assert got["auroc"] == pytest.approx(mannwhitneyu(score[new], score[~new]).statistic / n_pairs)
    threshold = next(t for t in np.sort(score)[::-1] if (score[new] >= t).mean() >= 0.95)
    assert got["fpr95"] == pytest.approx((score[~new] >= threshold).mean())


def test_bars_are_of_the_default_and_of_few_novel_cells_with_the_query_in_mind():
    from leaving_out.figures import figures

    def record(method, share, auroc, **more):
        base = {"what": "random", "data": "d", "is_subtype": False, "method": method, "share": share}
        values = {"aupr": 0.5, "fpr95": 0.2, "detected_at_target": 0.8, "realised_fpr": 0.05}
        return base | values | {"auroc": auroc, "in_flags": 0.5, "false_flags": 0} | more

    table = figures(
        [
            record("combined", "all", 0.8, estimate=0.1),
            record("combined", "all", 1.0, data="e", is_subtype=True, detected_at_target=0.2),
            record("query_aware", "few", 0.9),
            record("thesis", "all", 0.7, least_novel=0.2, least_known=0.6),
            {"what": "new study", "data": "d", "held_out": ["x"], "method": "query_aware", "refused": "other batches"},
        ]
    )
    assert (table["n_runs"], table["auroc"], table["worst_auroc"]) == (2, 0.9, 0.8)
    assert table["bars"]["met"] == {"auroc": True, "fpr95": True, "detected_at_target": False, "realised_fpr": True}
    assert table["bars"]["query_aware_met"]["auroc"] is False
    assert table["subtypes"]["combined"]["auroc"] == 1.0
    assert table["data"]["d"]["combined"]["auroc"] == 0.8
    assert table["thesis_by_minimum"]["n_true"] == [0, 1, 1]
    assert table["thesis_by_minimum"]["n_false"] == [0, 0, 0]
    assert table["new_batches"][0]["refused"] == "other batches"
