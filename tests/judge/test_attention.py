import numpy as np
import pytest
import torch

from livelatent.errors import LabelError, ModelError
from livelatent.judge import attention
from livelatent.judge.attention import attention_by_type, class_row
from livelatent.judge.attention_stability import attention_stability
from livelatent.models.cellular import Cellular
from livelatent.models.transformer import Transformer
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream

torch.set_num_threads(1)

SETS = {f"set {k}": [f"GENE{i}" for i in range(15 * k, 15 * k + 20)] for k in range(4)}
SMALL = {"token_width": 10, "set_width": 6, "attention_width": 8, "n_heads": 2, "depth": 2, "n_buckets": 9}
SETTINGS = {"encoder": "genes+sets", "n_genes": 100, "n_latent": 4, **SMALL}


@pytest.fixture(scope="module")
def models(tiny_atlas):
    return [Cellular(tiny_atlas, gene_sets=SETS, seed=seed, **SETTINGS).eval() for seed in (1, 2, 3)]


def whole_product(layers):
    """Section 2.3.5 as it stands: whole matrices, one after the other."""
    product = torch.eye(layers[0][0].shape[2], dtype=layers[0][0].dtype)
    for q, k in layers:
        weights = torch.softmax(q @ k.mT / q.shape[3] ** 0.5, 3).mean(1)
        weights = weights + torch.eye(weights.shape[1], dtype=weights.dtype)
        product = weights / weights.sum(2, keepdim=True) @ product
    return product[:, 0, 1:]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("query_bytes", [1, 64_000_000])
def test_the_class_row_is_that_of_the_whole_product(monkeypatch, depth, query_bytes):
    monkeypatch.setattr(attention, "QUERY_BYTES", query_bytes)
    torch.manual_seed(depth)
    transformer = Transformer(8, depth=depth, attention_width=8, n_heads=4, norm="pre", dropout=0.0).double()
    with torch.no_grad():
        for block in transformer.blocks:
            block.attention.project.weight *= 9  # far from even attention
        layers = transformer.queries_and_keys(torch.randn(3, 11, 8, dtype=torch.float64))
        got = class_row(layers)
    torch.testing.assert_close(got, whole_product(layers), rtol=1e-12, atol=1e-15)
    assert float(got.std(1).min()) > 1e-3


def test_no_matrix_of_tokens_by_tokens_is_made(monkeypatch):
    monkeypatch.setattr(attention, "QUERY_BYTES", 4 * 2 * 500 * 20)
    sizes = []
    weights_of = attention.weights_of
    monkeypatch.setattr(
        attention, "weights_of", lambda q, k: sizes.append(weights_of(q, k).shape[2]) or weights_of(q, k)
    )
    layers = [(torch.randn(1, 2, 500, 3), torch.randn(1, 2, 500, 3)) for _ in range(2)]
    class_row(layers)
    assert sizes == [1] + [20] * 25


def test_types_have_the_mean_of_their_cells(models, tiny_atlas):
    rows = np.flatnonzero(np.arange(tiny_atlas.n_cells) % 3 == 0)
    got = attention_by_type(models[0], tiny_atlas, rows, cells_per_type=None, device="cpu")
    assert set(got) == {"genes", "sets"}
    config = StreamConfig(minibatch_cells=1000, shuffle=False)
    with Stream(tiny_atlas, rows, config, genes=models[0].genes, mean_total=models[0].mean_total) as stream:
        minibatch = next(stream.minibatches(0))
    for kind, tower in (("genes", models[0].encoder.genes), ("sets", models[0].encoder.sets)):
        with torch.no_grad():
            row = whole_product(tower.transformer.queries_and_keys(tower.all_tokens(minibatch.x)))
        assert list(got[kind].columns) == list(models[0].genes if kind == "genes" else models[0].config.set_names)
        for code, name in enumerate(tiny_atlas.label_names):
            wanted = row[minibatch.label == code].mean(0)
            np.testing.assert_allclose(got[kind].loc[name], wanted, rtol=1e-4)


def test_a_sample_of_each_type_is_drawn_by_the_seed(models, tiny_atlas):
    def read(seed, cells=5):
        return attention_by_type(models[0], tiny_atlas, cells_per_type=cells, seed=seed, device="cpu")["genes"]

    assert read(1).equals(read(1))
    assert not read(1).equals(read(2))
    assert read(1, 10_000).equals(read(2, None))


def test_stability_stands_beside_every_value(models, tiny_atlas):
    table = attention_stability(models, tiny_atlas, n_top=7, cells_per_type=10, device="cpu")
    assert len(table) == 4 * (100 + len(models[0].config.set_names))
    assert not table.isna().any().any()
    read = [attention_by_type(model, tiny_atlas, cells_per_type=10, device="cpu") for model in models]
    for (kind, label), part in table.groupby(["kind", "label"]):
        own = np.stack([one[kind].loc[label] for one in read])
        values = part.set_index("name").loc[list(read[0][kind].columns)]
        np.testing.assert_allclose(values["attention"], own.mean(0))
        np.testing.assert_allclose(values["spread"], own.std(0, ddof=1) / own.mean(0))
        assert part["attention"].is_monotonic_decreasing
        n_top = min(7, own.shape[1])
        tops = [set(np.argsort(-row)[:n_top]) for row in own]
        assert values["top_share"].tolist() == [np.mean([at in top for top in tops]) for at in range(own.shape[1])]
        pairs = [(0, 1), (0, 2), (1, 2)]
        assert part["top_overlap"].iloc[0] == pytest.approx(np.mean([len(tops[a] & tops[b]) / n_top for a, b in pairs]))
        correlation = np.mean([np.corrcoef(np.argsort(np.argsort(own[[a, b]], 1), 1))[0, 1] for a, b in pairs])
        assert part["rank_correlation"].iloc[0] == pytest.approx(correlation)
        assert part["chance_overlap"].iloc[0] == n_top / own.shape[1]


def test_models_that_differ_in_more_than_their_seed_are_refused(models, tiny_atlas):
    with pytest.raises(ValueError, match="at least two models"):
        attention_stability([models[0], models[0]], tiny_atlas)
    left = {name: genes for name, genes in SETS.items() if name != models[0].config.set_names[0]}
    fewer = Cellular(tiny_atlas, gene_sets=left, seed=9, **SETTINGS)
    with pytest.raises(ModelError, match="differ in set_names"):
        attention_stability([models[0], fewer], tiny_atlas)


def test_cells_without_a_known_label_have_no_type(models, tiny_atlas):
    with pytest.raises(LabelError, match="no type to read out"):
        attention_by_type(models[0], tiny_atlas, np.flatnonzero(tiny_atlas.label < 0))
