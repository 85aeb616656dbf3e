"""The Gaussian beta-VAE (Higgins et al. 2017): cells from a few numbers and back, without any label."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from livelatent.arrays import Float, Rows
from livelatent.atlas.atlas import Atlas
from livelatent.models.active_units import active_units, collapse_alarm
from livelatent.models.config import ModelConfig, check_amounts, check_choice, check_counts, check_shares
from livelatent.models.decoders import DenseDecoder
from livelatent.models.encoders import GaussianEncoder
from livelatent.models.genes import atlas_facts, genes_to_read, training_rows
from livelatent.models.likelihoods import squared_error_nll
from livelatent.models.losses.gaussian_kl import gaussian_kl
from livelatent.models.model import Losses, Model, Verdict
from livelatent.models.normalised import check_logs
from livelatent.stream.minibatch import Minibatch
from livelatent.train.schedule import Schedule
from livelatent.train.stage import Stage

Reconstruction = Literal["sum", "mean"]


@dataclass(frozen=True, kw_only=True)
class BetaVAEConfig(ModelConfig):
    """Everything but the weights.

    Raises
    ------
    ValueError
        If a field's value means nothing; it is named.
    """

    n_latent: int = 50
    n_hidden: int = 512
    beta: float | int = 1.0
    """Weight of the KL divergence."""
    reconstruction: Reconstruction = "sum"
    """The Gaussian log likelihood, summed over genes; or the mean squared error over them, as the report has it."""
    variance: float | int = 0.05
    """Of a gene's expression about what is decoded; of `"sum"` only."""
    kl_warmup_epochs: float | int = 10.0
    dropout: float = 0.0
    epochs: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    patience: int | None = 20
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "reconstruction", get_args(Reconstruction))
        check_counts(self, "n_latent", "n_hidden", "epochs", *(() if self.patience is None else ("patience",)))
        check_counts(self, "seed", least=0)
        check_shares(self, "dropout")
        check_amounts(self, "beta", "kl_warmup_epochs", "weight_decay")
        check_amounts(self, "variance", "learning_rate", above=True)


class BetaVAE(Model):
    r"""A variational autoencoder with Gaussian encoder and decoder on log-normalised expression.

    Parameters
    ----------
    atlas
        Where genes are chosen, over training cells, labelled or not. A `BetaVAEConfig` rebuilds a model without one.
    n_genes
        Highly variable genes to read.
    rows
        Cells that may be used; the atlas's training split of them is.
    settings
        Fields of `BetaVAEConfig`.

    Raises
    ------
    CountsError
        If no gene differs between the training cells; on use, if a minibatch holds counts.

    Notes
    -----
    Minimises :math:`\sum_g (x_g - \hat x_g)^2 / 2 \sigma^2 + \beta \, KL(q(z|x) \| N(0, I))` with one draw of z per
    cell and step: equation 4 of Higgins et al. (ICLR 2017), the negative of Kingma and Welling's bound (ICLR 2014)
    where beta is 1. `embed` gives the posterior mean.

    Where the squared error is averaged over genes, as some do, all latent dimensions collapse to the prior: an error of
    0.0002 per gene can't pay for any KL (measured: 0 of 50 active units, nearest neighbours name .31 of cells; summed
    50 of 50 and .92). `reconstruction="mean", kl_warmup_epochs=0` does that here, and the alarm of `active_units` says
    so.
    """

    def __init__(
        self,
        atlas: Atlas | BetaVAEConfig,
        *,
        n_genes: int = 5000,
        n_latent: int = 50,
        n_hidden: int = 512,
        beta: float | int = 1.0,
        reconstruction: Reconstruction = "sum",
        rows: Rows | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if isinstance(atlas, BetaVAEConfig):
            self.config = atlas
            self._build()
            return
        self.config = BetaVAEConfig(
            **atlas_facts(atlas, genes_to_read(atlas, n_genes, training_rows(atlas, rows))),
            n_latent=n_latent,
            n_hidden=n_hidden,
            beta=beta,
            reconstruction=reconstruction,
            **settings,
        )
        self._build()

    def _build(self) -> None:
        config = self.config
        # A model of one seed has one set of starting weights, and the caller's random state is left alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            n_genes = len(config.genes)
            self.encoder = GaussianEncoder(n_genes, config.n_hidden, config.n_latent, config.dropout)
            self.decoder = DenseDecoder(config.n_latent, config.n_hidden, n_genes, config.dropout)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All at once, on all cells; the KL's weight rises over the first epochs."""
        config = self.config
        return (
            Stage(
                name="autoencoder",
                trains=("encoder.", "decoder."),
                weights={"reconstruction": 1.0, "kl": float(config.beta)},
                schedules={"kl": Schedule(rise_epochs=config.kl_warmup_epochs)},
                epochs=config.epochs,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                patience=config.patience,
                rows="all",
            ),
        )

    def posterior(self, minibatch: Minibatch) -> tuple[Float[Tensor, "cell latent"], Float[Tensor, "cell latent"]]:
        """Mean and log variance of q(z|x).

        Raises
        ------
        CountsError
            If the minibatch holds counts.
        """
        check_logs(minibatch.x, self.mean_total, "BetaVAE")
        mean, log_variance = self.encoder(minibatch.x)
        return mean, log_variance

    def embed(self, minibatch: Minibatch) -> Float[Tensor, "cell latent"]:
        """Posterior mean of each cell."""
        return self.posterior(minibatch)[0]

    def losses(self, minibatch: Minibatch, stage: Stage) -> Losses:
        """Reconstruction and KL divergence, means over the minibatch's cells, labelled or not."""
        mean, log_variance = self.posterior(minibatch)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        decoded = self.decoder(latent)
        if self.config.reconstruction == "sum":
            reconstruction = squared_error_nll(minibatch.x, decoded, self.config.variance).sum(1).mean()
        else:
            reconstruction = torch.nn.functional.mse_loss(decoded, minibatch.x)
        terms = {"reconstruction": reconstruction, "kl": gaussian_kl(mean, log_variance).sum(1).mean()}
        total = stage.weights["reconstruction"] * terms["reconstruction"] + stage.weights["kl"] * terms["kl"]
        return Losses(terms, total, cells={"mean": mean.detach()})

    def verdict(self, cells: Mapping[str, Tensor]) -> Verdict:
        """How many latent dimensions differ between cells, and an alarm where hardly any does."""
        mean = cells["mean"]
        if len(mean) < 2:
            return Verdict()  # one cell differs from nothing
        n_active = int(active_units(mean).sum())
        alarm = collapse_alarm(n_active, self.config.n_latent)
        return Verdict({"active_units": float(n_active)}, () if alarm is None else (alarm,))
