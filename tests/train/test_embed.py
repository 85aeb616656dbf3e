import anndata
import numpy as np
import pytest
import torch

from livelatent.errors import GeneMismatchError
from livelatent.models.cellular import Cellular
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream
from livelatent.train.embed import embed, embed_into

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tiny_atlas):
    return Cellular(tiny_atlas, n_genes=50, n_latent=6).eval()


def test_rows_come_in_ascending_order_whatever_the_minibatch(model, tiny_atlas):
    rows = np.array([5, 90, 91, 300, 606])
    with Stream(tiny_atlas, rows, StreamConfig(shuffle=False), genes=model.genes) as stream:
        (minibatch,) = stream.minibatches(0)
    wanted = model.embed(minibatch).detach().numpy()
    small = StreamConfig(minibatch_cells=2, block_cells=8, buffer_cells=8)
    for config in (None, small):
        np.testing.assert_allclose(embed(model, tiny_atlas, rows, "cpu", config=config), wanted, rtol=1e-4, atol=1e-6)
    whole = embed(model, tiny_atlas, device="cpu")
    assert (whole.dtype, whole.shape) == (np.float32, (tiny_atlas.n_cells, 6))
    np.testing.assert_allclose(whole[rows], wanted, rtol=1e-4, atol=1e-6)


def test_a_model_in_training_is_embedded_without_dropout_and_left_in_training(model, tiny_atlas):
    wanted = embed(model, tiny_atlas, device="cpu")
    model.train()
    got = embed(model, tiny_atlas, device="cpu")
    assert model.training
    model.eval()
    np.testing.assert_array_equal(got, wanted)


def test_no_rows_are_an_empty_array(model, tiny_atlas):
    assert embed(model, tiny_atlas, np.empty(0, np.int64), "cpu").shape == (0, 6)


def test_a_query_without_the_models_genes_is_refused(tiny_atlas, model, own_atlas):
    own_atlas.genes = np.array([f"OTHER{i}" for i in range(own_atlas.n_genes)], dtype=object)
    with pytest.raises(GeneMismatchError, match="50 of the model's 50 genes are missing"):
        embed(model, own_atlas, device="cpu")


def test_latents_streamed_into_the_store_are_those_of_embed(model, own_atlas):
    seen = []
    small = StreamConfig(minibatch_cells=100, block_cells=8, buffer_cells=64)
    facts = embed_into(model, own_atlas, "X_mine", "cpu", config=small, progress=lambda *at: seen.append(at))
    assert facts == (607, 6)
    assert seen[0] == (100, 607, "embedding") and seen[-1] == (607, 607, "embedding")
    got = anndata.read_zarr(own_atlas.path).obsm["X_mine"]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, embed(model, own_atlas, device="cpu", config=small))


def test_a_failed_embedding_leaves_the_earlier_one(model, own_atlas):
    own_atlas.write_obsm("X_mine", np.ones((607, 2)))

    def fails(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_into(model, own_atlas, "X_mine", "cpu", progress=fails)
    assert anndata.read_zarr(own_atlas.path).obsm["X_mine"].tolist() == [[1, 1]] * 607


def test_a_cell_that_qc_masks_is_embedded_too(model, own_atlas):
    own_atlas.obs["livelatent_kept"] = np.arange(607) > 300
    assert embed(model, own_atlas, device="cpu").shape == (607, 6)
