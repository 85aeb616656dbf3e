import numpy as np
import pytest
from scipy.spatial.distance import cdist

from livelatent.judge import prototypes as room
from livelatent.judge.prototypes import fit_prototypes


@pytest.fixture
def cells():
    rng = np.random.default_rng(3)
    label = np.repeat([0, 1, 2, -1], [40, 7, 1, 9])
    latent = rng.normal(label[:, None] * 3.0, 1 + label[:, None].clip(0), (len(label), 5)).astype(np.float32)
    order = rng.permutation(len(label))
    return latent[order], label[order], rng.permutation(1000)[: len(label)]


NAMES = ("a", "b", "single", "without a cell")


def test_each_prototype_is_the_plain_statistic_of_its_own_cells(cells):
    latent, label, cell = cells
    got = fit_prototypes(latent, label, NAMES, cell)
    assert got.names == ("a", "b", "single")
    assert got.count.tolist() == [40, 7, 1]
    for code in range(3):
        own = latent[label == code].astype(float)
        distance = np.linalg.norm(own - own.mean(0), axis=1)
        np.testing.assert_allclose(got.centroid[code], own.mean(0), rtol=1e-5)
        np.testing.assert_allclose(got.median[code], np.median(own, axis=0), rtol=1e-6)
        medoid = cdist(own, own).sum(1).argmin()
        np.testing.assert_array_equal(got.medoid[code], latent[label == code][medoid])
        assert got.medoid_cell[code] == cell[label == code][medoid]
        assert got.radius[code] == pytest.approx(np.quantile(distance, 0.95))
        assert got.spread[code] == pytest.approx(np.sqrt((distance**2).mean()))


def test_cells_without_a_label_change_nothing(cells):
    latent, label, cell = cells
    known = label >= 0
    with_them, without = (
        fit_prototypes(latent, label, NAMES, cell),
        fit_prototypes(latent[known], label[known], NAMES, cell[known]),
    )
    np.testing.assert_array_equal(with_them.centroid, without.centroid)
    np.testing.assert_array_equal(with_them.radius, without.radius)


def test_a_type_above_the_exact_limit_takes_the_cell_nearest_to_its_centroid_and_says_so(cells, monkeypatch):
    latent, label, cell = cells
    monkeypatch.setattr(room, "EXACT_MEDOID_CELLS", 20)
    got = fit_prototypes(latent, label, NAMES, cell)
    assert got.medoid_is_exact == (False, True, True)
    own = label == 0
    nearest = np.linalg.norm(latent[own] - latent[own].mean(0), axis=1).argmin()
    assert got.medoid_cell[0] == cell[own][nearest]


def test_distances_between_prototypes_are_euclidean(cells):
    got = fit_prototypes(*cells[:2], NAMES, cells[2])
    for kind in ("centroid", "median", "medoid"):
        points = getattr(got, kind)
        np.testing.assert_allclose(got.distances(kind), cdist(points, points), atol=1e-5)


def test_nearest_is_fewest_radii_away_and_a_type_of_one_cell_borrows_a_radius(cells):
    got = fit_prototypes(*cells[:2], NAMES, cells[2])
    assert got.radius[2] == 0
    assert got.scale.tolist() == pytest.approx([got.radius[0], got.radius[1], np.median(got.radius[:2])])
    index, distance, radii = got.nearest(cells[0])
    wanted = cdist(cells[0], got.centroid) / got.scale
    np.testing.assert_array_equal(index, wanted.argmin(1))
    np.testing.assert_allclose(radii, wanted.min(1), rtol=1e-5)
    np.testing.assert_allclose(distance, radii * got.scale[index], rtol=1e-6)


def test_types_of_single_cells_only_have_finite_distances():
    got = fit_prototypes(np.eye(2, dtype=np.float32), np.array([0, 1]), ("a", "b"), np.array([8, 9]))
    np.testing.assert_allclose(got.in_radii(np.zeros((1, 2), np.float32)), [[1, 1]])


def test_an_anndata_of_prototypes_has_types_as_observations_and_keeps_every_kind(cells, tmp_path):
    import anndata

    got = fit_prototypes(*cells[:2], NAMES, cells[2])
    ids = [f"id{row}" for row in range(1000)]
    adata = anndata.read_h5ad(got.save(tmp_path / "p.h5ad", "medoid", ids))
    assert list(adata.obs_names) == ["a", "b", "single"]
    np.testing.assert_array_equal(adata.X, got.medoid)
    np.testing.assert_array_equal(adata.layers["centroid"], got.centroid)
    np.testing.assert_array_equal(adata.layers["median"], got.median)
    np.testing.assert_allclose(adata.obsp["distance"], cdist(got.medoid, got.medoid), atol=1e-6)
    assert adata.obs["medoid"].tolist() == [f"id{row}" for row in got.medoid_cell]
    assert adata.obs["count"].tolist() == [40, 7, 1]


def test_a_table_of_prototypes_can_be_read_without_livelatent(cells, tmp_path):
    import csv
    import json
    import struct

    from safetensors.numpy import load_file

    got = fit_prototypes(*cells[:2], ("=cmd()", "b", "single", "none"), cells[2])
    arrays = load_file(got.save(tmp_path / "p.safetensors"))
    np.testing.assert_array_equal(arrays["centroid"], got.centroid)
    np.testing.assert_array_equal(arrays["radius"], got.radius)
    raw = (tmp_path / "p.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])["__metadata__"]
    assert json.loads(header["names"]) == ["=cmd()", "b", "single"]
    rows = list(csv.DictReader(got.save(tmp_path / "p.csv").read_text().splitlines()))
    # A spreadsheet must not run it.
    assert [row["cell_type"] for row in rows] == ["'=cmd()", "b", "single"]
    np.testing.assert_allclose([float(row["latent_4"]) for row in rows], got.centroid[:, 4], rtol=1e-6)
    with pytest.raises(ValueError, match=r"\.h5ad, \.csv or \.safetensors"):
        got.save(tmp_path / "p.pickle")
