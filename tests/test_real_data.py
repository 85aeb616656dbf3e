"""Long trials on real files: every cell arrives as it was, and the demo finds what is hidden in data never tuned on."""

import json
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from livelatent.atlas.ingest import ingest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

FILES = (
    "forebrain_atac",
    "granja_heme_atac",
    "kang_pbmc_ctrl",
    "paul15_myeloid",
    "pbmc3k_seurat",
    "pbmc_multistudy",
    "sc_mixology_5protocol_hvg",
    "scicar_A549_atac",
    "scicar_A549_rna",
    "worm_l2_monocle3",
)


# scipy remarks on u16 indices when a plain reader copies the matrix; it reads them right, which is what is tested.
@pytest.mark.filterwarnings("ignore:indices array has non-integer dtype")
@pytest.mark.parametrize("name", FILES)
def test_every_cell_of_a_store_is_the_cell_of_its_source(shared_data, tmp_path, name):
    source = anndata.read_h5ad(shared_data / f"{name}.h5ad")
    atlas = ingest(shared_data / f"{name}.h5ad", tmp_path / "it.zarr", label="cell_type", batch="batch", memory="500MB")
    row = atlas.obs["source_row"].to_numpy()
    assert sorted(row) == list(range(source.n_obs))
    assert list(atlas.genes) == list(source.var_names)
    stored = sparse.csr_matrix(atlas.read_rows(0, atlas.n_cells), dtype=np.float64)
    wanted = sparse.csr_matrix(source.X, dtype=np.float64)[row]
    assert abs(stored - wanted).sum() == 0
    assert (atlas.true_labels.astype(str) == source.obs["cell_type"].to_numpy().astype(str)[row]).all()
    plain = anndata.read_zarr(tmp_path / "it.zarr")
    assert abs(sparse.csr_matrix(plain.X, dtype=np.float64) - wanted).sum() == 0


@pytest.mark.parametrize(("name", "hidden"), [("pbmc_multistudy", "CD34+"), ("kang_pbmc_ctrl", "Megakaryocytes")])
def test_the_demo_works_on_a_users_own_file(shared_data, tmp_path, name, hidden):
    program = Path(sys.executable).with_name("livelatent")
    words = ("demo", shared_data / f"{name}.h5ad", "--label", "cell_type", "--batch", "batch", "--hide", hidden)
    command = [program, *map(str, words), "--no-lab", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=1400)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["hidden_type"] == hidden
    assert max(flag["purity"] for flag in facts["flags"]) >= 0.8
    assert facts["accuracy"] >= max(facts["lr_raw_accuracy"], facts["lr_pca_accuracy"]) - 0.03
    assert (tmp_path / facts["report"]).exists() and (tmp_path / facts["picture"]).exists()
