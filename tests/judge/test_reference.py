import json
import pickle
import shutil

import numpy as np
import pytest

from livelatent.atlas import Atlas, ingest
from livelatent.errors import LabelError, ModelError
from livelatent.judge import keep
from livelatent.judge import reference as room
from livelatent.judge.expression_fit import batch_folds
from livelatent.judge.prototypes import fit_prototypes
from livelatent.judge.reference import Reference, fit_reference, load_reference
from livelatent.models.cellular import Cellular, CellularConfig
from livelatent.models.weights import load_model
from livelatent.train.embed import embed


@pytest.fixture
def saved(trained, tmp_path):
    """The folder of a copy that memory does not know."""
    return shutil.copytree(trained.folder, tmp_path / "m")


def same(one, other):
    """Equal dataclasses of arrays."""
    for name in type(one).__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if hasattr(a, "__dataclass_fields__"):
            same(a, b)
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, strict=True)
        else:
            assert a == b
            assert type(a) is type(b)


def test_what_is_read_back_is_what_was_fitted(trained, hidden_atlas, saved):
    fitted = fit_reference(trained, hidden_atlas)
    same(fitted, keep.read(saved / "judge", "reference", Reference))
    same(fitted, load_reference(load_model(saved)))


def test_only_labelled_training_cells_are_the_reference_and_only_calibration_cells_calibrate(trained, hidden_atlas):
    fitted = fit_reference(trained, hidden_atlas)
    np.testing.assert_array_equal(fitted.expression.reference, hidden_atlas.rows("train", labelled=True))
    np.testing.assert_array_equal(fitted.expression.calibration, hidden_atlas.rows("calibration", labelled=True))
    rows = hidden_atlas.rows("train", labelled=True)
    latent = embed(trained, hidden_atlas, rows)
    wanted = fit_prototypes(latent, hidden_atlas.label[rows], hidden_atlas.label_names, rows)
    np.testing.assert_allclose(fitted.prototypes.centroid, wanted.centroid, atol=1e-6)
    assert "B cell" not in fitted.prototypes.names


def test_a_second_call_fits_nothing_and_other_weights_refit_the_latent_part_only(tiny_h5ad, tmp_path):
    # No batch, so that none is held back: that would be most of the fitting.
    hidden_atlas = ingest(tiny_h5ad, tmp_path / "hidden.zarr", label="cell_type", unlabelled=["unassigned", "B cell"])
    model = Cellular(hidden_atlas, n_genes=40, n_latent=4)
    first = fit_reference(model, hidden_atlas)
    assert fit_reference(model, hidden_atlas) is first
    model.encoder[1].weight.data += 0.1
    second = fit_reference(model, hidden_atlas)
    assert second.expression is first.expression
    assert second.latent.model_sha256 == model.sha256() != first.latent.model_sha256
    assert fit_reference(model, hidden_atlas, force=True).expression is not first.expression


@pytest.mark.parametrize(
    "harm", ["flip a byte", "cut", "pickled", "other format", "other names", "no json", "not json"]
)
def test_a_damaged_file_is_fitted_again_where_the_atlas_is_and_a_clear_error_where_it_is_not(saved, monkeypatch, harm):
    arrays, head = saved / "judge" / "reference.safetensors", saved / "judge" / "reference.json"
    if harm == "flip a byte":
        data = bytearray(arrays.read_bytes())
        data[len(data) // 2] ^= 1
        arrays.write_bytes(bytes(data))
    elif harm == "cut":
        arrays.write_bytes(arrays.read_bytes()[:100])
    elif harm == "pickled":
        arrays.write_bytes(pickle.dumps({"mean": np.zeros(3)}))
    elif harm == "other names":
        facts = json.loads(head.read_text())
        facts["facts"]["label_names"] = facts["facts"]["label_names"][::-1]
        head.write_text(json.dumps(facts))
    elif harm == "other format":
        head.write_text(json.dumps({**json.loads(head.read_text()), "format": 99}))
    elif harm == "no json":
        head.unlink()
    else:
        head.write_text("[")
    model = load_model(saved)

    def gone(path):
        raise FileNotFoundError(f"{path} is gone")

    with monkeypatch.context() as patch:
        patch.setattr(room.Atlas, "open", gone)
        with pytest.raises(ModelError, match=r"(?s)reference.*gone.*fit_reference\(model, atlas\)"):
            load_reference(model)
    if harm == "cut":
        mended = load_reference(model)
        assert mended.latent.model_sha256 == model.sha256()
        same(mended, load_reference(load_model(saved)))


def test_an_unsaved_model_whose_atlas_is_gone_says_what_to_do(tmp_path, trained):
    model = Cellular(CellularConfig(**{**trained.config.__dict__, "atlas_path": str(tmp_path / "gone.zarr")}))
    with pytest.raises(ModelError, match=r"never saved.*Call `fit_reference"):
        load_reference(model)


def test_no_labelled_calibration_cell_is_an_error(own_atlas):
    model = Cellular(own_atlas, n_genes=30, n_latent=4)
    atlas = Atlas.open(own_atlas.path)
    atlas.obs["livelatent_split"] = "train"
    with pytest.raises(LabelError, match="labelled calibration cells, and there are none"):
        fit_reference(model, atlas)


def test_batch_folds_hold_whole_batches_of_like_size_and_need_three():
    assert batch_folds(np.repeat([0, 1], [5, 9]), 2).tolist() == [-1, -1, -1]
    assert sorted(batch_folds(np.repeat([0, 1, 3], [5, 9, 2]), 4)[[0, 1, 3]].tolist()) == [0, 1, 2]
    count = np.array([100, 10, 50, 50, 90, 40, 60])
    fold = batch_folds(np.repeat(np.arange(7), count), 7)
    assert fold[-1] == -1
    sizes = np.bincount(fold[:7], weights=count)
    assert len(sizes) == 5
    assert sizes.max() <= 100


def test_calibration_follows_the_querys_batches(trained, hidden_atlas):
    fitted = fit_reference(trained, hidden_atlas)
    n = len(fitted.expression.calibration)
    random, cells, text = fitted.calibration_for(("d1", "d3"), is_own=True)
    assert (random.n_cells, len(cells)) == (n, n)
    assert "drawn at random, of the batches that the model was trained on" in text
    held_out, cells, text = fitted.calibration_for(("d1", "patient"), is_own=False)
    assert "each scored without its own batch (3 groups of batches)" in text
    assert 0 < held_out.n_cells == len(cells) <= n
    # A type that only one donor has can't be scored without that donor.
    rows = fitted.expression.calibration
    only_d1 = hidden_atlas.true_labels[rows] == "NK cell"
    assert not np.isin(np.flatnonzero(only_d1), cells).any()
    # Without its own batch a cell looks stranger, on the whole.
    for score in range(3):
        assert np.median(held_out.scores[score]) > np.median(random.scores[score][cells])
    assert "name no batch" in fitted.calibration_for((), is_own=False)[2] or fitted.expression.fold.max() >= 0
