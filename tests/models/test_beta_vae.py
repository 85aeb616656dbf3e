import dataclasses

import anndata
import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from livelatent.atlas import ingest
from livelatent.errors import CountsError
from livelatent.models.active_units import active_units, collapse_alarm
from livelatent.models.beta_vae import BetaVAE
from livelatent.models.losses.gaussian_kl import gaussian_kl
from livelatent.models.model import codes_in
from livelatent.models.normalised import check_logs
from livelatent.models.weights import load_model
from livelatent.stream.minibatch import Minibatch
from livelatent.stream.plan import StreamConfig
from livelatent.train.loop import train
from livelatent.train.run import Run
from livelatent.train.state import TrainState

torch.set_num_threads(1)
CONFIG = StreamConfig(minibatch_cells=100, block_cells=16, buffer_cells=200, seed=11)


def make(atlas, **settings):
    return BetaVAE(atlas, **({"n_genes": 80, "n_latent": 6, "n_hidden": 32} | settings))


@pytest.fixture(scope="module")
def model(tiny_atlas):
    return make(tiny_atlas, beta=0.7, variance=0.2, dropout=0.3)


def cells(model, n):
    generator = torch.Generator().manual_seed(0)
    return Minibatch(
        x=torch.rand(n, len(model.genes), generator=generator),
        label=torch.full((n,), -1),
        batch=torch.zeros(n, dtype=torch.int64),
        cell=torch.arange(n),
        total=torch.ones(n),
    )


def test_kl_is_torchs_dimension_by_dimension():
    generator = torch.Generator().manual_seed(3)
    mean, log_variance = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    wanted = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(torch.tensor(0.0), torch.tensor(1.0)))
    torch.testing.assert_close(gaussian_kl(mean, log_variance), wanted)


def test_kl_keeps_its_digits_next_to_the_prior():
    # Half of h^2 / 2 for a log variance h near 0: in float32, exp(h) - 1 - h has none left at 1e-4.
    tiny = torch.tensor([[1e-3, -1e-3]])
    assert gaussian_kl(torch.zeros(1, 2), tiny).flatten().tolist() == pytest.approx([2.5e-7, 2.5e-7], rel=1e-3)


def test_the_loss_is_document_003s_cell_by_cell_and_gene_by_gene(model):
    minibatch = cells(model, 5)
    model.eval()
    stage = dataclasses.replace(model.stages[0].in_full())
    torch.manual_seed(8)
    losses = model.losses(minibatch, stage)
    torch.manual_seed(8)
    noise = torch.randn(5, 6)
    mean, log_variance = (part.detach() for part in model.encoder(minibatch.x))
    decoded = model.decoder(mean + noise * torch.exp(log_variance / 2)).detach()
    fit = kl = 0.0
    for cell in range(5):
        for gene in range(len(model.genes)):
            log_density = Normal(decoded[cell, gene], 0.2**0.5).log_prob(minibatch.x[cell, gene])
            fit -= float(log_density - Normal(0.0, 0.2**0.5).log_prob(torch.tensor(0.0))) / 5
        kl += sum(float(m**2 + v.exp() - 1 - v) / 2 / 5 for m, v in zip(mean[cell], log_variance[cell], strict=True))
    assert losses.terms["reconstruction"].item() == pytest.approx(fit, rel=1e-5)
    assert losses.terms["kl"].item() == pytest.approx(kl, rel=1e-4)
    assert losses.total.item() == pytest.approx(fit + 0.7 * kl, rel=1e-5)


def test_the_reports_reading_is_a_mean_over_genes(tiny_atlas):
    model = make(tiny_atlas, reconstruction="mean", variance=7.0).eval()
    minibatch = cells(model, 4)
    torch.manual_seed(1)
    value = model.losses(minibatch, model.stages[0]).terms["reconstruction"].item()
    torch.manual_seed(1)
    mean, log_variance = model.posterior(minibatch)
    decoded = model.decoder(mean + torch.randn(4, 6) * torch.exp(log_variance / 2))
    assert value == pytest.approx(((decoded - minibatch.x) ** 2).mean().item(), rel=1e-6)


def test_the_embedding_is_the_posterior_mean_and_draws_nothing(model):
    model.eval()
    minibatch = cells(model, 9)
    assert torch.equal(model.embed(minibatch), model.embed(minibatch))
    assert torch.equal(model.embed(minibatch), model.posterior(minibatch)[0])
    assert model.embed(minibatch).norm(dim=1).std() > 0


def test_cells_without_a_label_train_it_as_well(tiny_atlas, tiny_h5ad, tmp_path):
    model = make(tiny_atlas)
    steps = list(train(model, tiny_atlas, CONFIG, epochs=1, device="cpu"))
    assert len(steps) == -(-len(tiny_atlas.rows("train")) // 100)
    nameless = ingest(tiny_h5ad, tmp_path / "nameless.zarr")
    model = make(nameless)
    assert model.label_names == ()
    assert list(train(model, nameless, CONFIG, epochs=1, device="cpu"))[-1].validation["active_units"] >= 0
    assert codes_in(nameless.label_names, model.label_names).tolist() == [-1]


def test_the_kl_warms_up_and_the_total_follows_it(tiny_atlas):
    model = make(tiny_atlas, beta=2.0, kl_warmup_epochs=2, epochs=4)
    steps = list(train(model, tiny_atlas, CONFIG, device="cpu"))
    per_epoch = len(steps) // 4
    weights = []
    for step in steps:
        terms = {name: float(value) for name, value in step.terms.items()}
        weights.append((terms["loss"] - terms["reconstruction"]) / terms["kl"])
    wanted = [2.0 * min(step / per_epoch / 2, 1) for step in range(len(steps))]
    assert weights == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_a_dimension_is_active_where_its_means_vary_by_more_than_a_hundredth():
    mean = torch.zeros(10, 4)
    mean[::2, 1] = 0.19  # variance .009
    mean[::2, 2] = 0.21  # variance .011
    mean[:, 3] = 5.0
    assert active_units(mean).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("n_active", "n_latent", "alarmed"), [(0, 50, 1), (4, 50, 1), (5, 50, 0), (0, 3, 1), (1, 3, 0)]
)
def test_the_alarm_is_for_less_than_a_tenth(n_active, n_latent, alarmed):
    alarm = collapse_alarm(n_active, n_latent)
    assert (alarm is not None) == alarmed
    assert alarm is None or f"{n_active} of {n_latent} latent dimensions" in alarm


COLLAPSED = {"reconstruction": "mean", "kl_warmup_epochs": 0}


def test_the_reports_setting_raises_the_alarm_and_the_default_never(tiny_atlas):
    # Two epochs are ten steps here, where the two of pbmc3k are 18 (below).
    alarms = {
        name: [
            step.alarms
            for step in train(
                make(tiny_atlas, learning_rate=5e-3, **settings), tiny_atlas, CONFIG, epochs=8, device="cpu"
            )
            if step.ends_epoch
        ]
        for name, settings in (("collapsed", COLLAPSED), ("default", {}))
    }
    assert "posterior has collapsed: 0 of 6" in alarms["collapsed"][-1][0]
    assert alarms["default"] == [()] * 8


@pytest.mark.slow
def test_on_pbmc3k_the_alarm_comes_within_two_epochs(shared_data, tmp_path):
    atlas = ingest([shared_data / "pbmc3k_seurat.h5ad"], tmp_path / "pbmc.zarr", label="cell_type")
    for settings, wanted in ((COLLAPSED, True), ({}, False)):
        last = list(train(BetaVAE(atlas, **settings), atlas, epochs=2, device="cpu"))[-1]
        assert bool(last.alarms) == wanted


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (torch.tensor([[0.0, 3.0], [1.0, 2.0]]), "whole numbers only"),
        (torch.tensor([[0.5, 12.0]]), "values from 0.5 to 12"),
        (torch.tensor([[-0.5, 0.2]]), "values from -0.5 to 0.2"),
        (torch.tensor([[0.5, float("nan")]]), "values from nan to nan"),
    ],
)
def test_counts_are_refused_by_name(x, what):
    with pytest.raises(CountsError, match=f"BetaVAE reads log1p.*{what}"):
        check_logs(x, 1000.0, "BetaVAE")


def test_logs_pass_up_to_a_cell_whose_one_gene_has_every_count():
    check_logs(torch.tensor([[0.0, 0.0], [0.0, np.log1p(1000.0)], [0.3, 0.0]]), 1000.0, "BetaVAE")
    check_logs(torch.zeros(3, 4), 1000.0, "BetaVAE")
    check_logs(torch.zeros(0, 4), 1000.0, "BetaVAE")


def test_a_model_refuses_a_minibatch_of_counts(model):
    minibatch = dataclasses.replace(cells(model, 6), x=torch.full((6, len(model.genes)), 40.0))
    for use in (model.embed, lambda given: model.losses(given, model.stages[0])):
        with pytest.raises(CountsError, match="Run"):
            use(minibatch)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reconstruction": "median"},
        {"beta": -1.0},
        {"beta": float("nan")},
        {"variance": 0.0},
        {"n_latent": 0},
        {"n_hidden": -1},
        {"dropout": 1.0},
        {"kl_warmup_epochs": -2.0},
        {"learning_rate": float("inf")},
        {"n_genes": 0},
    ],
)
def test_settings_that_mean_nothing_are_refused(tiny_atlas, wrong):
    # A word that is none is refused by its type already where types are checked, as here.
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        make(tiny_atlas, **wrong)


def test_genes_that_are_all_alike_are_refused_also_where_every_gene_is_read(tmp_path):
    counts = anndata.AnnData(np.ones((30, 6), np.float32))
    counts.write_h5ad(tmp_path / "same.h5ad")
    atlas = ingest(tmp_path / "same.h5ad", tmp_path / "same.zarr")
    with pytest.raises(CountsError, match=r"same\.zarr: no gene differs between the 24 training cells"):
        BetaVAE(atlas)


def test_no_training_cell_at_all_is_a_clear_error(tiny_atlas):
    with pytest.raises(CountsError, match="no gene differs between the 0 training cells"):
        make(tiny_atlas, rows=np.zeros(0, np.int64))


def test_a_broken_off_run_goes_on_to_the_same_weights_in_the_warm_up(tiny_atlas, tmp_path):
    def weights(one):
        return torch.cat([p.detach().flatten() for p in one.parameters()])

    whole = make(tiny_atlas, dropout=0.2, kl_warmup_epochs=2, epochs=3)
    list(train(whole, tiny_atlas, CONFIG, device="cpu"))
    broken = make(tiny_atlas, dropout=0.2, kl_warmup_epochs=2, epochs=3)
    state = TrainState.start(broken)
    for step in train(broken, tiny_atlas, CONFIG, device="cpu", state=state):
        if step.number == 8:
            break
    state.save(tmp_path)
    model = make(tiny_atlas, dropout=0.2, kl_warmup_epochs=2, epochs=3)
    state = TrainState.start(model)
    state.restore(tmp_path)
    list(train(model, tiny_atlas, CONFIG, device="cpu", state=state))
    assert torch.equal(weights(model), weights(whole))
    assert not torch.equal(weights(model), weights(broken))


def test_a_saved_model_comes_back_whole(model, tmp_path):
    model.eval().save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert isinstance(twin, BetaVAE)
    assert twin.config == model.config
    minibatch = cells(model, 7)
    assert torch.equal(twin.embed(minibatch), model.embed(minibatch))


def test_a_collapsed_run_says_so_in_its_status_and_after_it_is_opened_again(tiny_atlas, tmp_path):
    model = make(tiny_atlas, learning_rate=5e-3, **COLLAPSED)
    run = Run(model, tiny_atlas, 8, tmp_path / "run", CONFIG, "cpu")
    run.start()
    status = run.wait()
    assert "posterior has collapsed: 0 of 6" in status.alarms[0]
    assert "posterior has collapsed" in repr(status)
    assert run.history.series("active_units", "validation")[1][-1] == 0
    assert Run.resume(tmp_path / "run").status.alarms == status.alarms
