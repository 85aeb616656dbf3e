"""Flags of a latent that somebody else made say of their cells what flags of a model of ours say."""

import anndata
import numpy as np
import pytest
from scipy import sparse

from livelatent.atlas import ingest
from livelatent.atlas.anndata_atlas import AnnDataAtlas
from livelatent.judge.latent_novelty import find_novel_in, fit_latent_reference

HIDDEN = "NK cell"
MITOCHONDRIAL = slice(200, 210)
KNOWN = {"label": "cell_type", "batch": "donor", "unlabelled": ["unassigned", HIDDEN]}


@pytest.fixture
def cells(tiny_adatas) -> anndata.AnnData:
    """The tiny file with ten genes of mitochondria, and a latent in which one unlabelled type stands apart."""
    made = tiny_adatas["one.h5ad"].copy()
    made.X = sparse.csr_matrix(made.X)
    made.var_names = [f"MT-{g}" if 200 <= g < 210 else name for g, name in enumerate(made.var_names)]
    kind = made.obs["cell_type"].astype(object).fillna("unassigned").to_numpy(dtype=str)
    random = np.random.default_rng(5)
    # Cells of no known type lie among the known ones, so that one cluster alone is new.
    place = {"T cell": 0, "B cell": 1, "monocyte": 2, HIDDEN: 3, "unassigned": 1}
    centre = random.normal(size=(4, 6)) * 6
    made.obsm["X_scVI"] = centre[[place[name] for name in kind]] + random.normal(size=(made.n_obs, 6))
    return made


def hidden(cells) -> np.ndarray:
    return np.flatnonzero((cells.obs["cell_type"] == HIDDEN).to_numpy())


def with_counts(cells, rows, counts) -> anndata.AnnData:
    x = cells.X.toarray()
    x[rows] = counts
    cells.X = sparse.csr_matrix(x)
    return cells


def novelty_of(atlas, latent, **asked):
    return find_novel_in(fit_latent_reference(latent.__getitem__, atlas), latent.__getitem__, **asked)


def flag_of(cells, tmp_path, **asked):
    atlas = AnnDataAtlas(cells, **KNOWN, journal=tmp_path / "labels")
    [flag] = novelty_of(atlas, np.asarray(cells.obsm["X_scVI"], np.float32), **asked)
    assert np.isin(flag.rows, hidden(cells)).mean() > 0.9
    return flag


def test_depth_and_mitochondrial_share_are_those_of_the_counts(cells, tmp_path):
    flag = flag_of(cells, tmp_path)
    counts = cells.X[flag.rows].toarray()
    table = flag.quality.table
    assert table.loc["depth", "flag"] == np.median(counts.sum(axis=1))
    share = counts[:, MITOCHONDRIAL].sum(axis=1) / counts.sum(axis=1)
    assert table.loc["mitochondrial share", "flag"] == pytest.approx(np.median(share), rel=1e-5)
    assert 0 <= table.loc["doublet score", "flag"] <= 1 and table.notna().all().all()
    assert not flag.is_probably_technical and flag.nearest_cells > 50


def test_stressed_cells_are_probably_technical(cells, tmp_path):
    rows = hidden(cells)
    counts = cells.X[rows].toarray()
    counts[:, MITOCHONDRIAL] += 20
    flag = flag_of(with_counts(cells, rows, counts), tmp_path)
    assert flag.is_probably_technical and "stressed or dying cells" in flag.reason


def test_two_cells_in_one_droplet_are_called_doublets_of_their_types(cells, tmp_path):
    rows, random = hidden(cells), np.random.default_rng(3)
    first, second = (
        random.choice(np.flatnonzero((cells.obs["cell_type"] == name).to_numpy()), len(rows))
        for name in ("T cell", "monocyte")
    )
    both = cells.X[first].toarray() + cells.X[second].toarray()
    flag = flag_of(with_counts(cells, rows, both), tmp_path)
    assert flag.is_probably_technical
    assert "doublets of T cell and monocyte" in flag.reason or "doublets of monocyte and T cell" in flag.reason


def test_a_store_of_the_same_cells_measures_the_same(cells, tmp_path):
    flag = flag_of(cells, tmp_path)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    atlas = ingest(tmp_path / "cells.h5ad", tmp_path / "cells.zarr", **KNOWN)
    place = np.argsort(atlas.obs["source_row"].to_numpy())[flag.rows]
    latent = np.concatenate([atlas.obsm_rows("X_scVI").read(0, atlas.n_cells)])
    stored = novelty_of(atlas, latent).flag_of(np.sort(place), 0.01)
    both = np.isin(flag.rows, atlas.obs["source_row"].to_numpy()[stored.rows])
    assert both.mean() > 0.9  # the store's own calibration cells are others
    counts = cells.X[atlas.obs["source_row"].to_numpy()[stored.rows]].toarray()
    assert stored.quality.table.loc["depth", "flag"] == np.median(counts.sum(axis=1))


def test_a_flag_says_how_many_of_its_cells_divide(cells, tmp_path):
    genes = list(cells.var_names)
    # The hidden type's own markers as genes of S: its cells then all divide.
    flag = flag_of(cells, tmp_path, cell_cycle={"S": genes[75:95], "G2M": genes[230:245]})
    assert flag.quality.phases["S"] > 0.9 and "in S or G2M" in flag.reason


def test_of_logs_alone_nothing_is_measured_but_the_cycle_and_the_reason_is_said(cells, tmp_path):
    genes, x = list(cells.var_names), cells.X.toarray()
    cells.X = sparse.csr_matrix(np.log1p(1e4 * x / np.maximum(x.sum(axis=1, keepdims=True), 1)))
    atlas = AnnDataAtlas(cells, **KNOWN, journal=tmp_path / "labels")
    novelty = novelty_of(atlas, np.asarray(cells.obsm["X_scVI"], np.float32), cell_cycle=(genes[75:95], genes[230:245]))
    [flag] = novelty
    assert flag.quality.table.loc[["depth", "mitochondrial share", "doublet score"]].isna().all().all()
    assert flag.quality.phases["S"] > 0.9 and flag.higher and not flag.is_probably_technical
    [said] = novelty.warnings
    assert "not measured" in said and "X holds logs" in said and 'adata.layers["counts"]' in said
    cells.layers["counts"] = sparse.csr_matrix(x)
    with_layer = AnnDataAtlas(cells, **KNOWN, journal=tmp_path / "labels")
    assert novelty_of(with_layer, np.asarray(cells.obsm["X_scVI"], np.float32)).warnings == ()


def test_genes_that_bear_one_name_are_each_compared_with_themselves(cells, tmp_path):
    # The hidden type's first marker shares its name with the last gene, which no cell has.
    names = list(cells.var_names)
    names[-1] = names[75]
    cells.var_names = names
    assert set(flag_of(cells, tmp_path).higher) <= {f"GENE{g}" for g in range(75, 100)}


def test_scaled_values_are_said_to_be_no_counts(cells, tmp_path):
    cells.X = cells.X.toarray() - 1.0
    atlas = AnnDataAtlas(cells, **KNOWN, journal=tmp_path / "labels")
    novelty = novelty_of(atlas, np.asarray(cells.obsm["X_scVI"], np.float32))
    assert "scaled values" in novelty.warnings[0]
    assert novelty[0].higher == () and novelty[0].quality.table["flag"].isna().all()
