import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import livelatent as ll
from livelatent.errors import MemoryLimitError
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream

pytest.importorskip("lightning")
import lightning.pytorch as pl

from livelatent.stream.lightning_data import StreamDataModule
from streamed import stream_threads

SMALL = StreamConfig(minibatch_cells=50, block_cells=16, buffer_cells=120, seed=3)
N_STEPS = 10
# Lightning's, of a name in torch that has a successor.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated")


class Linear(pl.LightningModule):
    """Says which cells came when, and learns from them, so that their order shows in the weights."""

    def __init__(self, n_genes=300):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(n_genes, 4)
        self.trained, self.validated = {}, []

    def training_step(self, batch, number):
        self.trained[self.current_epoch, number] = batch["cell"].tolist()
        known = batch["label"] >= 0
        return torch.nn.functional.cross_entropy(self.layer(batch["x"][known]), batch["label"][known])

    def validation_step(self, batch, number):
        self.validated += batch["cell"].tolist()

    def predict_step(self, batch, number):
        return batch["cell"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(epochs, **more):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(max_epochs=epochs, accelerator="cpu", **{"enable_checkpointing": False, **quiet, **more})


def planned(atlas, epochs, config=SMALL):
    """Cells per (epoch, step), straight from a stream."""
    with Stream(atlas, atlas.rows("train"), config) as stream:
        return {
            (epoch, step): minibatch.cell.tolist()
            for epoch in range(epochs)
            for step, minibatch in enumerate(stream.minibatches(epoch))
        }


@pytest.mark.parametrize("reload", [0, 1])
def test_a_trainer_gets_each_epoch_of_the_stream_and_validates_on_the_validation_split(tiny_atlas, reload):
    model = Linear()
    trainer(3, reload_dataloaders_every_n_epochs=reload, num_sanity_val_steps=0).fit(
        model, datamodule=ll.StreamDataModule(tiny_atlas, SMALL)
    )
    assert model.trained == planned(tiny_atlas, 3)
    assert model.validated == 3 * tiny_atlas.rows("validation").tolist()
    assert stream_threads() == []


# Lightning's, which it says of every loader that does not name a SequentialSampler.
@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfitting_sees_the_same_minibatches_in_every_epoch(tiny_atlas):
    model = Linear()
    trainer(3, overfit_batches=2, num_sanity_val_steps=0).fit(model, datamodule=StreamDataModule(tiny_atlas, SMALL))
    assert model.trained == {
        (epoch, step): tiny_atlas.rows("train")[50 * step : 50 * step + 50].tolist()
        for epoch in range(3)
        for step in range(2)
    }


def test_prediction_goes_through_every_cell_in_the_stores_order(tiny_atlas):
    got = trainer(1).predict(Linear(), datamodule=StreamDataModule(tiny_atlas, SMALL))
    assert torch.cat(got).tolist() == list(range(tiny_atlas.n_cells))


class Keep(pl.Callback):
    """Writes a checkpoint wherever Lightning's own does, if asked."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, *_):
        trainer.save_checkpoint(self.folder / f"step {trainer.global_step}.ckpt")

    def on_validation_end(self, trainer, _):
        trainer.save_checkpoint(self.folder / f"validation {trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer, _):
        trainer.save_checkpoint(self.folder / f"epoch {trainer.global_step}.ckpt")


@pytest.fixture(scope="module")
def straight_on(tiny_atlas, tmp_path_factory):
    """A run of two epochs with checkpoints everywhere: their folder, the cells and the weights."""
    folder, model = tmp_path_factory.mktemp("checkpoints"), Linear()
    trainer(2, callbacks=[Keep(folder)], num_sanity_val_steps=0, val_check_interval=0.5).fit(
        model, datamodule=StreamDataModule(tiny_atlas, SMALL)
    )
    return folder, model.trained, model.layer.weight.detach().clone()


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(
    ("place", "done"),
    [
        *[("step", done) for done in (1, 4, 9, 10, 11, 19)],
        *[("validation", done) for done in (5, 10, 15)],
        ("epoch", 10),
    ],
)
def test_a_run_taken_up_from_a_checkpoint_goes_on_the_same(tiny_atlas, straight_on, place, done, direct):
    folder, cells, weights = straight_on
    model = Linear()
    data = StreamDataModule(tiny_atlas, SMALL)
    again = trainer(2, num_sanity_val_steps=0, val_check_interval=0.5)
    checkpoint = folder / f"{place} {done}.ckpt"
    if direct:
        # As a dataloader of its own, without the module.
        again.fit(model, data.train_dataloader(), data.val_dataloader(), ckpt_path=checkpoint)
    else:
        again.fit(model, datamodule=data, ckpt_path=checkpoint)
    assert model.trained == {(epoch, step): c for (epoch, step), c in cells.items() if epoch * N_STEPS + step >= done}
    torch.testing.assert_close(model.layer.weight.detach(), weights)


def test_a_memory_limit_is_shared_by_training_and_validation(tiny_atlas):
    with (
        StreamDataModule(tiny_atlas, SMALL, memory="200MB") as data,
        Stream(tiny_atlas, tiny_atlas.rows("train"), SMALL, memory="100MB") as half,
    ):
        assert data.train_dataloader().stream.config == half.config
    with pytest.raises(MemoryLimitError, match="takes at least"):
        StreamDataModule(tiny_atlas, SMALL, memory="60MB").train_dataloader()


# torch's own word on it, which it gives once.
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_what_travels_sparse_is_dense_for_scvi_tools_and_stays_sparse_for_others(tiny_atlas):
    with (
        StreamDataModule(tiny_atlas, SMALL, form="scvi", sparse=True) as sparse,
        StreamDataModule(tiny_atlas, SMALL, form="scvi") as dense,
        StreamDataModule(tiny_atlas, SMALL, sparse=True) as others,
    ):
        for given, wanted in zip(sparse.train_dataloader(), dense.train_dataloader(), strict=True):
            assert given["X"].layout == torch.sparse_csr
            assert torch.equal(sparse.on_after_batch_transfer(given, 0)["X"], wanted["X"])
        given = next(iter(others.val_dataloader()))
        assert others.on_after_batch_transfer(given, 0)["x"].layout == torch.sparse_csr


def test_scanvi_gets_the_cells_with_a_label_apart(tiny_atlas):
    with StreamDataModule(tiny_atlas, SMALL, form="scanvi") as data:
        for given in data.train_dataloader():
            whole, labelled = data.on_after_batch_transfer(given, 0)
            cell = whole["ind_x"][:, 0].numpy()
            has_label = tiny_atlas.label[cell] >= 0
            assert 0 < has_label.sum() < len(cell)
            np.testing.assert_array_equal(labelled["ind_x"][:, 0], cell[has_label])
            np.testing.assert_array_equal(labelled["labels"][:, 0], tiny_atlas.label[cell[has_label]])
            assert torch.equal(labelled["X"], whole["X"][torch.from_numpy(has_label)])
        none = {"X": given["X"], "labels": torch.full((len(given["X"]), 1), len(tiny_atlas.label_names))}
        assert data.on_after_batch_transfer(none, 0) == (none, None)


def test_a_batch_size_named_to_scvi_tools_is_the_minibatch(tiny_atlas):
    with StreamDataModule(tiny_atlas, SMALL, form="scvi") as data:
        data.set_batch_size(None)
        assert len(data.train_dataloader()) == N_STEPS
        data.set_batch_size(97)
        assert len(next(iter(data.train_dataloader()))["X"]) == 97


def test_a_form_that_is_none_is_refused(tiny_atlas):
    with pytest.raises(ValueError, match='"livelatent", "scvi" or "scanvi"'):
        StreamDataModule(tiny_atlas, form="totalvi")


def run(code, *args):
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)


def test_without_lightning_the_error_names_the_extra(monkeypatch):
    loaded = [name for name in sys.modules if name.startswith(("lightning.", "pytorch_lightning."))]
    for name in ("lightning", "pytorch_lightning", *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "livelatent.stream.lightning_data")
    monkeypatch.delitem(vars(ll), "StreamDataModule", raising=False)
    with pytest.raises(ImportError, match=r"StreamDataModule needs Lightning, .* pip install .*\[lightning\]"):
        _ = ll.StreamDataModule


@pytest.mark.slow
def test_without_lightning_all_else_is_imported_and_the_error_names_the_extra():
    # A star import asks for every name in __all__, and must not need it.
    code = (
        "sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None; from livelatent import *; ll = livelatent"
    )
    done = run(f"import sys, livelatent; {code}; print('so far'); ll.StreamDataModule")
    assert done.stdout == "so far\n"
    assert done.stderr.splitlines()[-1] == (
        "ImportError: livelatent.StreamDataModule needs Lightning, which is not installed: "
        f'pip install "{Path(__file__).parents[2]}[lightning]"'
    )


@pytest.mark.slow
def test_pytorch_lightning_alone_will_do(tiny_atlas):
    code = """
import sys; sys.modules["lightning"] = None
import torch, pytorch_lightning as pl, livelatent as ll
class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(300, 1)
    def training_step(self, batch, number):
        return self.layer(batch["x"]).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False)
trainer.fit(Model(), datamodule=ll.StreamDataModule(ll.Atlas.open(sys.argv[1]), ll.StreamConfig(minibatch_cells=100)))
print("steps", trainer.global_step)
"""
    done = run(code, str(tiny_atlas.path))
    assert done.stdout.splitlines()[-1:] == [f"steps {2 * -(-len(tiny_atlas.rows('train')) // 100)}"], done.stderr


class Ranked(Linear):
    """Writes the cells that its rank has seen."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_fit_end(self):
        places = {f"{epoch} {step}": cells for (epoch, step), cells in self.trained.items()}
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(places))


@pytest.mark.slow
def test_two_processes_of_a_trainer_share_each_epoch(tiny_atlas, tmp_path):
    trainer(2, devices=2, strategy="ddp_spawn", num_sanity_val_steps=0).fit(
        Ranked(tmp_path), datamodule=StreamDataModule(tiny_atlas, SMALL)
    )
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert list(ranks[0]) == list(ranks[1])
    for epoch in "01":
        seen = [cell for rank in ranks for place, cells in rank.items() if place.startswith(epoch) for cell in cells]
        assert sorted(seen) == tiny_atlas.rows("train").tolist()
