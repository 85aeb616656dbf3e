"""Simulated atlases are the stated model, the same cells wherever and however they are written."""

import json
from dataclasses import replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

import livelatent as ll
from livelatent.cli import app
from livelatent.errors import MemoryLimitError, StoreExistsError
from livelatent.simulated import Recipe, truth_of
from livelatent.simulated.cells import barcodes, draw_cells, draw_matrix
from livelatent.simulated.kernel import draw_counts
from livelatent.simulated.tables import tables_of
from livelatent.simulated.truth import MITOCHONDRIAL
from peak import needs_proc, peak_bytes

RECIPE = Recipe(n_cells=9_000, n_genes=300, n_types=7, n_lineages=3, n_batches=2, rare={5: 0.004}, seed=3)


def matrices(folder: Path, chunkings: dict[str, str], **options) -> list[dict[str, np.ndarray]]:
    """The raw arrays of X of one atlas, written several times as `.h5ad`."""
    found = []
    for name, memory in chunkings.items():
        path = ll.simulate(folder / f"{name}.h5ad", memory=memory, **options)
        with h5py.File(path) as file:
            found.append({part: file[f"X/{part}"][:] for part in ("data", "indices", "indptr")})
    return found


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """20,000 cells of one type in one batch at depth 1, 60 genes of known means and dispersions."""
    truth = truth_of(Recipe(n_cells=20_000, n_genes=60, n_types=1, n_batches=1, mean_total=300, seed=5))
    tables = tables_of(truth, truth.rna)
    cells = draw_cells(truth, truth.rna, tables)
    depth = np.ones_like(cells.depth)
    table = tables.table_of(cells.kind, depth)
    rng = np.random.default_rng(0)
    cells = replace(cells, depth=depth, table=table, n_events=rng.poisson(tables.rate[table]).astype(np.int32))
    parts = draw_matrix(truth, truth.rna, tables, cells, np.arange(20_000), 10**6)
    counts = np.vstack([part.toarray() for _, part in parts])
    return {"counts": counts, "mean": truth.rna.mean[0], "dispersion": truth.rna.dispersion}


def test_counts_follow_the_negative_binomial_of_each_gene(drawn):
    p_values = []
    for gene in np.flatnonzero(drawn["mean"] > 0.01):
        mean, r, counts = drawn["mean"][gene], drawn["dispersion"][gene], drawn["counts"][:, gene]
        law = stats.nbinom(r, r / (r + mean))
        edges = np.unique(law.ppf(np.linspace(0, 1, 12)[1:-1]))
        bounds = np.concatenate([[-1], edges, [np.inf]])
        expected = np.diff(law.cdf(bounds)) * counts.size
        seen = np.histogram(counts, bounds + 0.5)[0]
        p_values.append(stats.chisquare(seen, expected).pvalue)
    assert min(p_values) > 0.001 / len(p_values)
    # Were the law slightly wrong everywhere, no gene alone would have to show it.
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_means_variances_and_dispersions_are_the_stated_ones(drawn):
    mean, r, counts = drawn["mean"], drawn["dispersion"], drawn["counts"].astype(np.float64)
    seen = mean > 0.5
    error = np.sqrt((mean + mean**2 / r) / len(counts))
    assert (np.abs(counts.mean(axis=0) - mean)[seen] < 5 * error[seen]).all()
    mean, variance = counts[:, seen].mean(axis=0), counts[:, seen].var(axis=0)
    assert np.median(np.abs(mean**2 / (variance - mean) / r[seen] - 1)) < 0.05


def test_genes_are_independent_of_each_other_within_a_type_and_depth(drawn):
    seen = drawn["mean"] > 0.5
    correlation = np.corrcoef(drawn["counts"][:, seen].T)[np.triu_indices(seen.sum(), 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_every_type_and_batch_has_the_means_that_the_truth_tells():
    truth = truth_of(replace(RECIPE, n_cells=20_000))
    adata = ll.simulate(None, 20_000, 300, n_types=7, n_lineages=3, n_batches=2, rare={5: 0.004}, seed=3)
    counts, off = adata.X.toarray(), []
    for number, batch in enumerate(truth.batches):
        for kind, name in enumerate(truth.types):
            these = ((adata.obs["true_label"] == name) & (adata.obs["batch"] == batch)).to_numpy()
            depth = adata.obs["true_depth"].to_numpy(np.float64)[these]
            expected = truth.rna.mean[kind] * truth.rna.effect[number]
            mean = np.outer(depth, expected)
            error = np.sqrt((mean + mean**2 / truth.rna.dispersion).sum(axis=0))
            off.append(((counts[these] - mean).sum(axis=0) / np.maximum(error, 1e-9))[mean.sum(axis=0) > 30])
    off = np.concatenate(off)
    assert abs(off.mean()) < 4 / np.sqrt(off.size) and 0.9 < off.std() < 1.1 and np.abs(off).max() < 6


def test_any_memory_gives_the_same_bytes(tmp_path):
    options = {"n_cells": 9_000, "n_genes": 300, "n_types": 7, "seed": 3}
    small, large = matrices(tmp_path, {"small": "125MB", "large": "1GB"}, **options)
    assert small["indptr"][-1] > 100_000
    for part, values in small.items():
        assert values.tobytes() == large[part].tobytes()
    written = [(tmp_path / f"{name}.truth.json").read_bytes() for name in ("small", "large")]
    assert written[0] == written[1]


def test_small_memory_cuts_the_cells_into_chunks_of_every_length():
    truth = truth_of(RECIPE)
    tables = tables_of(truth, truth.rna)
    cells = draw_cells(truth, truth.rna, tables)
    some = np.arange(4_000, 4_600)  # across the border of two blocks of 4,096
    whole = [part for _, part in draw_matrix(truth, truth.rna, tables, cells, some, 10**7)]
    assert len(whole) == 1
    for most in (1, 1_000, 20_000):
        parts = list(draw_matrix(truth, truth.rna, tables, cells, some, most))
        assert len(parts) > 3 and np.concatenate([numbers for numbers, _ in parts]).tolist() == some.tolist()
        for array in ("data", "indices"):
            together = np.concatenate([getattr(part, array) for _, part in parts])
            assert together.tobytes() == getattr(whole[0], array).tobytes()


def test_another_seed_gives_other_cells_and_a_smaller_atlas_the_first_ones():
    whole = ll.simulate(None, 5_000, 100, seed=1)
    first, other = ll.simulate(None, 4_200, 100, seed=1), ll.simulate(None, 4_200, 100, seed=2)
    assert (whole.X[:4_200] != first.X).nnz == 0 and whole.obs[:4_200]["true_label"].equals(first.obs["true_label"])
    assert (other.X != first.X).nnz > 10_000


def test_a_store_a_file_and_memory_hold_the_same_cells(tmp_path):
    options = {"n_cells": 3_000, "n_genes": 120, "n_types": 5, "n_batches": 2, "hidden": [1], "empty": 0.05, "seed": 9}
    atlas = ll.simulate(tmp_path / "a.zarr", **options)
    file = anndata.read_h5ad(ll.simulate(tmp_path / "a.h5ad", **options))
    memory = ll.simulate(None, **options)
    store = anndata.read_zarr(tmp_path / "a.zarr")
    for other in (file, memory):
        assert (store.X.astype(np.float32) != other.X).nnz == 0
        assert store.obs_names.equals(other.obs_names) and store.var_names.equals(other.var_names)
        for column in other.obs:
            assert store.obs[column].tolist() == other.obs[column].tolist()
    assert store.X.dtype == np.uint16 and atlas.n_cells == 3_000
    assert (tmp_path / "a.truth.json").read_text() == memory.uns["truth"]


def test_a_simulated_store_is_an_atlas_that_streams(tmp_path):
    atlas = ll.simulate(tmp_path / "a.zarr", 3_000, 120, n_types=5, hidden=[1], unlabelled=0.1, seed=9)
    assert isinstance(atlas, ll.Atlas) and atlas.n_cells == 3_000 and len(atlas.label_names) == 4
    truth = atlas.obs["true_label"].to_numpy().astype(str)
    assert (atlas.label[truth == "type 1"] == -1).all()
    assert 0.05 < (atlas.label[truth != "type 1"] == -1).mean() < 0.15
    counts = atlas.read_rows(0, atlas.n_cells)
    assert np.array_equal(atlas.total, np.asarray(counts.sum(axis=1)).ravel())
    minibatch = next(iter(ll.Stream(atlas, atlas.rows("train")).minibatches(0)))
    assert minibatch.x.shape[1] == 120
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        ll.simulate(tmp_path / "a.zarr", 100, 50)


def test_rare_types_have_the_share_that_was_asked_and_hidden_ones_no_label():
    adata = ll.simulate(None, 40_000, 40, n_types=6, n_lineages=2, rare={3: 0.01, 4: 0.002}, hidden=[4], seed=2)
    truth = adata.obs["true_label"].to_numpy().astype(str)
    for kind, share in ((3, 0.01), (4, 0.002)):
        expected = 40_000 * share
        assert abs((truth == f"type {kind}").sum() - expected) < 5 * np.sqrt(expected)
    assert ((adata.obs["cell_type"] == "unassigned") == (truth == "type 4")).all()
    assert "type 4" not in adata.obs["cell_type"].cat.categories


def test_markers_raise_their_type_or_every_type_of_their_lineage():
    truth = truth_of(replace(RECIPE, n_genes=600))
    facts = json.loads(truth.to_json())
    nodes = [*truth.lineages, *truth.types]
    marked = [set(truth.markers[name]) for name in nodes]
    assert sum(map(len, marked)) == len(set().union(*marked))
    assert sum(len(names) for names in facts["tree"].values()) == 7
    # Mitochondrial genes have a share of their own, which no marker lowers.
    mito = np.flatnonzero(truth.rna.var.index.str.startswith("MT-"))
    background = np.setdiff1d(np.arange(600), [*set().union(*marked), *mito])
    background = background[(truth.rna.mean[:, background] > 0).all(axis=0)]
    for node, genes in zip(nodes, marked, strict=True):
        inside = {node} | set(facts["tree"].get(node, []))
        kinds = np.array([name in inside for name in truth.types])
        genes = sorted(genes)
        # Means sum to one in each type, so folds are told against genes that mark nothing.
        level = truth.rna.mean[:, genes] / truth.rna.mean[:, background].mean(axis=1, keepdims=True)
        fold = level[kinds].min(axis=0) / level[~kinds].max(axis=0)
        assert (fold > 2.9).all() and (fold < 20.5).all()
        assert facts["markers"][node] == [facts["genes"][gene] for gene in genes]


def test_gene_names_tell_nothing_but_mitochondria():
    adata = ll.simulate(None, 2_000, 400, seed=4)
    mito = adata.var_names.str.startswith("MT-")
    assert set(adata.var_names[mito]) == set(MITOCHONDRIAL)
    assert 0.03 < adata.X[:, mito].sum() / adata.X.sum() < 0.1
    silent = np.asarray(adata.X.sum(axis=0)).ravel() == 0
    assert 8 <= silent.sum() < 60


def test_empty_cells_have_no_counts_and_others_do():
    adata = ll.simulate(None, 4_000, 100, empty=0.1, seed=4)
    total = np.asarray(adata.X.sum(axis=1)).ravel()
    is_empty = adata.obs["true_depth"].to_numpy() == 0
    assert 300 < is_empty.sum() < 500 and (total[is_empty] == 0).all() and (total[~is_empty] > 0).mean() > 0.9


@pytest.mark.parametrize("wanted", [{"genes_per_cell": 90}, {"mean_total": 5_000}])
def test_cells_have_about_the_genes_or_the_counts_that_were_asked(wanted):
    counts = ll.simulate(None, 3_000, 500, **wanted).X
    got = counts.nnz / 3_000 if "genes_per_cell" in wanted else counts.sum() / 3_000
    assert got == pytest.approx(next(iter(wanted.values())), rel=0.08)


def test_peaks_pair_with_the_cells_and_open_with_the_genes_near_them():
    options = {"n_cells": 6_000, "n_genes": 200, "n_types": 4, "n_lineages": 2, "n_peaks": 500, "seed": 6}
    rna, atac = ll.simulate(None, **options), ll.simulate(None, **options, assay="atac")
    assert rna.obs_names.equals(atac.obs_names) and rna.obs["true_label"].equals(atac.obs["true_label"])
    assert (rna.X != ll.simulate(None, **{**options, "n_peaks": 0}).X).nnz == 0
    assert atac.var_names.is_unique and atac.X.max() < 30 and atac.X.nnz / 3e6 < 0.2
    truth = truth_of(Recipe(**options))
    kinds = [np.flatnonzero(rna.obs["true_label"] == name) for name in truth.types]
    gene_change, peak_change = [
        np.log(np.stack([np.asarray(x.X[rows].sum(axis=0)).ravel() + 1 for rows in kinds]) / [[len(r)] for r in kinds])
        for x in (rna, atac)
    ]
    near = atac.var["near"].to_numpy().astype(str)
    marked = {str(rna.var_names[gene]) for genes in truth.markers.values() for gene in genes}
    linked, lone = np.flatnonzero(np.isin(near, list(marked))), np.flatnonzero(near == "")
    of = rna.var_names.get_indexer(near[linked])
    centred = [change - change.mean(axis=0) for change in (gene_change[:, of], peak_change[:, linked])]
    assert linked.size > 50 and np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1] > 0.7
    assert peak_change[:, lone].std(axis=0).mean() < 0.6 * peak_change[:, linked].std(axis=0).mean()


def test_donors_come_one_after_another_and_every_other_one_sorted(tmp_path):
    options = {"n_cells": 5_000, "n_genes": 60, "n_types": 5, "n_batches": 4, "seed": 8}
    plain = ll.simulate(None, **options)
    donors = anndata.read_h5ad(ll.simulate(tmp_path / "d.h5ad", **options, order="donors", compression="gzip"))
    batch, kind = donors.obs["batch"].cat.codes.to_numpy(), donors.obs["true_label"].cat.codes.to_numpy()
    assert (np.diff(batch) >= 0).all()
    assert [bool((np.diff(kind[batch == b]) >= 0).all()) for b in range(4)] == [True, False, True, False]
    back = donors[plain.obs_names]
    assert (back.X != plain.X).nnz == 0 and back.obs["true_depth"].equals(plain.obs["true_depth"])


def test_names_of_cells_are_their_own_and_in_no_order():
    names = barcodes(np.arange(200_000))
    assert len(set(names)) == 200_000 and {len(name) for name in names[:100]} == {18}
    assert (np.argsort(names[:100]) != np.arange(100)).sum() > 90


def test_the_random_numbers_are_philox():
    # The published output of Philox4x32-10 for a key and counter of zeros is 6627e8d5 e169c58d bc57ac4c 9b00dbd8. Its
    # first word picks one of 16 equal genes, number 6; nothing is thinned out.
    data, indices, indptr = np.zeros(20, np.float32), np.zeros(20, np.int32), np.zeros(2, np.int64)
    whole, itself = np.full((1, 16), 2**32 - 1, np.uint32), np.arange(16, dtype=np.int32)[None]
    zero, one = np.zeros(1, np.int32), np.ones(1)
    rise, kept = np.full((1, 16), 1e-6, np.float32), np.ones((1, 16), np.float32)
    draw_counts(
        0, np.zeros(1, np.int64), zero, zero, zero, one, zero + 1, one, whole, itself, rise, kept, data, indices, indptr
    )
    assert indptr.tolist() == [0, 1] and indices[0] == 6 and data[0] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rare": {9: 0.1}}, "0..7"),
        ({"hidden": [8]}, "0..7"),
        ({"rare": {0: 0.6, 1: 0.5}}, "below 1 together"),
        ({"unlabelled": 1.5}, "share"),
        ({"genes_per_cell": 5, "mean_total": 5}, "either"),
        ({"genes_per_cell": 2_000}, "0.8"),
        ({"n_genes": 20}, "too few"),
        ({"n_types": 0}, "n_types"),
        ({"assay": "atac"}, "n_peaks"),
        ({"order": "donors"}, r"\.h5ad"),
    ],
)
def test_what_can_not_be_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ll.simulate(None, **{"n_cells": 10, "n_genes": 100, **options})


def test_too_little_memory_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(MemoryLimitError, match=r"Pass memory=\"\d+MB\""):
        ll.simulate(tmp_path / "a.h5ad", 1_000_000, 2_000, memory="100MB")
    assert not list(tmp_path.iterdir())


def test_the_shell_writes_both_assays_of_the_same_cells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "a.h5ad", "--cells", "700", "--genes", "100", "--peaks", "300", "--rare", "7=0.01", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    rna, atac = (anndata.read_h5ad(tmp_path / facts[assay]) for assay in ("rna", "atac"))
    assert rna.shape == (700, 100) and atac.shape == (700, 300) and rna.obs_names.equals(atac.obs_names)
    assert json.loads((tmp_path / facts["truth"]).read_text())["types"]["type 7"] == pytest.approx(0.01)


def test_the_shell_says_in_one_message_what_can_not_be(tmp_path):
    for words, said in ((["--rare", "7:0.1"], "7=0.001"), (["--hidden", "99"], "0..7"), (["--memory", "1MB"], "MB")):
        done = CliRunner().invoke(app, ["simulate", str(tmp_path / "a.zarr"), *words])
        assert done.exit_code in (1, 2) and said in done.stderr and isinstance(done.exception, SystemExit)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@needs_proc
def test_a_store_is_written_within_its_memory(tmp_path):
    # 200,000 cells x 1,000 genes at a tenth are 160 MB as stored while they are drawn, 80 MB on disk before lz4.
    warm_up = "import livelatent as ll; ll.simulate(sys.argv[1] + '/warm.zarr', 2_000, 1_000)"
    call = "ll.simulate(sys.argv[1] + '/a.zarr', 200_000, 1_000, memory='200MB')"
    assert 0 < peak_bytes(warm_up, call, tmp_path) < 200_000_000
    assert ll.Atlas.open(tmp_path / "a.zarr").n_cells == 200_000
