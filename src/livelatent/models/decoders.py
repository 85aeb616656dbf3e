"""From the latent space back to expression."""

from torch import Tensor, nn

from livelatent.arrays import Float
from livelatent.models.encoders import hidden_layer


class DenseDecoder(nn.Module):
    """One hidden layer, then one value per gene."""

    def __init__(self, n_latent: int, n_hidden: int, n_genes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden = hidden_layer(n_latent, n_hidden, dropout)
        self.expression = nn.Linear(n_hidden, n_genes)

    def forward(self, latent: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        """Expected expression."""
        expression: Tensor = self.expression(self.hidden(latent))
        return expression
