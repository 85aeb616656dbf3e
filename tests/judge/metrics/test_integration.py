import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latents import mixed_latent
from livelatent.errors import LabelError, UndefinedMetricError
from livelatent.judge.metrics.clustering import RESOLUTIONS
from livelatent.judge.metrics.compare import compare_latents
from livelatent.judge.metrics.fuzzy_graph import fuzzy_graph
from livelatent.judge.metrics.graph_connectivity import graph_connectivity
from livelatent.judge.metrics.integration import BATCH, BESIDE, BIO, score_latent, scored_cells
from livelatent.judge.metrics.kbet import acceptance
from livelatent.judge.metrics.knn_graph import knn_graph
from livelatent.judge.metrics.unintegrated import Unintegrated

HERE = Path(__file__).parent
FEW = (0.5, 1.0)
# scib-metrics computes in float32; its LISI bisects to another last step.
TOLERANCE = {"ilisi": 1e-4, "clisi": 1e-4}


def scores_like_scib_metrics():
    latent, label, batch, before = mixed_latent()
    return score_latent(latent, label, batch, before=Unintegrated(before), resolutions=RESOLUTIONS[1::2], seed=7)


def compared(values):
    """Every metric that scib-metrics has: of this project, of scib-metrics."""
    got = scores_like_scib_metrics()
    for name in (*BIO, *BATCH, *BESIDE):
        if name in values:
            assert got[name] == pytest.approx(values[name], abs=TOLERANCE.get(name, 1e-5)), name
    assert set(got.values) - set(values) == {"isolated_f1"}
    assert set(got.left_out) == {"cell_cycle"}
    latent, label, batch, _ = mixed_latent()
    # One setting differs: links are followed both ways, as scib-metrics does in a graph that is symmetric.
    assert graph_connectivity(knn_graph(latent, 3), label) == pytest.approx(values["graph_connectivity_of_3"])
    assert values["graph_connectivity_of_3"] < values["graph_connectivity_one_way"] < values["graph_connectivity"]
    wider = knn_graph(latent, 50)
    assert acceptance(wider.index, batch) == pytest.approx(values["kbet_of_all_labels"])
    links = fuzzy_graph(wider.first(15))
    assert links.sum() == pytest.approx(values["links_sum"], rel=1e-5)
    np.testing.assert_allclose(np.ravel(links[:5].sum(axis=1)), values["links_of_first_cells"], rtol=1e-5)


def test_metrics_equal_those_that_scib_metrics_gave():
    """The file was written by scib_oracle.py."""
    compared(json.loads((HERE / "scib_metrics.json").read_text())["values"])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_metrics_equal_those_that_scib_metrics_gives():
    pytest.importorskip("scib_metrics", reason="scib-metrics is in the extra `dev`")
    command = [sys.executable, HERE / "scib_oracle.py"]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    compared(json.loads(found.stdout)["values"])


def test_without_a_batch_what_compares_batches_is_left_out_and_named():
    latent, label, _, before = mixed_latent()
    for batch in (None, ["only"] * len(label)):
        got = score_latent(latent, label, batch, before=Unintegrated(before), resolutions=FEW)
        left = {"silhouette_batch", "pcr", "ilisi", "kbet", "isolated_asw", "isolated_f1", "cell_cycle"}
        assert set(got.left_out) == left
        assert set(got.values) == {"nmi", "ari", "silhouette_label", "graph_connectivity", "clisi"}
        assert got.isolated == ()
    with pytest.raises(UndefinedMetricError, match="iLISI compares batches"):
        got["ilisi"]


def test_cells_without_a_label_change_nothing_and_names_are_as_good_as_codes():
    latent, label, batch, before = mixed_latent()
    wanted = score_latent(latent, label, batch, before=Unintegrated(before), resolutions=FEW)
    extra = np.random.default_rng(9).normal(size=(40, 10)).astype(np.float32)
    names = np.array(["b", "d", "a", "e", "c"], dtype=object)[np.append(label, np.zeros(40, int))]
    names[-40:] = None
    got = score_latent(
        np.concatenate([latent, extra]),
        names,
        np.array(["x", "z", "y"])[np.append(batch, np.zeros(40, int))],
        before=Unintegrated(np.concatenate([before, 50 + extra[:, :8]])),
        resolutions=FEW,
    )
    assert got.values == pytest.approx(wanted.values, abs=1e-6)
    assert (got.n_cells, got.n_unlabelled, got.n_sampled_out) == (700, 40, 0)
    assert (wanted.isolated, got.isolated) == (("4",), ("c",))
    assert json.loads(json.dumps(got.as_dict()))["isolated"] == ["c"]


def test_a_sample_is_stated_and_keeps_rare_labels_whole():
    latent, label, batch, _ = mixed_latent()
    got = score_latent(latent, label, batch, max_cells=400, resolutions=FEW)
    assert got.n_cells <= 400
    assert got.n_cells + got.n_sampled_out == 700
    chosen = scored_cells(label, 400)
    assert len(chosen) == got.n_cells
    assert set(np.flatnonzero(label == 4)) <= set(chosen)
    # The same cells by themselves.
    alone = score_latent(latent[chosen], label[chosen], batch[chosen], resolutions=FEW)
    assert alone.values == got.values
    assert (alone.n_sampled_out, alone.isolated) == (0, got.isolated)
    assert got["nmi"] != score_latent(latent, label, batch, max_cells=400, resolutions=FEW, seed=1)["nmi"]


def test_what_can_not_be_judged_is_refused():
    latent, label, batch, before = mixed_latent()
    with pytest.raises(LabelError, match="got 1 labels and 700"):
        score_latent(latent, np.zeros(700, int))
    with pytest.raises(LabelError, match="got 0 labels"):
        score_latent(latent, [None] * 700)
    with pytest.raises(ValueError, match="700 cells was given with the batches of 699"):
        score_latent(latent, label, batch[:-1])
    with pytest.raises(ValueError, match="expression of 5"):
        score_latent(latent, label, batch, before=Unintegrated(before[:5]))
    with pytest.raises(UndefinedMetricError, match="one point"):
        score_latent(np.full((700, 3), 2.5, np.float32), label, batch)
    latent[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 700 cells"):
        score_latent(latent, label, batch)


def test_latents_of_an_atlas_are_scored_over_the_same_cells(tiny_atlas):
    rows = tiny_atlas.rows()
    kind = np.eye(5)[tiny_atlas.label[rows]]
    rng = np.random.default_rng(0)
    good = (4 * kind + rng.normal(size=(len(rows), 5))).astype(np.float32)
    bad = (0.8 * kind + rng.normal(size=(len(rows), 5)) + tiny_atlas.batch[rows][:, None]).astype(np.float32)
    cycle = ([f"GENE{g}" for g in range(100, 120)], [f"GENE{g}" for g in range(150, 170)])
    got = compare_latents(tiny_atlas, {"bad": bad, "good": good}, cell_cycle=cycle)
    n_labelled = len(tiny_atlas.rows(labelled=True))
    for scores in got.scores.values():
        assert (scores.n_cells, scores.n_unlabelled) == (n_labelled, len(rows) - n_labelled)
        assert scores.isolated == ("NK cell",)
        assert scores.left_out == {}
    assert got.table.shape == (2, 12)
    assert got.overall.table.index.tolist() == ["good", "bad"]
    for name in ("nmi", "silhouette_label", "silhouette_batch", "pcr", "ilisi", "clisi"):
        assert got.table[name]["good"] > got.table[name]["bad"]
    sample = compare_latents(tiny_atlas, {"good": good}, max_cells=200)
    assert sample.overall is None
    assert sample.scores["good"].n_cells + sample.scores["good"].n_sampled_out == n_labelled
    with pytest.raises(ValueError, match="bad: a latent of"):
        compare_latents(tiny_atlas, {"bad": bad[1:]})
