"""What a method is, what it is given, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.judge.comparison.cost import Cost, measured
from livelatent.judge.comparison.splits import Split
from livelatent.judge.expression import log_genes
from livelatent.judge.logistic import fit_logistic

__all__ = ["Answer", "Method", "Need", "Trial"]

N_GENES = 2_000
"""Of baselines on components and of peers; as many as CELLULAR reads."""


@dataclass(frozen=True)
class Answer:
    """What a method says of a split."""

    predicted: Int[ndarray, " held"]
    latent: Float[ndarray, "cell dim"] | None = None
    """Of all cells of the split, training and held out, by row; None where the method has no embedding."""
    note: str = ""


@dataclass
class Trial:
    """One split under one seed, and what has been trained on it so far."""

    atlas: Atlas
    split: Split
    seed: int
    epochs: int | None = None
    device: str = "auto"
    trained: dict[str, tuple[Any, Cost]] = field(default_factory=dict)

    @property
    def label(self) -> Int[ndarray, " cell"]:
        """Codes of all cells of the atlas."""
        return np.asarray(self.atlas.label, np.int64)

    @cached_property
    def rows(self) -> Rows:
        """All cells of the split, by row."""
        return np.union1d(self.split.training, self.split.held)

    @cached_property
    def training(self) -> Int[ndarray, " training"]:
        """Where the training cells stand among `rows`."""
        return np.searchsorted(self.rows, self.split.training)

    @cached_property
    def held(self) -> Int[ndarray, " held"]:
        """Where the held-out cells stand among `rows`."""
        return np.searchsorted(self.rows, self.split.held)

    @cached_property
    def genes(self) -> Int[ndarray, " gene"]:
        """The most variable genes of the training cells; all that are kept, where they are no more."""
        genes = np.flatnonzero(self.atlas.kept_genes).astype(np.int64)
        return genes if len(genes) <= N_GENES else highly_variable_genes(self.atlas, N_GENES, self.split.training)

    def trained_for(self, need: "Need") -> tuple[Any, Cost]:
        """What several methods share, trained once, and what that cost."""
        if need.name not in self.trained:
            with measured() as cost:
                model = need.train(self)
            self.trained[need.name] = (model, cost)
        return self.trained[need.name]

    def log_counts(self, rows: Rows) -> sp.csr_matrix:
        """Log expression of all genes."""
        return log_genes(self.atlas, rows, np.arange(self.atlas.n_genes), self.atlas.mean_total)

    def named_by_regression(self, x: Float[ndarray, "cell dim"]) -> Int[ndarray, " held"]:
        """What logistic regression on the training cells' features names the held-out ones; `x` is of all `rows`."""
        fitted = fit_logistic(x[self.training], self.label[self.split.training], self.n_labels)
        return fitted.predict(x[self.held])

    @property
    def n_labels(self) -> int:
        """Of the atlas."""
        return len(self.atlas.label_names)


@dataclass(frozen=True)
class Need:
    """What methods share, such as a model; its cost is charged to each of them."""

    name: str
    train: Callable[[Trial], Any]


@dataclass(frozen=True)
class Method:
    """One row of the comparison."""

    name: str
    run: Callable[..., Answer]
    """Called with the trial, and with what it needs where that is something."""
    needs: Need | None = None
    is_random: bool = False
    """Whether another seed may give another answer."""
    is_peer: bool = False
    """Other people's code: where it fails, its row says so and the others stay."""
