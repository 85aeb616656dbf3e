"""Document 000's equations: the table in docs/equations.md holds, and slow oracles for those that have no other."""

import importlib
import re
from functools import reduce
from pathlib import Path

import anndata
import numpy as np
import pytest

from livelatent.atlas import passes
from livelatent.judge.metrics.integration import BATCH, BIO, IntegrationScores
from livelatent.judge.metrics.isolated_labels import isolated_f1
from livelatent.judge.metrics.overall import overall
from livelatent.judge.metrics.silhouette import silhouette_samples
from livelatent.judge.metrics.silhouette_batch import silhouette_batch
from livelatent.judge.metrics.silhouette_label import silhouette_label

HERE = Path(__file__).parent
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|\n").split("|")]
    for line in (HERE.parent / "docs" / "equations.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "::" in line
]


def test_every_equation_has_its_row():
    assert [row[0] for row in ROWS if re.fullmatch(r"2\.\d+", row[0])] == [f"2.{number}" for number in range(1, 37)]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_table_names_code_and_tests_that_are_there(row):
    file, _, test = row[-1].partition("::")
    assert f"\ndef {test}(" in (HERE / file).read_text(encoding="utf-8")
    if len(row) == 4:
        # A module of our own, then a function, or a class and its method.
        parts = row[2].split(".")
        n = next(
            n
            for n in range(len(parts), 0, -1)
            if (HERE.parent / "src/livelatent" / f"{'/'.join(parts[:n])}.py").exists()
        )
        assert reduce(getattr, parts[n:], importlib.import_module(".".join(["livelatent", *parts[:n]]))) is not None


@pytest.mark.parametrize("chunk_cells", [1, 70, 10_000])
def test_normalisation_is_2_3_to_2_5_count_by_count_however_it_is_cut(tiny_atlas, chunk_cells):
    counts = anndata.read_zarr(tiny_atlas.path).X.toarray().astype(float)
    n_cells = len(counts)
    mean_total = sum(sum(row) for row in counts.tolist()) / n_cells  # 2.3
    assert tiny_atlas.mean_total == pytest.approx(mean_total, rel=1e-12)
    rows = np.arange(0, n_cells, 37)
    logs = passes.logs_of(tiny_atlas)
    parts = passes.map_cells(lambda some, own: logs(some, own).toarray(), tiny_atlas, rows, chunk_cells=chunk_cells)
    for row, got in zip(rows, np.concatenate(list(parts)), strict=True):
        size = sum(counts[row]) / mean_total  # 2.4
        wanted = [np.log(count / size + 1) if count else 0.0 for count in counts[row]]  # 2.5
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def slow_width(points, group, cell):
    """(b - a) / max(a, b) of one cell, from its distance to every other."""
    mean = {}
    for code in set(group.tolist()):
        others = [other for other in range(len(points)) if group[other] == code and other != cell]
        if others:
            mean[code] = sum(np.sqrt(((points[cell] - points[other]) ** 2).sum()) for other in others) / len(others)
    if group[cell] not in mean:
        return 0.0
    a, b = mean.pop(group[cell]), min(mean.values())
    return (b - a) / max(a, b)


def test_silhouettes_are_2_25_and_2_26_pair_by_pair():
    rng = np.random.default_rng(3)
    label, batch = rng.choice(3, 60, p=[0.5, 0.3, 0.2]), rng.choice(3, 60, p=[0.6, 0.3, 0.1])
    label[0] = 7  # alone
    points = rng.normal(size=(60, 3)) + label[:, None] * [1.0, 0, 0.4] + batch[:, None] * [0, 0.7, 0]
    widths = [slow_width(points, label, cell) for cell in range(60)]
    asw = silhouette_label(silhouette_samples(points, label))
    assert asw == pytest.approx((sum(widths) / 60 + 1) / 2, rel=1e-6)
    means = []
    for code in (0, 1, 2):
        own = np.flatnonzero(label == code)
        each = [1 - abs(slow_width(points[own], batch[own], cell)) for cell in range(len(own))]
        means.append(sum(each) / len(own))
    assert silhouette_batch(points, label, batch) == pytest.approx(sum(means) / 3, rel=1e-6)


def test_isolated_f1_is_2_29_to_2_31_cell_by_cell():
    rng = np.random.default_rng(4)
    label = rng.choice(4, 80, p=[0.5, 0.2, 0.2, 0.1])
    clusterings = [rng.choice(n, 80) for n in (2, 5)] + [np.where(rng.random(80) < 0.7, label, 4)]
    wanted = []
    for own in (1, 3):
        best = 0.0
        for clustering in clusterings:
            for cluster in set(clustering.tolist()):
                pairs = list(zip((clustering == cluster).tolist(), (label == own).tolist(), strict=True))
                true, false, missed = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
                if true:
                    precision, recall = true / (true + false), true / (true + missed)
                    best = max(best, 2 * precision * recall / (precision + recall))
        wanted.append(best)
    assert isolated_f1(clusterings, label, np.array([1, 3])) == pytest.approx(sum(wanted) / 2)
    assert 0.5 < min(wanted) < max(wanted) < 1


def test_overall_is_2_33_to_2_36_metric_by_metric():
    rng = np.random.default_rng(5)
    values = {name: {metric: float(rng.random()) for metric in (*BIO, *BATCH)} for name in "abcd"}
    table = overall({name: IntegrationScores(of, {}, 10, 0, 0, 1.0, ()) for name, of in values.items()}).table

    def rescaled(metric, name):  # 2.36
        every = [of[metric] for of in values.values()]
        return (values[name][metric] - min(every)) / (max(every) - min(every))

    for name in values:
        s_batch = sum(rescaled(metric, name) for metric in BATCH) / 3  # 2.33
        s_bio = sum(rescaled(metric, name) for metric in BIO) / 6  # 2.34
        assert table["s_batch"][name] == pytest.approx(s_batch)
        assert table["s_bio"][name] == pytest.approx(s_bio)
        assert table["s_overall"][name] == pytest.approx(0.6 * s_bio + 0.4 * s_batch)  # 2.35
