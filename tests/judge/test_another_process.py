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
def answer(folder, query):
    model, atlas = ll.load_model(folder), ll.Atlas.open(query)
    try:
        table = ll.annotate(model, atlas, target_fpr=0.1, tree={"T cell": "lymphoid", "NK cell": "lymphoid"})
        novelty = ll.find_novel(model, atlas, target_fpr=0.1)
    except ll.errors.LivelatentError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    flags = [
        {"rows": flag.rows.tolist(), "p": flag.p_value, "nearest": flag.nearest, "genes": [flag.higher, flag.lower],
         "reason": flag.reason}
        for flag in novelty
    ]
    return {
        "columns": {name: list(map(str, table[name])) for name in ("label", "runner_up", "assigned", "node")},
        "numbers": {name: table[name].tolist() for name in ("probability", "novelty_p", "node_probability")},
        "cells": list(map(str, table.index)),
        "notes": table.attrs["notes"],
        "p": novelty.p_value.tolist(),
        "calibration": novelty.calibration,
        "flags": flags,
    }
for folder, query, out in zip(*[iter(sys.argv[1:])] * 3):
    with open(out, "w") as file:
        json.dump(answer(folder, query), file)
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


@pytest.fixture(scope="module")
def queries(changed, tiny_adatas, tmp_path_factory):
    """The changed cells, and those of another species."""
    mouse = tiny_adatas["two.h5ad"].copy()
    mouse.var_names = [f"Gene{g}" for g in range(300)]
    return {
        "changed": stored(changed, tmp_path_factory.mktemp("changed"), batch="donor"),
        "mouse": stored(mouse, tmp_path_factory.mktemp("mouse")),
    }


@pytest.fixture(scope="module")
def answers(model, queries, tmp_path_factory):
    """What a process of its own says of each, started without this one's memory: importing all takes it six seconds.

    The model of which nothing is kept comes first, when there is nothing in that process's memory either.
    """
    where = tmp_path_factory.mktemp("answers")
    bare = shutil.copytree(model.folder, where / "bare", ignore=shutil.ignore_patterns("judge", "annotator"))
    moved = shutil.copytree(model.folder, where / "elsewhere")
    asked = {
        "bare": (bare, queries["changed"]),
        "moved": (moved, queries["changed"]),
        "mouse": (model.folder, queries["mouse"]),
    }
    words = [str(word) for name, (one, query) in asked.items() for word in (one, query.path, where / f"{name}.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ANSWER, *words]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=where)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return {name: json.loads((where / f"{name}.json").read_text()) for name in asked}


def test_it_names_cells_and_finds_new_ones_as_in_memory(model, changed, queries, answers):
    query = queries["changed"]
    table = ll.annotate(model, query, target_fpr=0.1, tree={"T cell": "lymphoid", "NK cell": "lymphoid"})
    novelty = ll.find_novel(model, query, target_fpr=0.1)
    got = answers["moved"]
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


def test_another_species_is_one_clear_message_there_too_and_leaves_nothing(queries, answers):
    path = queries["mouse"].path
    said = answers["mouse"]["error"]
    assert said.startswith(f"GeneMismatchError: {path}: 120 of the model's 120 genes are missing")
    assert "another species?" in said
    assert {one.name for one in path.parent.iterdir()} == {"q.h5ad", "q.zarr", "q.manifest.json", ".q.zarr.lock"}


def test_without_what_was_fitted_and_its_atlas_it_says_what_to_do(answers):
    got = answers["bare"]
    assert got["error"].startswith("ModelError: The model's annotator is wanted, and nothing is kept in")
    assert "Call `fit_annotator(model, atlas)`" in got["error"]
