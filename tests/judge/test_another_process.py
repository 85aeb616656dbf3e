"""A saved model in another process, on genes in another order, its training atlas gone: the same answers as here."""

import json
import os
import shutil
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import livelatent as ll
from livelatent.train.loop import train

ANSWER = """
import json, sys
import livelatent as ll
folder, query, out = sys.argv[1:]
model, atlas = ll.load_model(folder), ll.Atlas.open(query)
try:
    table = ll.annotate(model, atlas, target_fpr=0.1, tree={"T cell": "lymphoid", "NK cell": "lymphoid"})
    novelty = ll.find_novel(model, atlas, target_fpr=0.1)
except ll.errors.LivelatentError as error:
    answer = {"error": f"{type(error).__name__}: {error}"}
else:
    flags = [
        {"rows": flag.rows.tolist(), "p": flag.p_value, "nearest": flag.nearest, "genes": [flag.higher, flag.lower],
         "reason": flag.reason}
        for flag in novelty
    ]
    answer = {
        "columns": {name: list(map(str, table[name])) for name in ("label", "runner_up", "assigned", "node")},
        "numbers": {name: table[name].tolist() for name in ("probability", "novelty_p", "node_probability")},
        "cells": list(map(str, table.index)),
        "notes": table.attrs["notes"],
        "p": novelty.p_value.tolist(),
        "calibration": novelty.calibration,
        "flags": flags,
    }
with open(out, "w") as file:
    json.dump(answer, file)
"""


@pytest.fixture(scope="module")
def model(hidden_atlas, tmp_path_factory):
    """Trained on a copy of the atlas that is gone afterwards, with its annotator and reference in memory and saved."""
    home = tmp_path_factory.mktemp("gone") / "training.zarr"
    shutil.copytree(hidden_atlas.path, home)
    atlas = ll.Atlas.open(home)
    made = ll.Cellular(atlas, n_genes=120, n_latent=10)
    for _ in train(made, atlas, epochs=12, device="cpu"):
        pass
    made.folder = tmp_path_factory.mktemp("kept") / "m"
    made.save(made.folder)
    ll.fit_reference(made, atlas)
    ll.fit_annotator(made, atlas, retrain=False, device="cpu")
    made.save(made.folder)
    shutil.rmtree(home)
    return made


@pytest.fixture(scope="module")
def changed(model, tiny_adatas):
    """The cells of the second file: genes in another order, seven of the model's gone, five of nobody's added."""
    source = tiny_adatas["two.h5ad"]
    kept = np.random.default_rng(2).permutation(np.setdiff1d(source.var_names, model.genes[::18]))
    assert len(np.intersect1d(kept, model.genes)) == 113
    extra = anndata.AnnData(
        sparse.csr_matrix(np.random.default_rng(4).poisson(0.7, (len(source), 5)).astype(np.float32)),
        obs=source.obs[[]],
        var=pd.DataFrame(index=[f"EXTRA{i}" for i in range(5)]),
    )
    mixed = anndata.concat([source[:, kept[:150]], extra, source[:, kept[150:]]], axis=1, merge="first")
    mixed.uns["true"] = np.array(list(map(str, source.obs["cell_type"])), dtype="U")
    mixed.obs = source.obs[["donor"]]
    return mixed


def stored(adata, folder, **columns):
    adata.write_h5ad(folder / "q.h5ad")
    return ll.ingest(folder / "q.h5ad", folder / "q.zarr", progress=False, **columns)


def answered(folder, query, where):
    """What a process of its own says, started without this one's memory."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ANSWER, str(folder), str(query.path), str(where / "answer.json")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=where)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads((where / "answer.json").read_text())


def test_it_names_cells_and_finds_new_ones_as_in_memory(model, changed, tmp_path):
    query = stored(changed, tmp_path, batch="donor")
    table = ll.annotate(model, query, target_fpr=0.1, tree={"T cell": "lymphoid", "NK cell": "lymphoid"})
    novelty = ll.find_novel(model, query, target_fpr=0.1)
    moved = shutil.copytree(model.folder, tmp_path / "elsewhere")
    got = answered(moved, query, tmp_path)
    assert got["cells"] == list(map(str, query.obs.index))
    for name, values in got["columns"].items():
        assert values == list(map(str, table[name])), name
    for name, values in got["numbers"].items():
        np.testing.assert_allclose(values, table[name], rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(got["p"], novelty.p_value, rtol=1e-9)
    assert tuple(got["notes"]) == table.attrs["notes"]
    assert "7 of the model's 120 genes are missing" in got["calibration"] == novelty.calibration
    assert len(got["flags"]) == len(novelty) >= 1
    for one, flag in zip(got["flags"], novelty, strict=True):
        assert one["rows"] == flag.rows.tolist()
        assert one["p"] == pytest.approx(flag.p_value)
        assert one["reason"] == flag.reason
        assert one["genes"] == [list(flag.higher), list(flag.lower)]
        assert [name for name, _ in one["nearest"]] == [name for name, _ in flag.nearest]
    # The answers are worth something: B cells had no label in training, and are most of the largest flag.
    is_b = (changed.uns["true"][query.obs["source_row"]] == "B cell")[novelty[0].rows]
    assert is_b.mean() > 0.5


def test_the_order_of_a_querys_genes_changes_no_answer(model, tiny_adatas, tmp_path):
    source = tiny_adatas["two.h5ad"].copy()
    source.obs = source.obs[["donor"]]
    tables = []
    for name, order in (("as", np.arange(300)), ("other", np.random.default_rng(5).permutation(300))):
        (tmp_path / name).mkdir()
        query = stored(source[:, order].copy(), tmp_path / name, batch="donor")
        table = ll.annotate(model, query)
        tables.append(table.sort_index())
    pd.testing.assert_frame_equal(*tables, rtol=1e-4)


def test_another_species_is_one_clear_message_there_too(model, tiny_adatas, tmp_path):
    mouse = tiny_adatas["two.h5ad"].copy()
    mouse.var_names = [f"Gene{g}" for g in range(300)]
    query = stored(mouse, tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    got = answered(model.folder, query, tmp_path)
    assert got["error"].startswith(f"GeneMismatchError: {query.path}: 120 of the model's 120 genes are missing")
    assert "another species?" in got["error"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([*before, "answer.json"])


def test_without_what_was_fitted_and_its_atlas_it_says_what_to_do(model, changed, tmp_path):
    bare = shutil.copytree(model.folder, tmp_path / "bare", ignore=shutil.ignore_patterns("judge", "annotator"))
    got = answered(bare, stored(changed, tmp_path, batch="donor"), tmp_path)
    assert got["error"].startswith("ModelError: The model's annotator is wanted, and nothing is kept in")
    assert "Call `fit_annotator(model, atlas)`" in got["error"]
