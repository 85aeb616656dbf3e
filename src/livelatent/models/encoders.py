"""From expression to the latent space."""

from torch import Tensor, nn

from livelatent.arrays import Float


class GaussianEncoder(nn.Module):
    """One hidden layer, then the mean and the log variance of a Gaussian with independent dimensions."""

    def __init__(self, n_genes: int, n_hidden: int, n_latent: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden = hidden_layer(n_genes, n_hidden, dropout)
        self.mean = nn.Linear(n_hidden, n_latent)
        self.log_variance = nn.Linear(n_hidden, n_latent)

    def forward(
        self, x: Float[Tensor, "cell gene"]
    ) -> tuple[Float[Tensor, "cell latent"], Float[Tensor, "cell latent"]]:
        """Mean and log variance of q(z|x)."""
        hidden = self.hidden(x)
        return self.mean(hidden), self.log_variance(hidden)


def hidden_layer(n_in: int, n_out: int, dropout: float = 0.0) -> nn.Sequential:
    """A linear layer, ReLU and dropout."""
    return nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(dropout))
