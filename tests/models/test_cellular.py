import dataclasses

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from livelatent.atlas import ingest
from livelatent.errors import CountsError, LabelError
from livelatent.models.cellular import Cellular
from livelatent.stream.minibatch import Minibatch

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tiny_atlas):
    return Cellular(tiny_atlas, n_genes=60, n_latent=12, seed=4)


def cells(model, n, label=None, batch=None):
    generator = torch.Generator().manual_seed(0)
    return Minibatch(
        x=torch.rand(n, len(model.genes), generator=generator),
        label=torch.arange(n) % 4 if label is None else label,
        batch=torch.arange(n) // 4 % 3 if batch is None else batch,
        cell=torch.arange(n),
        total=torch.ones(n),
    )


def test_layers_are_those_of_the_authors_code(tiny_atlas):
    layers = [str(layer) for layer in Cellular(tiny_atlas, n_genes=60, n_latent=100).encoder]
    assert [layer.split("(")[0] for layer in layers] == [
        "LayerNorm", "Linear", "LayerNorm", "ReLU", "Dropout", "Linear", "LayerNorm", "ReLU", "Linear",
    ]  # fmt: skip
    assert "out_features=30" in layers[1]
    assert "out_features=15" in layers[5]
    assert "out_features=100" in layers[8]
    assert "p=0.2" in layers[4]


def test_a_model_built_from_its_config_needs_no_atlas(model):
    twin = Cellular(model.config)
    twin.load_state_dict(model.state_dict())
    minibatch = cells(model, 9)
    assert torch.equal(twin.eval().embed(minibatch), model.eval().embed(minibatch))
    assert dataclasses.is_dataclass(model.config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.config.seed = 1


def test_counts_and_reference_come_from_labelled_training_cells(model, tiny_atlas):
    rows = tiny_atlas.rows("train", labelled=True)
    assert model.type_count.tolist() == np.bincount(tiny_atlas.label[rows], minlength=4).tolist()
    assert model.batch_count.tolist() == np.bincount(tiny_atlas.batch[rows], minlength=3).tolist()
    reference = model.reference.numpy()
    assert reference.max() == pytest.approx(1)
    assert (reference == reference.T).all()
    assert set(model.genes) <= set(tiny_atlas.genes)
    assert len(model.genes) == 60


def test_the_same_seed_gives_the_same_weights_and_spares_the_callers_random_state(tiny_atlas):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    hashes = [Cellular(tiny_atlas, n_genes=40, seed=seed).sha256() for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(3), wanted)
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_total_is_the_weighted_sum_of_the_terms(model):
    stage = model.stages[0]
    losses = model.losses(cells(model, 40), stage)
    assert set(losses.terms) == {"type", "batch", "centroid"}
    wanted = sum(stage.weights[name] * term.item() for name, term in losses.terms.items())
    assert losses.total.item() == pytest.approx(wanted, rel=1e-6)


def test_unlabelled_cells_enter_no_term(model):
    model.eval()
    whole = cells(model, 40, label=torch.where(torch.arange(40) % 5 == 0, -1, torch.arange(40) % 4))
    known = whole.label >= 0
    part = Minibatch(*(getattr(whole, name)[known] for name in ("x", "label", "batch", "cell", "total")))
    for stage in model.stages:
        a, b = model.losses(whole, stage), model.losses(part, stage)
        assert {name: term.item() for name, term in a.terms.items()} == pytest.approx(
            {name: term.item() for name, term in b.terms.items()}, rel=1e-5
        )


def test_a_batch_unknown_to_the_model_stays_out_of_the_batch_term(model):
    model.eval()
    stage = model.stages[0]
    strange = cells(model, 40, batch=torch.full((40,), -1))
    assert model.losses(strange, stage).terms["batch"].item() == 0
    assert model.losses(strange, stage).terms["type"].item() > 0


@pytest.mark.parametrize("label", [[], [-1, -1], [2], [1, 1, 1], [0, 1, 2, 3]])
def test_poor_minibatches_give_finite_losses_and_gradients(model, label):
    label = torch.tensor(label, dtype=torch.int64)
    for stage in model.stages:
        model.zero_grad()
        losses = model.losses(cells(model, len(label), label=label), stage)
        losses.total.backward()
        assert torch.isfinite(losses.total)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_stages_train_what_they_name(model):
    representation, classifier = model.stages
    assert {name.split(".")[0] for name in representation.parameters(model)} == {"encoder", "temperature"}
    assert {name.split(".")[0] for name in classifier.parameters(model)} == {"classifier"}
    groups = representation.optimizer(model).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay[id(model.temperature)] == 0
    assert decay[id(model.encoder[1].weight)] == 5e-5


def test_the_classifier_stage_leaves_the_encoder_without_gradient(model):
    model.zero_grad()
    model.losses(cells(model, 40), model.stages[1]).total.backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_logits_are_no_softmax(model):
    model.eval()
    logits = model.logits(model.embed(cells(model, 8)))
    assert logits.shape == (8, 4)
    assert (logits < 0).any()


def test_without_a_batch_column_the_term_is_off_and_says_so(tiny_h5ad, tmp_path):
    atlas = ingest(tiny_h5ad, tmp_path / "a.zarr", label="cell_type", unlabelled=["unassigned"])
    model = Cellular(atlas, n_genes=40)
    assert "batch" not in model.stages[0].weights
    assert model.notes == ("No batch column: the batch term is off.",)
    assert (
        "batch" not in model.losses(cells(model, 20, batch=torch.zeros(20, dtype=torch.int64)), model.stages[0]).terms
    )


def test_one_batch_among_the_cells_used_turns_the_term_off(tiny_atlas):
    model = Cellular(tiny_atlas, n_genes=40, rows=np.flatnonzero(tiny_atlas.batch == 1))
    assert "batch" not in model.stages[0].weights
    assert "One batch" in model.notes[0]


def test_a_type_absent_from_training_is_named_and_harmless(tiny_atlas):
    rare = tiny_atlas.label_names[2]
    model = Cellular(tiny_atlas, n_genes=40, weights="thesis", rows=np.flatnonzero(tiny_atlas.label != 2))
    assert any(rare in note for note in model.notes)
    losses = model.losses(cells(model, 40), model.stages[0])
    assert torch.isfinite(losses.total)


def test_an_atlas_without_labels_says_what_to_do(tiny_h5ad, tmp_path):
    atlas = ingest(tiny_h5ad, tmp_path / "a.zarr")
    with pytest.raises(LabelError, match=r'ingest\(\.\.\., label="cell_type"\)'):
        Cellular(atlas)


def test_more_genes_asked_for_than_there_are_means_all(tiny_atlas):
    assert Cellular(tiny_atlas, n_genes=5000).genes.tolist() == tiny_atlas.genes.tolist()


def test_genes_that_do_not_differ_say_that_there_is_nothing_to_learn(tmp_path):
    table = pd.DataFrame({"kind": ["T", "B"] * 20}, index=pd.Index([f"c{i}" for i in range(40)], dtype=object))
    genes = pd.DataFrame(index=pd.Index([f"G{i}" for i in range(20)], dtype=object))
    anndata.AnnData(np.ones((40, 20), np.float32), obs=table, var=genes).write_h5ad(tmp_path / "a.h5ad")
    atlas = ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr", label="kind")
    with pytest.raises(CountsError, match="no gene differs"):
        Cellular(atlas, n_genes=10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_genes": 0}, "n_genes, the number of genes to read, is a whole number of at least 1; got 0"),
        ({"n_latent": 0}, "Cellular: n_latent is a whole number of at least 1; got 0"),
        ({"dropout": 1.5}, "dropout is a share, from 0 up to less than 1; got 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate is a finite number, more than 0; got nan"),
        ({"type_weight": -0.5}, "type_weight is a finite number, 0 or more; got -0.5"),
        ({"type_weight": 0.0, "batch_weight": 0.0, "centroid_weight": 0.0}, "all 0: nothing is learned"),
        ({"depth": 2_000}, "depth is a whole number of at least 1 and at most 1,000; got 2000"),
        ({"epochs": 0}, "epochs is a whole number"),
        ({"seed": -1}, "seed is a whole number"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(tiny_atlas, wrong, message):
    with pytest.raises(ValueError, match=message):
        Cellular(tiny_atlas, **{"n_genes": 20, "n_latent": 4} | wrong)


def test_numbers_of_numpy_are_as_good_as_plain_ones(tiny_atlas, tmp_path):
    config = Cellular(tiny_atlas, n_genes=20, n_latent=4).config
    same = type(config)(**{**config.__dict__, "mean_total": np.float64(config.mean_total)})
    assert type(same.mean_total) is float
    assert Cellular(same).save(tmp_path / "m").is_dir()  # JSON takes it


def test_one_type_only_is_said(own_atlas):
    rows = np.flatnonzero(own_atlas.label == own_atlas.label_names.index("T cell"))
    notes = Cellular(own_atlas, n_genes=20, n_latent=4, rows=rows).notes
    assert any("of one type (T cell): there is nothing to tell it from" in note for note in notes)
