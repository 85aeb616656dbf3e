import numpy as np
import pytest
import torch

from livelatent.errors import GeneMismatchError
from livelatent.models.cellular import Cellular
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream
from livelatent.train.embed import embed

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
        np.testing.assert_allclose(embed(model, tiny_atlas, rows, "cpu", stream=config), wanted, rtol=1e-4, atol=1e-6)
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
