"""Quality control against scanpy's metrics and cuts by hand."""

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from livelatent.atlas import Atlas, ingest
from livelatent.atlas.append import append
from livelatent.atlas.layout import KEPT
from livelatent.atlas.qc import MITOCHONDRIAL, Criterion, criterion, qc


def scanpy_metrics(atlas: Atlas) -> tuple[pd.DataFrame, pd.DataFrame]:
    import scanpy as sc

    adata = atlas.to_anndata()
    adata.var["mt"] = [str(name).startswith(MITOCHONDRIAL) for name in adata.var_names]
    with warnings.catch_warnings():
        # scanpy divides by the total of an empty cell.
        warnings.simplefilter("ignore", RuntimeWarning)
        return sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=(20,), log1p=False)


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """400 cells x 60 genes, 4 of them mitochondrial; cells 0 to 3 are each odd in one way, cell 4 is empty."""
    rng = np.random.default_rng(5)
    depth = rng.lognormal(0, 0.2, 400)
    counts = rng.poisson(rng.gamma(2, 2, 60) * depth[:, None]).astype(np.float32)
    counts[:, -1] = 0
    counts[7:19, 10], counts[19:, 10] = 1, 0
    counts[:7, 10] = 0
    counts[0] = rng.poisson(0.3, 60)
    counts[1] *= 40
    counts[2, :4] = 300
    counts[3, 30] = 4000
    counts[4] = 0
    names = [f"MT-{gene}" if gene < 4 else f"GENE{gene}" for gene in range(60)]
    adata = anndata.AnnData(sparse.csr_matrix(counts), var=pd.DataFrame(index=names))
    folder = tmp_path_factory.mktemp("messy")
    adata.write_h5ad(folder / "messy.h5ad")
    return ingest(folder / "messy.h5ad", folder / "messy.zarr")


@pytest.fixture
def own(messy: Atlas, tmp_path: Path) -> Atlas:
    import shutil

    shutil.copytree(messy.path, tmp_path / "messy.zarr")
    shutil.copy(messy.path.parent / "messy.manifest.json", tmp_path)
    return Atlas.open(tmp_path / "messy.zarr")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("which", ["messy", "tiny_atlas"])
def test_the_numbers_of_each_cell_are_scanpys(which: str, request: pytest.FixtureRequest) -> None:
    atlas = request.getfixturevalue(which)
    cells, genes = scanpy_metrics(atlas)
    got = qc(atlas)
    assert got.cells.n_genes.tolist() == cells["n_genes_by_counts"].tolist()
    assert got.cells.total.tolist() == cells["total_counts"].tolist()
    np.testing.assert_allclose(got.cells.pct_mito, cells["pct_counts_mt"], rtol=1e-6)
    np.testing.assert_allclose(got.cells.pct_top20, cells["pct_counts_in_top_20_genes"], rtol=1e-6)
    assert got.cells.n_seen.tolist() == genes["n_cells_by_counts"].tolist()
    assert np.isnan(got.cells.pct_top20).sum() == (got.cells.total == 0).sum() > 0


def test_the_cuts_are_so_many_mads_from_the_median(messy: Atlas) -> None:
    cells, _ = scanpy_metrics(messy)
    value = {
        "n_genes": np.log1p(cells["n_genes_by_counts"]),
        "total": np.log1p(cells["total_counts"]),
        "pct_mito": cells["pct_counts_mt"].dropna(),
        "pct_top20": cells["pct_counts_in_top_20_genes"].dropna(),
    }
    limits = {"n_genes": 4.0, "pct_mito": 6.5}
    table = qc(messy, n_mads=limits).table
    for name, own in value.items():
        mad = stats.median_abs_deviation(own)
        assert table.loc[name, "median"] == pytest.approx(np.median(own))
        assert table.loc[name, "low"] == pytest.approx(np.median(own) - limits.get(name, 5.0) * mad)
        assert table.loc[name, "high"] == pytest.approx(np.median(own) + limits.get(name, 5.0) * mad)


def test_each_odd_cell_is_found_by_what_is_odd_about_it(messy: Atlas) -> None:
    found = qc(messy, n_mads=6)
    place = dict(zip(messy.obs["source_row"].tolist(), range(400), strict=True))
    by = {one.name: one for one in found.criteria}
    assert by["n_genes"].too_low[place[0]] and by["total"].too_low[place[0]]
    assert by["total"].too_high[place[1]] and not by["pct_mito"].removed[place[1]]
    assert by["pct_mito"].too_high[place[2]]
    assert by["pct_top20"].too_high[place[3]]
    assert by["total"].too_low[place[4]] and not by["pct_top20"].removed[place[4]]
    assert not found.kept[[place[cell] for cell in range(5)]].any()
    removed = np.array([one.removed for one in found.criteria])
    assert found.kept.tolist() == (~removed.any(axis=0)).tolist()
    assert found.table["removed"].tolist() == removed.sum(axis=1).tolist()
    alone = [int((one & (removed.sum(axis=0) == 1)).sum()) for one in removed]
    assert found.table["removed_alone"].tolist() == alone and alone[2] >= 1


@pytest.mark.parametrize("min_cells", [0, 1, 12, 13, 400])
def test_genes_are_counted_over_the_cells_kept(messy: Atlas, min_cells: int) -> None:
    found = qc(messy, min_cells=min_cells)
    counts = anndata.read_zarr(messy.path).X[found.kept].toarray()
    assert found.kept_genes.tolist() == ((counts > 0).sum(axis=0) >= min_cells).tolist()


def test_without_a_mitochondrial_gene_the_criterion_is_skipped_and_said_to_be(tiny_atlas: Atlas) -> None:
    found = qc(tiny_atlas)
    assert not found.criteria[2].removed.any()
    assert found.notes == (
        "% mitochondrial counts: skipped, no gene's name begins with 'MT-' or 'mt-' or 'Mt-' or 'MT.' or 'mt:'; "
        "name the beginning of yours with mitochondrial=.",
    )
    assert found.notes[0] in repr(found)
    named = qc(tiny_atlas, mitochondrial=("GENE1",))
    assert named.notes == () and named.criteria[2].mad > 0


def test_where_most_cells_are_alike_nothing_is_cut() -> None:
    same = criterion("total", "total", np.array([3.0, 3.0, 3.0, 9.0, np.nan]), 5.0)
    assert "the MAD is 0" in same.note and not same.removed.any()
    assert Criterion("total", "", np.array([1.0]), 0.0, 0.1, 5.0).removed.all()


@pytest.mark.parametrize("bad", [{"mito": 3}, {"total": 0}, -1.0, float("nan")])
def test_limits_that_are_none_are_refused(messy: Atlas, bad: object) -> None:
    with pytest.raises(ValueError, match="n_mads"):
        qc(messy, n_mads=bad)  # type: ignore[arg-type]


def test_nothing_is_written_before_it_is_applied(own: Atlas) -> None:
    before = {path: path.stat().st_mtime_ns for path in own.path.rglob("*")}
    found = qc(own)
    assert {path: path.stat().st_mtime_ns for path in own.path.rglob("*")} == before
    assert own.kept.all() and own.rows().size == 400 and not found.kept.all()


def test_what_is_applied_is_there_for_anndata_and_masks_rows(own: Atlas) -> None:
    found = qc(own, apply=True)
    for atlas in (own, Atlas.open(own.path)):
        assert atlas.kept.tolist() == found.kept.tolist()
        assert atlas.kept_genes.tolist() == found.kept_genes.tolist()
        assert atlas.rows().tolist() == np.flatnonzero(found.kept).tolist()
        parts = [atlas.rows(split) for split in ("train", "calibration", "validation")]
        assert np.sort(np.concatenate(parts)).tolist() == atlas.rows().tolist()
        assert atlas.to_anndata().n_obs == 400
    read = anndata.read_zarr(own.path)
    assert read.obs[KEPT].dtype == bool and read.var[KEPT].dtype == bool
    assert read.obs["livelatent_qc_total"].tolist() == found.cells.total.tolist()
    np.testing.assert_array_equal(read.obs["livelatent_qc_pct_mito"], found.cells.pct_mito)


def test_a_second_run_replaces_the_first(own: Atlas) -> None:
    qc(own, n_mads=1.5, min_cells=300, apply=True)
    again = qc(own, apply=True)
    read = anndata.read_zarr(own.path)
    assert read.obs[KEPT].tolist() == again.kept.tolist() == qc(Atlas.open(own.path)).kept.tolist()
    assert read.var[KEPT].tolist() == again.kept_genes.tolist()
    assert list(read.obs.columns).count(KEPT) == 1
    assert [path.name for path in own.path.parent.iterdir() if "partial" in path.name] == []


def test_a_mask_does_not_follow_cells_into_another_store(own: Atlas, tmp_path: Path) -> None:
    qc(own, apply=True)
    own.to_anndata().write_h5ad(tmp_path / "out.h5ad")
    other = ingest(tmp_path / "out.h5ad", tmp_path / "other.zarr")
    assert other.kept.all() and other.kept_genes.all()


def test_appended_cells_are_kept_until_they_are_looked_at(own: Atlas, tmp_path: Path) -> None:
    found = qc(own, n_mads=2, min_cells=100, apply=True)
    more = anndata.AnnData(own.to_anndata().X[:40], var=pd.DataFrame(index=[str(gene) for gene in own.genes]))
    more.write_h5ad(tmp_path / "more.h5ad")
    grown = append(own, tmp_path / "more.h5ad")
    assert grown.kept[:400].tolist() == found.kept.tolist() and grown.kept[400:].all() and grown.n_cells == 440
    assert grown.kept_genes.tolist() == found.kept_genes.tolist() and not found.kept_genes.all()
    again = qc(grown, n_mads=2, apply=True)
    assert Atlas.open(own.path).kept.tolist() == again.kept.tolist()


def test_the_figure_has_a_panel_per_criterion_with_its_cuts(messy: Atlas) -> None:
    found = qc(messy)
    panels = found.figure().axes
    assert [axes.get_title("left") for axes in panels] == [one.title for one in found.criteria]
    for axes, one in zip(panels, found.criteria, strict=True):
        drawn = {float(line.get_xdata()[0]) for line in axes.lines}
        inside = {cut for cut in (one.low, one.high) if np.nanmin(one.value) <= cut <= np.nanmax(one.value)}
        assert drawn == {one.median, *inside}
        assert f"{int(one.too_high.sum())} above" in axes.get_title("right")
        bins = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
        assert not any(low + 1e-9 < cut < high - 1e-9 for cut in inside for low, high in bins)
    assert "left out" in found._repr_html_()


def test_names_of_genes_are_text_in_the_page(tmp_path: Path) -> None:
    adata = anndata.AnnData(sparse.csr_matrix(np.eye(4, dtype=np.float32)))
    adata.write_h5ad(tmp_path / "x.h5ad")
    page = qc(ingest(tmp_path / "x.h5ad", tmp_path / "x.zarr"), mitochondrial=("<b>",))._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;" in page


def test_files_that_measured_different_genes_are_warned_of(tmp_path: Path) -> None:
    for name, n_genes in (("many", 60), ("few", 30)):
        counts = np.random.default_rng(0).poisson(1, (40, n_genes)).astype(np.float32)
        adata = anndata.AnnData(counts)
        adata.var_names = [f"g{i}" for i in range(n_genes)]
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    both = [tmp_path / "many.h5ad", tmp_path / "few.h5ad"]
    outer = qc(ingest(both, tmp_path / "outer.zarr", join="outer", progress=False))
    assert any("few.h5ad lacks 30" in note and "one cut" in note for note in outer.notes)
    inner = qc(ingest(both, tmp_path / "inner.zarr", progress=False))
    assert not any("lacks" in note for note in inner.notes)
