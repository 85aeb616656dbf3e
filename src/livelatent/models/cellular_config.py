"""Everything of a CELLULAR model but its weights."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from livelatent.models.config import LATER, ModelConfig, check_amounts, check_choice, check_counts, check_shares
from livelatent.models.gene_vectors import VECTOR_SIZE
from livelatent.models.losses.batch_mixing import BatchTerm
from livelatent.models.losses.class_weights import Weights
from livelatent.models.towers import Head
from livelatent.models.transformer import Norm

__all__ = ["CellularConfig", "Encoder"]

MOST_LAYERS = 1000
"""A file may ask for any depth, and is believed only once the network that it describes was laid out."""

Encoder = Literal["feed_forward", "genes", "genes+sets"]
"""Models 1, 2 and 3 of Andrekson (2024)."""


@dataclass(frozen=True, kw_only=True)
class CellularConfig(ModelConfig):
    """Everything but the weights.

    Raises
    ------
    ValueError
        If a field's value means nothing; it is named.
    """

    n_latent: int = 100
    weights: Weights = "uniform"
    """Class weights of equation 2.12 ("thesis"), or one weight for all."""
    batch_term: BatchTerm = "bounded"
    """The batch term that is 0 at perfect mixing, or 2.11 as it stands ("inverse")."""
    type_weight: float = 0.9
    batch_weight: float = 0.1
    centroid_weight: float = 1.0
    dropout: float = 0.2
    epochs: int = 50
    classifier_epochs: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 5e-5
    warmup_epochs: int = 4
    patience: int = 20
    n_components: int = 50
    """Principal components of the reference that the centroid term is held against."""
    seed: int = 0
    mask_share: float = field(default=0.0, metadata=LATER)
    """Of a training cell's values, set to 0 (4.1)."""
    replace_share: float = field(default=0.0, metadata=LATER)
    """Of a training cell's values, replaced by draws from the gene's Gaussian in the cell's type (4.1)."""
    # Of Models 2 and 3 from here on.
    encoder: Encoder = field(default="feed_forward", metadata=LATER)
    head: Head = field(default="tokens", metadata=LATER)
    """What the head reads: a scalar of every token, or the class token."""
    norm: Norm = field(default="pre", metadata=LATER)
    """Residual form: the author's code, or equations 2.23 and 2.24 ("thesis")."""
    depth: int = field(default=3, metadata=LATER)
    token_width: int = field(default=200, metadata=LATER)
    set_width: int = field(default=50, metadata=LATER)
    attention_width: int = field(default=96, metadata=LATER)
    n_heads: int = field(default=4, metadata=LATER)
    n_buckets: int = field(default=1000, metadata=LATER)
    token_dropout: float = field(default=0.0, metadata=LATER)
    """Of what a transformer's layer adds to its tokens."""
    set_names: tuple[str, ...] = field(default=(), metadata=LATER)
    n_gene_vectors: int = field(default=0, metadata=LATER)
    """Genes whose vector was given; those of the others are learned."""
    vector_size: int = field(default=VECTOR_SIZE, metadata=LATER)
    step_bytes: int = field(default=400_000_000, metadata=LATER)
    """What one training step's tokens may keep in memory: cells pass a transformer in chunks that fit it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (
            ("weights", Weights),
            ("batch_term", BatchTerm),
            ("encoder", Encoder),
            ("head", Head),
            ("norm", Norm),
        ):
            check_choice(self, name, get_args(choices))
        check_counts(self, "n_latent", "epochs", "classifier_epochs", "patience", "n_components", "n_heads")
        check_counts(self, "depth", most=MOST_LAYERS)
        check_counts(self, "token_width", "set_width", "attention_width", "n_buckets", "vector_size", "step_bytes")
        check_counts(self, "warmup_epochs", "n_gene_vectors", "seed", least=0)
        check_shares(self, "dropout", "token_dropout", "mask_share", "replace_share")
        check_amounts(self, "type_weight", "batch_weight", "centroid_weight", "weight_decay")
        check_amounts(self, "learning_rate", above=True)
        if not self.type_weight + self.batch_weight + self.centroid_weight:
            raise ValueError("Cellular: type_weight, batch_weight and centroid_weight are all 0: nothing is learned.")
