"""The whole loop on real cells, as the README's first command runs it."""

import json
import subprocess
import sys
from pathlib import Path

import anndata
import pytest

from livelatent.demo import next_folder, run_demo, type_to_hide
from livelatent.errors import LabelError, StoreExistsError
from livelatent.example import write_example
from livelatent.quickstart import quickstart_notebook


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What `livelatent demo --no-lab --json` gave, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("demo")
    program = Path(sys.executable).with_name("livelatent")
    command = [program, "demo", "--no-lab", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def test_the_hidden_type_is_found(demo):
    facts, _ = demo
    assert facts["hidden_type"] == "CD19+ B"
    assert max(flag["purity"] for flag in facts["flags"]) >= 0.8


def test_accuracy_stands_beside_both_regressions_and_near_the_better(demo):
    facts, _ = demo
    assert facts["accuracy"] >= max(facts["lr_raw_accuracy"], facts["lr_pca_accuracy"]) - 0.03


def test_the_json_has_what_the_readme_promises(demo):
    facts, folder = demo
    assert {"cells", "genes", "seconds", "accuracy", "lr_raw_accuracy", "lr_pca_accuracy"} <= set(facts)
    assert (facts["cells"], facts["genes"]) == (700, 765)
    for name in ("store", "model", "report", "picture"):
        assert (folder / facts[name]).exists()
    assert (folder / facts["picture"]).read_bytes().startswith(b"\x89PNG")


def test_the_hidden_label_never_reached_the_model(demo):
    facts, folder = demo
    config = (folder / facts["model"] / "model.json").read_text()
    assert "CD19+ B" not in config
    assert "CD34+" in config


def test_the_store_is_plain_anndata(demo):
    facts, folder = demo
    read = anndata.read_zarr(folder / facts["store"])
    assert read.shape == (700, 765)
    assert (read.obs["bulk_labels"].astype(str) == "CD19+ B").sum() == 95


def test_example_counts_are_integers_that_give_scanpys_values_back(tmp_path):
    import numpy as np
    import scanpy

    counts = anndata.read_h5ad(write_example(tmp_path / "blood.h5ad")).X.toarray()
    assert (counts == np.round(counts)).all()
    shipped = scanpy.datasets.pbmc68k_reduced().raw.X.toarray()
    scale = np.expm1(shipped).sum(1) / counts.sum(1)
    np.testing.assert_allclose(counts * scale[:, None], np.expm1(shipped), rtol=0.003)


def test_a_folder_with_labels_by_hand_is_not_used_again(tmp_path):
    folder = tmp_path / "demo"
    assert next_folder(folder) == folder
    (folder / "blood.labels").mkdir(parents=True)
    (folder / "blood.labels" / "journal.jsonl").write_text('{"seq": 0}\n')
    assert next_folder(folder) == tmp_path / "demo-2"


def test_a_folder_of_the_users_own_files_is_left_alone(tmp_path):
    (tmp_path / "blood.h5ad").write_bytes(b"mine")
    with pytest.raises(StoreExistsError, match="no demo made it"):
        run_demo(folder=tmp_path)
    assert (tmp_path / "blood.h5ad").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["blood.h5ad"]


def test_the_smallest_type_with_enough_cells_is_hidden(tmp_path, tiny_h5ad, tiny_adatas):
    sizes = tiny_adatas["one.h5ad"].obs["cell_type"].value_counts()
    expected = sizes[sizes >= 50].index[-1]
    assert type_to_hide(tiny_h5ad[0], "cell_type", None) == expected
    with pytest.raises(LabelError, match="neuron"):
        type_to_hide(tiny_h5ad[0], "cell_type", "neuron")


def test_names_from_a_file_stay_text_in_a_generated_notebook(tmp_path):
    evil = '"); import os; os.abort(); ("'
    written = quickstart_notebook(
        tmp_path / "my.h5ad", label=evil, batch=None, hide=evil, counts="X", folder=tmp_path / "out"
    )
    code = "".join(json.loads(written.read_text())["cells"][1]["source"])
    scope = {}
    exec(compile(code.replace("import livelatent as ll", ""), "cell", "exec"), scope)
    assert scope["label"] == scope["hidden"] == evil
