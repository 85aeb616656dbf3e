"""One small model, trained where B cells have no label, and what judge fits for it."""

import pytest
import threadpoolctl
import torch

from livelatent.atlas import ingest
from livelatent.judge.reference import fit_reference
from livelatent.models.cellular import Cellular
from livelatent.train.loop import train

torch.set_num_threads(1)
# Several test processes on two cores: BLAS threads would spend minutes waiting for each other.
threadpoolctl.threadpool_limits(1, user_api="blas")


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Something that scanpy imports sets two."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def hidden_atlas(tmp_path_factory, tiny_h5ad):
    """The tiny cells; B cells and the unassigned have no label."""
    return ingest(
        tiny_h5ad,
        tmp_path_factory.mktemp("hidden") / "hidden.zarr",
        label="cell_type",
        batch="donor",
        unlabelled=["unassigned", "B cell"],
        seed=3,
    )


@pytest.fixture(scope="session")
def trained(hidden_atlas, tmp_path_factory):
    """A saved model with its reference in its folder."""
    model = Cellular(hidden_atlas, n_genes=120, n_latent=10)
    for _ in train(model, hidden_atlas, epochs=12, device="cpu"):
        pass
    model.folder = tmp_path_factory.mktemp("model") / "m"
    model.save(model.folder)
    fit_reference(model, hidden_atlas)
    return model
