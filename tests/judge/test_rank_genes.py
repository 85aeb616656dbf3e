"""Marker genes against scanpy's."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

from livelatent.atlas import Atlas, ingest, rank_sums
from livelatent.atlas.layout import KEPT
from livelatent.errors import ColumnError, LabelError, MemoryLimitError
from livelatent.judge.rank_genes import rank_genes
from oracles import log_counts


def scanpys(atlas: Atlas, rows: np.ndarray, group: np.ndarray, **options: object) -> pd.DataFrame:
    """Both sorted by group and gene."""
    import scanpy as sc
    from scipy import sparse

    x = sparse.csr_matrix(log_counts(atlas, rows, atlas.mean_total))
    obs = pd.DataFrame({"group": pd.Categorical(group)}, index=[f"c{row}" for row in rows])
    adata = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[str(gene) for gene in atlas.genes]))
    with warnings.catch_warnings():
        # scanpy 1.12 uses what pandas 3.1 is about to remove, and divides by 0 where a gene is in one group only.
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(adata, "group", **options)
        return sc.get.rank_genes_groups_df(adata, list(adata.obs["group"].cat.categories))


def compare(got: pd.DataFrame, want: pd.DataFrame) -> None:
    order = [frame.assign(group=frame["group"].astype(str)).set_index(["group", "names"]) for frame in (got, want)]
    got, want = order[0].sort_index(), order[1].sort_index()
    assert got.index.tolist() == want.index.tolist() and list(got.columns) == list(want.columns)
    for column, tolerance in (("scores", 1e-6), ("logfoldchanges", 1e-5), ("pvals", 1e-9), ("pvals_adj", 1e-9)):
        np.testing.assert_allclose(got[column], want[column], rtol=tolerance, atol=1e-12, err_msg=column)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("rows", [None, "train"])
@pytest.mark.parametrize(("method", "tie_correct"), [("t-test", False), ("wilcoxon", False), ("wilcoxon", True)])
def test_tests_of_the_labels_are_scanpys(tiny_atlas: Atlas, method: str, tie_correct: bool, rows: str | None) -> None:
    chosen = tiny_atlas.rows(rows, labelled=True)
    names = np.array(tiny_atlas.label_names, dtype=object)[tiny_atlas.label[chosen]]
    options = {"tie_correct": True} if tie_correct else {}
    given = None if rows is None else tiny_atlas.rows(rows)
    got = rank_genes(tiny_atlas, method=method, tie_correct=tie_correct, rows=given)
    compare(got, scanpys(tiny_atlas, chosen, names, method=method, **options))
    assert list(got["group"].cat.categories) == list(tiny_atlas.label_names)
    for _, own in got.groupby("group", observed=True):
        assert own["scores"].is_monotonic_decreasing


@pytest.mark.parametrize("method", ["t-test", "wilcoxon"])
def test_groups_may_be_a_column_names_or_codes(tiny_atlas: Atlas, method: str) -> None:
    rows = tiny_atlas.rows()
    donor = np.asarray(tiny_atlas.obs["donor"].astype(str), dtype=object)
    by_column = rank_genes(tiny_atlas, "donor", method)
    compare(by_column, scanpys(tiny_atlas, rows, donor, method=method))
    pd.testing.assert_frame_equal(by_column, rank_genes(tiny_atlas, donor, method), check_categorical=False)
    code = np.where(tiny_atlas.batch == 2, -1, tiny_atlas.batch + 10)
    by_code = rank_genes(tiny_atlas, code, method)
    assert list(by_code["group"].cat.categories) == ["10", "11"]
    compare(by_code, scanpys(tiny_atlas, rows[code >= 0], code[code >= 0].astype(str), method=method))


def test_markers_of_a_type_are_the_genes_that_the_tiny_atlas_gives_it(tiny_atlas: Atlas) -> None:
    for method in ("t-test", "wilcoxon"):
        got = rank_genes(tiny_atlas, method=method)
        best = {name: set(own["names"].head(20)) for name, own in got.groupby("group", observed=True)}
        for kind, name in enumerate(["T cell", "B cell", "monocyte", "NK cell"]):
            own = {f"GENE{gene}" for gene in range(25 * kind, 25 * (kind + 1))}
            assert len(best[name] & own) >= 18, (method, name)


def test_genes_in_many_blocks_are_ranked_as_in_one(tiny_atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rank_genes(tiny_atlas, method="wilcoxon")
    monkeypatch.setattr(rank_sums, "_values_at_once", lambda *given: 700)
    seen: list[str] = []
    parts = rank_genes(tiny_atlas, method="wilcoxon", progress=lambda done, total, what: seen.append(what))
    pd.testing.assert_frame_equal(whole, parts)
    assert "ranks, 1 of " in seen[1] and len(set(seen)) > 20


def test_a_limit_too_low_for_one_gene_says_what_is_needed(tiny_atlas: Atlas) -> None:
    with pytest.raises(MemoryLimitError, match=r'Pass memory="\d+MB" or more, or method="t-test"') as caught:
        rank_genes(tiny_atlas, method="wilcoxon", memory="20KB")
    least = str(caught.value).split('memory="')[1].split('"')[0]
    assert len(rank_genes(tiny_atlas, method="wilcoxon", memory=least)) == 4 * 300


def test_masked_cells_and_cells_without_a_label_have_no_part_in_it(own_atlas: Atlas) -> None:
    own_atlas.obs[KEPT] = np.arange(607) % 3 > 0
    rows = np.flatnonzero((np.arange(607) % 3 > 0) & (own_atlas.label >= 0))
    names = np.array(own_atlas.label_names, dtype=object)[own_atlas.label[rows]]
    compare(rank_genes(own_atlas), scanpys(own_atlas, rows, names, method="t-test"))


def test_what_cannot_be_compared_is_refused(tiny_atlas: Atlas, tmp_path) -> None:
    with pytest.raises(ColumnError, match='no column "cluster"'):
        rank_genes(tiny_atlas, "cluster")
    with pytest.raises(LabelError, match="at least two groups of cells; got 1"):
        rank_genes(tiny_atlas, np.where(np.arange(607) < 300, 0, -1))
    with pytest.raises(LabelError, match="'one' has one"):
        rank_genes(tiny_atlas, np.where(np.arange(607) == 5, "one", "others"))
    with pytest.raises(ValueError, match="607 cells; got 3"):
        rank_genes(tiny_atlas, [0, 1, 1])
    anndata.AnnData(np.eye(6, dtype=np.float32)).write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(LabelError, match="got 0"):
        rank_genes(ingest(tmp_path / "bare.h5ad", tmp_path / "bare.zarr"))
