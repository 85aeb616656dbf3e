import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from livelatent.atlas import ingest
from livelatent.models.tokens import GeneTokens, SetTokens, gene_ranges

torch.set_num_threads(1)


def test_ranges_are_those_of_the_logs_in_memory(tiny_atlas, small_chunks):
    rows = tiny_atlas.rows("train", labelled=True)
    genes = np.array([299, 4, 150, 151, 7])  # the last gene is all zero, and none is in order
    low, high = gene_ranges(tiny_atlas, genes, rows, mean_total=900.0)
    counts = tiny_atlas.read_cells(rows).toarray().astype(np.float64)
    total = np.asarray(tiny_atlas.total)[rows]
    x = np.log1p(counts * np.divide(900.0, total, out=np.zeros_like(total), where=total > 0)[:, None])[:, genes]
    np.testing.assert_allclose(low, x.min(0), rtol=1e-12)
    np.testing.assert_allclose(high, x.max(0), rtol=1e-12)
    assert high[0] == 0 < high[1]


def test_a_gene_that_every_cell_has_begins_above_0(tmp_path, small_chunks):
    counts = np.random.default_rng(0).poisson(1, (250, 12)).astype(np.float32)
    counts[:, 5] += 3
    counts[7, 5] = 90
    obs = pd.DataFrame({"kind": ["T", "B"] * 125}, index=pd.Index([f"c{i}" for i in range(250)], dtype=object))
    var = pd.DataFrame(index=pd.Index([f"G{i}" for i in range(12)], dtype=object))
    anndata.AnnData(counts, obs=obs, var=var).write_h5ad(tmp_path / "a.h5ad")
    atlas = ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr", label="kind")
    low, high = gene_ranges(atlas, np.array([5, 0]), atlas.rows(), mean_total=10.0)
    x = np.log1p(counts[:, 5] * 10.0 / counts.sum(1))
    assert (low[0], high[0]) == (pytest.approx(x.min(), rel=1e-6), pytest.approx(x.max(), rel=1e-6))
    assert low[1] == 0 < low[0]


def tokens_of(low, high, n_buckets=10, known=0):
    tokens = GeneTokens(len(low), 6, n_buckets=n_buckets, n_known=known, size=3).double()
    places = np.array(sorted([2, 0][:known]), np.int64)
    tokens.fill(np.array(low), np.array(high), places, np.arange(3.0 * known).reshape(known, 3))
    return tokens


def test_buckets_are_of_equal_width_between_a_genes_ends():
    low, high = [0.0, 1.0, 2.0], [4.0, 3.0, 2.0]
    tokens = tokens_of(low, high)
    x = torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 6 - 1
    got = tokens.bucket(x)
    for gene in (0, 1):
        edges = np.linspace(low[gene], high[gene], 11)[1:-1]  # without the ends: what lies beyond goes to the last
        assert got[:, gene].tolist() == np.digitize(x[:, gene].numpy(), edges).tolist()
    assert (got[:, 2] == 0).all()  # a gene that never differed
    assert tokens.bucket(torch.tensor([[4.0, 3.0, 2.0]], dtype=torch.float64)).tolist() == [[9, 9, 0]]


@pytest.mark.parametrize("known", [0, 1, 2])
def test_a_token_is_its_bucket_and_its_genes_vector(known):
    tokens = tokens_of([0.0] * 3, [1.0] * 3, known=known)
    vectors = {place: vector for place, vector in zip(tokens.known_at.tolist(), tokens.known, strict=True)}
    learned = iter(tokens.learned)
    x = torch.tensor([[0.05, 0.55, 0.95], [0.35, 0.05, 0.15]], dtype=torch.float64)
    got = tokens(x)
    for gene in range(3):
        vector = vectors[gene] if gene in vectors else next(learned)
        for cell in range(2):
            bucket = int(x[cell, gene] * 10)
            wanted = tokens.buckets.weight[bucket] + tokens.project.weight @ vector + tokens.project.bias
            torch.testing.assert_close(got[cell, gene], wanted)


def test_given_vectors_stay_and_the_others_learn():
    tokens = tokens_of([0.0] * 3, [1.0] * 3, known=2)
    tokens(torch.rand(4, 3, dtype=torch.float64)).square().sum().backward()
    assert tokens.known.grad is None
    assert tokens.learned.shape == (1, 3)
    assert (tokens.learned.grad != 0).all()


def test_a_sets_token_is_a_linear_map_of_its_genes_alone():
    generator = torch.Generator().manual_seed(1)
    sets = SetTokens(4, 7, 5).double()
    masks = torch.rand(4, 7, generator=generator) < 0.5
    masks[2] = False
    sets.fill(masks.numpy())
    x = torch.rand(6, 7, dtype=torch.float64, generator=generator)
    wanted = sets.project(x.unsqueeze(1) * masks)  # the dense form of the text
    got = sets(x)
    torch.testing.assert_close(got, wanted)
    weight = torch.rand(got.shape, dtype=torch.float64, generator=generator)
    gradients = [torch.autograd.grad((y * weight).sum(), sets.parameters()) for y in (got, wanted)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
