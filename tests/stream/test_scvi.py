"""With scvi-tools as it is: `pip install scvi-tools` (it is in no extra: 6 GB, and for this file alone)."""

import numpy as np
import pytest

import livelatent as ll

scvi = pytest.importorskip("scvi", reason="scvi-tools is not installed")
# scvi-tools, Lightning and torch warn of each other; none of it is ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = ll.StreamConfig(minibatch_cells=100, block_cells=32, buffer_cells=512)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """1,200 cells of four types, a third of them without a label."""
    return ll.simulate(
        tmp_path_factory.mktemp("scvi") / "cells.zarr", 1200, 150, n_types=4, n_batches=3, unlabelled=0.33, seed=4
    )


def quiet(epochs):
    return {"max_epochs": epochs, "accelerator": "cpu", "enable_progress_bar": False, "check_val_every_n_epoch": 1}


def with_unknown(atlas):
    """The atlas as scvi-tools users have it: an AnnData whose cells without a label are "Unknown"."""
    adata = atlas.to_anndata()
    names = np.array([*atlas.label_names, "Unknown"], dtype=object)
    adata.obs["cell_type"] = names[atlas.label]
    return adata


@pytest.fixture(scope="module")
def trained(atlas):
    """A data module, and an SCVI that it has trained for two epochs."""
    scvi.settings.seed = 0
    data = ll.StreamDataModule(atlas, SMALL, form="scvi")
    model = scvi.model.SCVI(registry=data.registry, n_latent=5)
    model.train(datamodule=data, **quiet(2))
    return data, model


def test_scvi_learns_from_the_stream_and_gives_the_latents_that_it_gives_for_an_anndata(atlas, trained):
    data, model = trained
    history = model.history["elbo_validation"].iloc[:, 0].tolist()
    assert len(history) == 2
    assert history[1] < history[0]
    latent = model.get_latent_representation(dataloader=data.inference_dataloader())
    adata = with_unknown(atlas)
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch", labels_key="cell_type")
    same = scvi.model.SCVI(adata, n_latent=5)
    same.module.load_state_dict(model.module.state_dict())
    same.module.eval()
    same.is_trained_ = True
    np.testing.assert_allclose(latent, same.get_latent_representation(), rtol=1e-5, atol=1e-6)
    assert latent.std() > 0.1


def test_the_registry_is_the_one_that_scvi_tools_writes_for_an_anndata(atlas, trained):
    data, _ = trained
    adata = with_unknown(atlas)
    scvi.model.SCANVI.setup_anndata(adata, labels_key="cell_type", unlabeled_category="Unknown", batch_key="batch")
    wanted = scvi.model.SCANVI(adata).registry
    for field, fact in [("X", "column_names"), ("batch", "categorical_mapping"), ("labels", "categorical_mapping")]:
        got, known = (registry["field_registries"][field] for registry in (data.registry, wanted))
        # The label that means none is last; scvi-tools swaps it there, so that its others are in no order.
        assert sorted(got["state_registry"][fact]) == sorted(known["state_registry"][fact])
        assert got["state_registry"][fact][-1] == known["state_registry"][fact][-1]
        assert got["summary_stats"] == dict(known["summary_stats"])
    assert (data.n_vars, data.n_batch, data.n_labels, data.n_obs) == (150, 3, 5, 1200)
    assert data.n_train == 960


def test_a_saved_model_gives_the_same_latents_when_it_is_loaded(trained, tmp_path):
    data, model = trained
    model.save(tmp_path / "model", datamodule=data)
    loaded = scvi.model.SCVI.load(tmp_path / "model", adata=False, accelerator="cpu")
    one, other = (m.get_latent_representation(dataloader=data.inference_dataloader()) for m in (model, loaded))
    np.testing.assert_array_equal(one, other)


def test_covariates_come_along_as_obs(atlas):
    data = ll.StreamDataModule(atlas, SMALL, form="scvi", obs=["true_label", "true_depth"])
    model = scvi.model.SCVI(registry=data.registry, encode_covariates=True)
    model.train(datamodule=data, **quiet(1))
    latent = model.get_latent_representation(dataloader=data.inference_dataloader())
    assert np.isfinite(latent).all()
    # Without them the encoder would want fewer inputs: genes, batches, four types and one for missing, the depth.
    assert model.module.z_encoder.encoder.fc_layers[0][0].in_features == 150 + 3 + 5 + 1


def test_scanvi_names_the_cells_that_have_no_label_loaded_too(atlas, tmp_path):
    scvi.settings.seed = 0
    data = ll.StreamDataModule(atlas, SMALL, form="scanvi")
    model = scvi.model.SCANVI(registry=data.registry, datamodule=data)
    assert model.n_labels == 4
    model.train(datamodule=data, **quiet(15))
    named = model.predict(dataloader=data.inference_dataloader())
    unlabelled = atlas.label < 0
    assert unlabelled.mean() > 0.2
    assert (named == atlas.obs["true_label"].to_numpy())[unlabelled].mean() > 0.9
    model.save(tmp_path / "model", datamodule=data)
    loaded = scvi.model.SCANVI.load(tmp_path / "model", adata=False, accelerator="cpu", datamodule=data)
    np.testing.assert_array_equal(loaded.predict(dataloader=data.inference_dataloader()), named)


def test_scanvi_goes_on_from_an_scvi(atlas, trained):
    data = ll.StreamDataModule(atlas, SMALL, form="scanvi")
    model = scvi.model.SCANVI.from_scvi_model(
        trained[1], "Unknown", labels_key="cell_type", registry=data.registry, datamodule=data
    )
    model.train(datamodule=data, **quiet(1))
    assert set(model.predict(dataloader=data.inference_dataloader())) <= set(atlas.label_names)
