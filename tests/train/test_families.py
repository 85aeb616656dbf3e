"""The rooms hold more families than one: small models that ask of `train` what capVI, SAILER and token models will."""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from livelatent.errors import LabelError
from livelatent.models.model import Losses, Model, Reads, Verdict
from livelatent.stream.plan import StreamConfig
from livelatent.train.embed import embed
from livelatent.train.loop import train
from livelatent.train.schedule import Schedule
from livelatent.train.stage import Stage
from livelatent.train.state import TrainState

torch.set_num_threads(1)
CONFIG = StreamConfig(minibatch_cells=100, block_cells=16, buffer_cells=200, seed=11)


@dataclass(frozen=True, kw_only=True)
class Config:
    genes: tuple[str, ...]
    label_names: tuple[str, ...]
    batch_names: tuple[str, ...]
    mean_total: float
    atlas_path: str = ""
    n_latent: int = 3


def config_of(atlas, n_genes=40):
    return Config(
        genes=tuple(map(str, atlas.genes[:n_genes])),
        label_names=tuple(atlas.label_names),
        batch_names=tuple(atlas.batch_names),
        mean_total=float(atlas.mean_total),
    )


class Family(Model):
    """Notes what it is given."""

    def __init__(self, config):
        super().__init__()
        self.config, self.seen = config, []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.build(len(config.genes))


class ThreeStages(Family):
    """As capVI: counts; a classifier on labels, the rest without, then all; it stops by its reconstruction."""

    reads = Reads(values="counts")

    def build(self, n_genes):
        # Codes of batches as input: an unseen one is an explicit choice, here that of none.
        self.classifier = nn.Linear(n_genes, len(self.config.label_names))
        self.encoder = nn.Linear(n_genes + len(self.config.batch_names), self.config.n_latent)
        self.decoder = nn.Linear(self.config.n_latent, n_genes)

    @property
    def stages(self):
        rest = {"reconstruction": 1.0, "label_free": 0.1}
        common = {"eps": 0.01, "decay": "none", "epochs": 2}
        return (
            Stage(name="classifier", trains=("classifier.",), weights={"cross_entropy": 1.0}, **common),
            Stage(
                name="rest",
                trains=("encoder.", "decoder."),
                weights=rest,
                rows="all",
                watches="reconstruction",
                patience=1,
                **common,
            ),
            Stage(name="all", trains=("",), weights=rest, rows="all", **common),
        )

    def embed(self, minibatch):
        batch = nn.functional.one_hot(minibatch.batch + 1, len(self.config.batch_names) + 1)[:, 1:]
        return self.encoder(torch.cat([minibatch.x.log1p(), batch.float()], 1))

    def losses(self, minibatch, stage):
        self.seen.append((stage.name, minibatch))
        if stage.name == "classifier":
            loss = nn.functional.cross_entropy(self.classifier(minibatch.x.log1p()), minibatch.label)
            return Losses({"cross_entropy": loss}, loss)
        reconstruction = (self.decoder(self.embed(minibatch)) - minibatch.x.log1p()).square().mean()
        label_free = self.classifier(minibatch.x.log1p()).square().mean()
        return Losses({"reconstruction": reconstruction, "label_free": label_free}, reconstruction + 0.1 * label_free)


class Cycles(Family):
    """As SAILER: a plain autoencoder first, then cycles; rows that lack one thing add nothing to one term."""

    reads = Reads(values="counts", obs=("age",))

    def build(self, n_genes):
        self.encoder = nn.Linear(n_genes, self.config.n_latent)

    @property
    def stages(self):
        weights = {"kl": 2.0, "aligned": 1.0}
        schedules = {"kl": Schedule(wait_epochs=1, rise_epochs=1, cycle_epochs=2)}
        return (Stage(name="s", trains=("encoder.",), weights=weights, schedules=schedules, rows="all", epochs=5),)

    def embed(self, minibatch):
        return self.encoder((minibatch.x > 0).float())

    def losses(self, minibatch, stage):
        self.seen.append((dict(stage.weights), self.training or self.encoder.training))
        latent = self.embed(minibatch)
        paired = (minibatch.obs["age"] > 50).float()
        aligned = (latent.square().sum(1) * paired).sum() / paired.sum().clamp(min=1)
        kl = latent.square().mean()
        total = stage.weights["kl"] * kl + stage.weights["aligned"] * aligned
        return Losses({"kl": kl, "aligned": aligned}, total, cells={"latent": latent.detach()})

    def verdict(self, cells):
        n_cells = len(cells["latent"])
        return Verdict({"n_cells": float(n_cells)}, (f"{n_cells} cells were looked at.",))


class Tokens(Family):
    """As the Expression Transformer: one token for each non-zero gene of a cell."""

    reads = Reads(values="counts", is_sparse=True)

    def build(self, n_genes):
        self.token = nn.EmbeddingBag(n_genes, self.config.n_latent, mode="mean", include_last_offset=True)

    @property
    def stages(self):
        return (Stage(name="s", trains=("token.",), weights={"length": 1.0}, rows="all", epochs=1),)

    def embed(self, minibatch):
        return self.token(minibatch.x.col_indices(), minibatch.x.crow_indices())

    def losses(self, minibatch, stage):
        length = self.embed(minibatch).square().sum(1).mean()
        return Losses({"length": length}, length)


def steps_of(model, atlas, **settings):
    return list(train(model, atlas, CONFIG, device="cpu", **settings))


def test_three_stages_on_counts_each_with_its_rows_and_its_own_parameters(tiny_atlas):
    model = ThreeStages(config_of(tiny_atlas))
    steps = steps_of(model, tiny_atlas)
    assert list(dict.fromkeys(step.stage for step in steps)) == ["classifier", "rest", "all"]
    by_stage = {name: [m for stage, m in model.seen if stage == name] for name in ("classifier", "rest", "all")}
    assert all((m.label >= 0).all() for m in by_stage["classifier"])
    assert any((m.label < 0).any() for m in by_stage["rest"])
    assert all(torch.equal(m.x, m.x.round()) and m.x.max() > 3 for _, m in model.seen)
    wanted = len(tiny_atlas.rows("train"))
    assert sum(m.n_cells for m in by_stage["rest"][: -(-wanted // 100)]) == wanted


def test_patience_follows_the_term_that_the_stage_watches(tiny_atlas):
    model = ThreeStages(config_of(tiny_atlas))
    state = TrainState.start(model)
    for step in train(model, tiny_atlas, CONFIG, device="cpu", state=state):
        if step.stage == "rest" and step.ends_epoch and state.stage is not None and state.stage.name == "rest":
            assert state.best_loss == step.validation["reconstruction"] < step.validation["loss"]
            break
    else:
        raise AssertionError("the stage had no epoch")


def test_a_stage_that_watches_nothing_there_is_says_what_there_is(tiny_atlas):
    model = Tokens(config_of(tiny_atlas))
    state = TrainState.start(model)
    state.stages = (dataclasses.replace(state.stages[0], watches="elbo", patience=1),)
    with pytest.raises(ValueError, match="watches 'elbo', and its validation has length, loss"):
        list(train(model, tiny_atlas, CONFIG, device="cpu", state=state))


def test_embedding_speaks_the_models_codes_and_an_unknown_batch_is_none(tiny_atlas, tiny_h5ad, tmp_path):
    from livelatent.atlas import ingest

    full = config_of(tiny_atlas)
    model = ThreeStages(full).eval()
    reordered = ThreeStages(dataclasses.replace(full, batch_names=(full.batch_names[2], *full.batch_names[:2]))).eval()
    with torch.no_grad():
        n_genes = len(full.genes)
        reordered.encoder.weight[:, n_genes:] = model.encoder.weight[:, [n_genes + 2, n_genes, n_genes + 1]]
    first, second = (embed(one, tiny_atlas, device="cpu") for one in (model, reordered))
    assert abs(first - second).max() < 1e-6
    nameless = ingest(tiny_h5ad, tmp_path / "nameless.zarr")
    with torch.no_grad():
        model.encoder.weight[:, n_genes:] = 1e6
    assert abs(embed(model, nameless, device="cpu")).max() < 1e3 < abs(embed(model, tiny_atlas, device="cpu")).min()


def test_weights_come_and_go_by_step_and_validation_counts_in_full(tiny_atlas):
    model = Cycles(config_of(tiny_atlas))
    steps = steps_of(model, tiny_atlas)
    per_epoch = len(steps) // 5
    got = [weights["kl"] for weights, trains in model.seen if trains]
    share = [step / per_epoch for step in range(per_epoch)]
    wanted = [0.0] * per_epoch + 2 * ([2 * part for part in share] + [2.0] * per_epoch)
    assert got == pytest.approx(wanted)
    assert {weights["kl"] for weights, trains in model.seen if not trains} == {2.0}
    for step in steps:
        if step.validation is not None:
            terms = step.validation
            assert terms["loss"] == pytest.approx(2 * terms["kl"] + terms["aligned"], rel=1e-5)


def test_a_verdict_is_of_all_validation_cells_together_and_reaches_run_and_state(tiny_atlas, tmp_path):
    model = Cycles(config_of(tiny_atlas))
    n_cells = len(tiny_atlas.rows("validation"))
    alarm = f"{n_cells} cells were looked at."
    state = TrainState.start(model, epochs=2)
    seen = [(step.ends_epoch, step.alarms) for step in train(model, tiny_atlas, CONFIG, device="cpu", state=state)]
    first = [ends for ends, _ in seen].index(True)
    assert all(alarms == () for _, alarms in seen[:first])
    assert all(alarms == (alarm,) for _, alarms in seen[first:])
    state.save(tmp_path)
    again = TrainState.start(Cycles(config_of(tiny_atlas)), epochs=2)
    again.restore(tmp_path)
    assert again.alarms == (alarm,)


def test_tokens_are_the_genes_that_a_cell_has(tiny_atlas):
    model = Tokens(config_of(tiny_atlas)).eval()
    rows = np.array([2, 4, 6])
    latent = embed(model, tiny_atlas, rows, device="cpu")
    weight = model.token.weight.detach().numpy()
    has = tiny_atlas.read_cells(rows).toarray()[:, : len(weight)] > 0
    assert abs(latent - has @ weight / has.sum(1, keepdims=True)).max() < 1e-6
    before = float(model.token.weight.detach().square().sum())
    steps_of(model, tiny_atlas)
    assert float(model.token.weight.detach().square().sum()) < before


def test_a_model_that_needs_no_label_trains_without_and_one_that_does_says_so(tiny_atlas):
    rows = tiny_atlas.rows(labelled=False)
    assert steps_of(Tokens(config_of(tiny_atlas)), tiny_atlas, rows=rows)
    with pytest.raises(LabelError, match="no training cell has a label"):
        steps_of(ThreeStages(config_of(tiny_atlas)), tiny_atlas, rows=rows)
    with pytest.raises(LabelError, match="no training cell, by split, QC and `rows`, is left"):
        steps_of(Tokens(config_of(tiny_atlas)), tiny_atlas, rows=tiny_atlas.rows("validation"))


def test_a_state_written_before_there_were_alarms_is_read(tiny_atlas, tmp_path):
    state = TrainState.start(Cycles(config_of(tiny_atlas)), epochs=1)
    state.alarms = ("something",)
    state.save(tmp_path)
    path = tmp_path / "state.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    del facts["alarms"], facts["best_alarms"]
    safetensors.torch.save_file(tensors, path, metadata={"state": json.dumps(facts)})
    state.restore(tmp_path)
    assert state.alarms == state.best_alarms == ()


def test_the_alarms_of_the_best_epoch_come_back_with_its_weights(tiny_atlas):
    model = Tokens(config_of(tiny_atlas))
    state = TrainState.start(model, epochs=3)
    state.stages = (dataclasses.replace(state.stages[0], epochs=3, patience=5),)
    for loss, alarms in ((2.0, ()), (1.0, ("best",)), (3.0, ("worst",))):
        state.alarms = alarms
        state.end_epoch(loss)
    assert state.stage is None
    assert state.alarms == ("best",)
