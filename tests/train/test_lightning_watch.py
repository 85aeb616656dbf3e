"""The view watches a real LightningModule in a real Trainer."""

import asyncio
import threading
import warnings

import numpy as np
import pytest
import torch

from livelatent.errors import NothingToSeeError
from livelatent.session.live import LiveSession
from watched import until

lightning = pytest.importorskip("lightning.pytorch", reason="the extra `lightning` is not installed")


class Autoencoder(lightning.LightningModule):
    """Five numbers a cell, by one layer in and one out."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(n_genes, 5))
        self.decoder = torch.nn.Linear(5, n_genes)

    def training_step(self, batch, _):
        loss = torch.nn.functional.mse_loss(self.decoder(self.encoder(batch[0])), batch[0])
        self.log("train_loss", loss)
        self.log("weight_norm", self.decoder.weight.norm())
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", torch.nn.functional.mse_loss(self.decoder(self.encoder(batch[0])), batch[0]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


@pytest.fixture(scope="module")
def genes(tiny_adatas):
    return torch.from_numpy(np.log1p(tiny_adatas["one.h5ad"].X.toarray()))


def embed_with(genes):
    """What a user writes: the module's latent of some rows."""
    return lambda module, rows: module.encoder(genes[torch.from_numpy(rows)])


@pytest.fixture
def watch(tiny_adatas, genes, tmp_path):
    from livelatent.train.lightning_watch import LightningWatch

    return LightningWatch(
        tiny_adatas["one.h5ad"],
        embed_with(genes),
        label="cell_type",
        unlabelled=["unassigned"],
        journal=tmp_path / "labels",
    )


def fit_of(watch, genes, tmp_path, epochs=3, module=Autoencoder):
    """A Trainer of so many epochs of 15 steps, and the module."""
    module = module(genes.shape[1])
    cells = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(genes), batch_size=25)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[watch],
        default_root_dir=tmp_path,
        num_sanity_val_steps=1,
        **quiet,
    )

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice about workers
            trainer.fit(module, cells, cells)

    return module, fit


def test_losses_and_epochs_become_curves_and_the_trial_before_training_does_not(watch, genes, tmp_path):
    _, fit = fit_of(watch, genes, tmp_path)
    watch.start(fit)
    status = watch.wait()
    assert (status.state, status.epochs, status.step) == ("done", 3, 45)
    steps, losses = watch.history.series("loss", "train")
    assert steps.tolist() == list(range(1, 46)) and losses[-15:].mean() < losses[:15].mean()
    assert watch.history.series("loss", "validation")[0].tolist() == [15, 30, 45]
    assert ("weight_norm", "train") in watch.history.names()
    assert [text for _, text in watch.history.marks] == ["epoch 1", "epoch 2", "epoch 3"]


def test_after_the_fit_the_map_is_the_modules_own_latent_in_evaluation_mode(watch, genes, tmp_path):
    module, fit = fit_of(watch, genes, tmp_path)
    watch.start(fit)
    watch.wait()
    module.train()
    session = LiveSession(watch)
    session.settle(timeout_s=0.0)
    assert module.training and module.encoder[0].training
    module.eval()
    want = module.encoder(genes).detach().numpy()
    assert np.allclose(session.sight.look.latent, want, atol=1e-6)
    assert session.board.flag_list().n_scored > 0
    assert session.label([1, 2], "seen").n_cells == 2
    watch.atlas.labels.close()
    session.close()


def test_a_view_sees_it_train_pauses_it_and_stops_it(watch, genes, tmp_path):
    _, fit = fit_of(watch, genes, tmp_path, epochs=100_000)
    watch.start(fit)
    until(lambda: watch.status.step > 3)
    session = LiveSession(watch)
    session.settle(timeout_s=0.0)
    assert len(session.latent_map().cell) == 370 and np.isfinite(session.latent_map().xy).all()
    assert session.answer("1", "pause", {}).result == {"state": "paused"}
    # Whoever asks now is answered by a trainer that stands still.
    one = watch.embed(np.arange(370))
    before = watch.status.step
    assert (watch.embed(np.arange(370)) == one).all() and watch.status.step == before
    assert session.answer("2", "resume", {}).ok
    until(lambda: watch.status.step > before + 3)
    assert session.answer("3", "stop", {}).ok
    assert watch.wait(timeout=120).state == "stopped"
    session.close()


def test_awaiting_it_leaves_the_loop_free_and_cancelling_stops_the_fit(watch, genes, tmp_path):
    _, fit = fit_of(watch, genes, tmp_path, epochs=100_000)

    async def cell() -> None:
        watch.start(fit)
        waiting = asyncio.ensure_future(watch)
        while watch.status.step < 3:  # what else a kernel does
            await asyncio.sleep(0.01)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (await watch).state == "stopped"

    asyncio.run(cell())


@pytest.mark.parametrize("said", [{"label": "cell_type"}, {"unlabelled": ["x"]}, {"counts": "X"}, {"journal": "here"}])
def test_what_is_an_anndatas_to_be_told_is_refused_of_an_atlas(tiny_atlas, genes, said):
    from livelatent.train.lightning_watch import LightningWatch

    [name] = said
    with pytest.raises(NothingToSeeError, match=rf"^`{name}`: for an AnnData only. An Atlas has its"):
        LightningWatch(tiny_atlas, embed_with(genes), **said)
    assert LightningWatch(tiny_atlas, embed_with(genes)).atlas is tiny_atlas


def test_before_the_fit_the_view_says_so_and_an_error_in_it_becomes_the_state(watch, genes, tmp_path):
    session = LiveSession(watch)
    session.settle(timeout_s=0.0)
    assert any("appears when the fit has begun" in alarm for alarm in session.status().alarms)
    with pytest.raises(RuntimeError, match="nothing was given to start"):
        watch.start()
    watch.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        watch.wait()
    assert watch.status.state == "failed" and "ZeroDivisionError" in session.status().alarms[0]


def test_an_embedding_of_another_shape_is_refused_in_one_sentence(tiny_adatas, genes, tmp_path):
    from livelatent.train.lightning_watch import LightningWatch

    watch = LightningWatch(tiny_adatas["one.h5ad"], lambda module, rows: np.zeros(len(rows)))
    _, fit = fit_of(watch, genes, tmp_path, epochs=1)
    watch.start(fit)
    watch.wait()
    with pytest.raises(ValueError, match=r"gave shape \(370,\) for 370 rows"):
        watch.embed(np.arange(370))


class Diverging(Autoencoder):
    """Its loss is no number from its sixth step on."""

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        return loss * float("nan") if self.global_step >= 5 else loss


class Collapsing(Autoencoder):
    """All that it is told is to bring every cell to one point."""

    def training_step(self, batch, _):
        return self.encoder(batch[0]).square().sum()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def alarms_of(session):
    session.curves()  # as every round of a view does: only then are the losses fetched
    return session.status().alarms


def test_a_loss_that_becomes_no_number_is_an_alarm_with_its_step_until_another_fit_begins(watch, genes, tmp_path):
    _, fit = fit_of(watch, genes, tmp_path, module=Diverging)
    watch.start(fit)
    watch.wait()
    session = LiveSession(watch)
    [alarm] = [text for text in alarms_of(session) if "no number" in text]
    assert alarm.startswith("The loss is no number since step 6:") and "learning rate" in alarm
    _, fit = fit_of(watch, genes, tmp_path)
    watch.start(fit)
    watch.wait()
    assert not any("no number" in text for text in alarms_of(session))
    session.close()


def test_a_metric_that_is_undefined_is_no_alarm(watch, genes, tmp_path):
    class Undefined(Autoencoder):
        def training_step(self, batch, index):
            self.log("auc", float("nan"))
            return super().training_step(batch, index)

    _, fit = fit_of(watch, genes, tmp_path, module=Undefined)
    watch.start(fit)
    watch.wait()
    session = LiveSession(watch)
    assert alarms_of(session) == ()
    session.close()


def test_a_latent_that_collapses_is_an_alarm_and_one_that_learns_is_none(watch, genes, tmp_path):
    for module, collapses in ((Collapsing, True), (Autoencoder, False)):
        _, fit = fit_of(watch, genes, tmp_path, epochs=20, module=module)
        watch.start(fit)
        watch.wait()
        session = LiveSession(watch)
        session.settle(timeout_s=0.0)
        assert any("0 of 5 latent dimensions differ" in text for text in session.status().alarms) == collapses
        session.close()


def test_start_is_offered_only_where_a_fit_was_given_and_none_is_under_way(watch, genes, tmp_path):
    session = LiveSession(watch)
    assert watch.status.state == "ready" and not session.status().can.start
    _, fit = fit_of(watch, genes, tmp_path, epochs=100_000)
    watch.start(fit)
    until(lambda: watch.status.step > 3)
    assert not session.status().can.start and session.status().can.stop
    watch.stop()
    assert watch.wait().state == "stopped" and session.status().can.start
    session.close()


def test_start_is_not_offered_of_a_fit_that_the_notebook_itself_calls(watch, genes, tmp_path):
    module, fit = fit_of(watch, genes, tmp_path, epochs=100_000)
    module.on_train_batch_start = lambda *_: watch.stop() if watch.status.step == 2 else None
    fit()
    session = LiveSession(watch)
    assert session.status().state == "stopped" and not session.status().can.start
    session.close()


@pytest.mark.parametrize("act", ["pause", "stop"])
def test_the_page_is_answered_while_an_embedding_is_going_on(tiny_adatas, genes, tmp_path, act):
    from livelatent.train.lightning_watch import LightningWatch

    begun, may_end = threading.Event(), threading.Event()

    def embed(module, rows):
        begun.set()
        assert may_end.wait(120)
        return module.encoder(genes[torch.from_numpy(rows)])

    watch = LightningWatch(tiny_adatas["one.h5ad"], embed, journal=tmp_path / "labels")
    _, fit = fit_of(watch, genes, tmp_path, epochs=100_000)
    watch.start(fit)
    until(lambda: watch.status.step > 3)
    latents = []
    asking = threading.Thread(target=lambda: latents.append(watch.embed(np.arange(7))))
    asking.start()
    assert begun.wait(120)
    telling = threading.Thread(target=getattr(watch, act))
    telling.start()
    telling.join(60)
    is_told, state = not telling.is_alive(), watch.status.state
    may_end.set()
    asking.join(120)
    watch.stop()
    watch.wait(120)
    assert is_told and state == {"pause": "paused", "stop": "stopping"}[act]
    assert latents[0].shape == (7, 5)


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("val_loss", ("loss", "validation")),
        ("train_loss_epoch", ("loss", "train")),
        ("elbo_validation", ("elbo", "validation")),
        ("reconstruction_loss_train", ("reconstruction_loss", "train")),
        ("kl_local_validation", ("kl_local", "validation")),
        ("valve_pressure", ("valve_pressure", "train")),
        ("val", ("val", "validation")),
        ("metrics/val/acc", ("metrics_acc", "validation")),
    ],
)
def test_a_metric_goes_to_the_curve_of_its_term_and_split(name, curve):
    from livelatent.train.logged_metrics import curve_of

    assert curve_of(name) == curve
