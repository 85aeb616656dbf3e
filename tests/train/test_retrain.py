import shutil

import numpy as np
import pytest

from livelatent.atlas import Atlas
from livelatent.errors import LabelError, ResumeError
from livelatent.models.beta_vae import BetaVAE
from livelatent.models.cellular import Cellular
from livelatent.train.embed import embed
from livelatent.train.retrain import learned, retrain
from livelatent.train.run import Run
from watched import CONFIG, HIDDEN, hidden_atlas, small_run


@pytest.fixture(scope="module")
def named(tiny_h5ad, tmp_path_factory):
    """A finished run whose hidden type was named by hand afterwards, and the run that goes on from it."""
    folder = tmp_path_factory.mktemp("retrain")
    atlas = hidden_atlas(tiny_h5ad, folder)
    before = small_run(atlas, folder / "run", epochs=6)
    before.start()
    before.wait()
    hidden = np.flatnonzero(atlas.true_labels == HIDDEN)
    atlas.labels.label(hidden, "NK, new")
    # A cell of a known type was wrong, and one label was taken back.
    wrong = np.flatnonzero((atlas.label == 0) & (atlas.split == "train"))[:1]
    atlas.labels.label(wrong, "monocyte")
    atlas.labels.label([0], "taken back")
    atlas.labels.undo()
    after = retrain(before, epochs=6, folder=folder / "again")
    yield before, after, hidden, wrong
    atlas.labels.close()


def test_a_retrained_run_begins_with_the_weights_that_were_reached(named):
    before, after, _, _ = named
    old, new = before.model.state_dict(), after.model.state_dict()
    encoder = [name for name in old if name.startswith("encoder.")]
    assert encoder and all((old[name] == new[name]).all() for name in encoder)
    last = "classifier.6.weight"
    for place, name in enumerate(before.model.label_names):
        assert (old[last][place] == new[last][after.model.label_names.index(name)]).all()
    assert after.model.label_names == ("B cell", "NK, new", "T cell", "monocyte")


def test_class_sizes_and_type_distances_are_those_of_the_new_labels(named):
    _, after, hidden, wrong = named
    atlas = after.atlas
    train = atlas.rows("train", labelled=True)
    want = [int((atlas.label[train] == code).sum()) for code in range(4)]
    assert after.model.type_count.tolist() == want
    assert atlas.label_names[atlas.label[wrong[0]]] == "monocyte"
    assert (atlas.label[hidden] == 1).all() and set(np.flatnonzero(atlas.label == 1)) == set(hidden)
    fresh = Cellular(atlas, n_genes=120, n_latent=8)
    if fresh.config.genes == after.model.config.genes:
        np.testing.assert_allclose(after.model.reference.numpy(), fresh.reference.numpy(), rtol=1e-4)
    assert (after.model.reference.numpy()[1, [0, 2, 3]] > 0).all()


def test_it_learns_the_new_type_and_leaves_the_earlier_run_as_it_was(named):
    before, after, hidden, _ = named
    kept = {path: path.read_bytes() for path in before.folder.rglob("*") if path.is_file()}
    steps, epochs = before.status.step, before.status.epoch
    after.start()
    after.wait()
    assert {path: path.read_bytes() for path in before.folder.rglob("*") if path.is_file()} == kept
    assert before.model.label_names == ("B cell", "T cell", "monocyte")
    assert after.status.state == "done" and after.status.step > steps and after.status.epoch > epochs
    # Curves go on where they stood, with a mark that says what is new.
    assert (steps, f"retrained with NK, new ({len(hidden)} cells)") in after.history.marks
    told, _ = after.history.series("loss", "train")
    assert told[0] == 1 and (np.diff(told.astype(int)) == 1).all() and told[-1] == after.status.step
    # The type is there to be predicted, on cells that no step has seen.
    unseen = hidden[after.atlas.split[hidden] != "train"]
    latent = embed(after.model, after.atlas, unseen, "cpu")
    import torch

    with torch.no_grad():
        guess = after.model.logits(torch.from_numpy(latent)).argmax(1).numpy()
    assert (guess == after.model.label_names.index("NK, new")).mean() > 0.5  # of all cells 0.08 are


def test_resumed_it_trains_on_the_labels_it_began_with(named):
    _, after, _, _ = named
    standing = learned(after.folder)
    assert len(standing) == 2
    after.atlas.labels.label([1], "later")
    again = Run.resume(after.folder)
    assert (again.atlas.label == after.atlas.label).all() and again.atlas.label_names == after.atlas.label_names
    assert again.status.step == after.status.step
    after.atlas.labels.undo()


def test_damaged_labels_of_a_run_are_named(named, tmp_path):
    _, after, _, _ = named
    folder = shutil.copytree(after.folder, tmp_path / "run")
    (folder / "labels.i32").write_bytes(b"1234")
    with pytest.raises(ResumeError, match="labels it trains with"):
        Run.resume(folder)


def test_a_new_type_without_a_training_cell_is_refused_and_no_folder_is_made(own_atlas, tmp_path):
    run = small_run(own_atlas, tmp_path / "run")
    own_atlas.labels.label(np.flatnonzero(own_atlas.split == "validation")[:3], "too few")
    with pytest.raises(LabelError, match="no training cell is named too few"):
        retrain(run, folder=tmp_path / "again")
    assert not (tmp_path / "again").exists()
    own_atlas.labels.close()


def test_a_model_without_a_classifier_goes_on_too(own_atlas, tmp_path):
    run = Run(BetaVAE(own_atlas, n_genes=60, n_latent=4, n_hidden=16), own_atlas, 1, tmp_path / "run", CONFIG, "cpu")
    own_atlas.labels.label(np.arange(40), "new")
    after = retrain(run, epochs=1, folder=tmp_path / "again")
    assert "new" in after.model.label_names
    assert all((value == after.model.state_dict()[name]).all() for name, value in run.model.state_dict().items())
    own_atlas.labels.close()


def test_labels_of_an_atlas_are_swapped_without_a_word_to_the_store(own_atlas):
    codes = np.where(own_atlas.label == 1, 0, -1)
    other = own_atlas.relabelled(codes, ["one"])
    assert other.label_names == ("one",) and (other.label == codes).all()
    assert own_atlas.label_names == Atlas.open(own_atlas.path).label_names
    assert other.labels is own_atlas.labels and (other.total == own_atlas.total).all()
    import pickle

    assert (pickle.loads(pickle.dumps(other)).label == codes).all()
    with pytest.raises(LabelError, match="one code in"):
        own_atlas.relabelled(codes[1:], ["one"])
