"""What is compared: each method learns from a split's training cells and names those held out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.judge.annotator import fit_annotator
from livelatent.judge.comparison.cost import Cost, measured
from livelatent.judge.comparison.splits import Split
from livelatent.judge.expression import log_genes
from livelatent.judge.latent_fit import stretched
from livelatent.judge.logistic import fit_logistic
from livelatent.judge.projection import Projection
from livelatent.judge.training import train_latent
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["MODELS", "Answer", "Method", "Need", "Trial", "methods_of"]

N_NEIGHBORS = 15
N_GENES = 2_000
"""Of the baselines on components; as many as CELLULAR reads."""
N_TOKENS = 300
"""Genes of Model 2: on a CPU its cost grows with their square."""
DEFAULT_MODEL = "cellular"
"""What the default annotator stands on."""

ModelFactory = Callable[[Atlas, Rows, int], Model]
"""An untrained model from the atlas, the rows that it may use, and a seed."""


def _cellular(atlas: Atlas, rows: Rows, seed: int) -> Model:
    from livelatent.models.cellular import Cellular

    return Cellular(atlas, rows=rows, seed=seed)


def _cellular_genes(atlas: Atlas, rows: Rows, seed: int) -> Model:
    """Model 2, on as many genes as a CPU trains in minutes."""
    from livelatent.models.cellular import Cellular

    return Cellular(atlas, encoder="genes", n_genes=N_TOKENS, rows=rows, seed=seed)


def _beta_vae(atlas: Atlas, rows: Rows, seed: int) -> Model:
    from livelatent.models.beta_vae import BetaVAE

    return BetaVAE(atlas, rows=rows, seed=seed)


MODELS: dict[str, ModelFactory] = {"cellular": _cellular, "cellular_genes": _cellular_genes, "beta_vae": _beta_vae}
"""By the name that `--models` takes. Model 3 needs gene sets: who has some adds a line here."""


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

    @property
    def rows(self) -> Rows:
        """All cells of the split, by row."""
        return np.union1d(self.split.training, self.split.held)

    @property
    def n_labels(self) -> int:
        """Of the atlas."""
        return len(self.atlas.label_names)

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


@dataclass(frozen=True)
class Need:
    """A model that methods share; its cost is charged to each of them."""

    name: str
    train: Callable[[Trial], Any]


@dataclass(frozen=True)
class Method:
    """One row of the comparison."""

    name: str
    run: Callable[..., Answer]
    """Called with the trial, and with the trained model where it needs one."""
    needs: Need | None = None
    is_random: bool = False
    """Whether another seed may give another answer."""
    is_peer: bool = False
    """Other people's code: where it fails, its row says so and the others stay."""


def lr_raw(trial: Trial) -> Answer:
    """Logistic regression on every gene, C = 1."""
    split = trial.split
    fitted = fit_logistic(trial.log_counts(split.training), trial.label[split.training], trial.n_labels)
    return Answer(fitted.predict(trial.log_counts(split.held)))


def lr_pca(trial: Trial) -> Answer:
    """Logistic regression on 50 components of the 2,000 most variable genes."""
    pcs, training, held = _components(trial)
    fitted = fit_logistic(pcs[training], trial.label[trial.split.training], trial.n_labels)
    return Answer(fitted.predict(pcs[held]), pcs)


def knn_pca(trial: Trial) -> Answer:
    """The vote of the 15 nearest training cells on the same components."""
    from sklearn.neighbors import KNeighborsClassifier

    pcs, training, held = _components(trial)
    voters = KNeighborsClassifier(min(N_NEIGHBORS, len(training)))
    return Answer(voters.fit(pcs[training], trial.label[trial.split.training]).predict(pcs[held]), pcs)


def livelatent(trial: Trial, model: Model) -> Answer:
    """The default annotator."""
    annotator = fit_annotator(model, trial.atlas, rows=trial.split.training, seed=trial.seed, device=trial.device)
    log_proba = annotator.log_proba(model, trial.atlas, trial.split.held, trial.device)
    return Answer(np.argmax(log_proba, axis=1), embed(model, trial.atlas, trial.rows, trial.device), repr(annotator))


def lr_latent(trial: Trial, model: Model) -> Answer:
    """Logistic regression on a model's latent alone."""
    latent = embed(model, trial.atlas, trial.rows, trial.device)
    training, held = (np.searchsorted(trial.rows, rows) for rows in (trial.split.training, trial.split.held))
    x = stretched(latent)
    fitted = fit_logistic(x[training], trial.label[trial.split.training], trial.n_labels)
    return Answer(fitted.predict(x[held]), latent)


def methods_of(models: Iterable[str] = ("cellular",), *, peers: bool = True) -> tuple[Method, ...]:
    """The baselines, the default annotator, a row for each model, and those peers that are installed.

    Raises
    ------
    ValueError
        If a model is none of `MODELS`.
    """
    names = tuple(models)
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise ValueError(f"models are {', '.join(MODELS)}; got {', '.join(unknown)}.")
    found = [Method("lr_raw", lr_raw), Method("lr_pca", lr_pca), Method("knn_pca", knn_pca)]
    found.append(Method("livelatent", livelatent, _own(DEFAULT_MODEL), is_random=True))
    found += [Method(name, lr_latent, _own(name), is_random=True) for name in names]
    if peers:
        from livelatent.judge.comparison.peers import installed_peers

        found += installed_peers()
    return tuple(found)


def _own(name: str) -> Need:
    """One of `MODELS`."""
    return Need(name, partial(_trained, MODELS[name]))


def _trained(make: ModelFactory, trial: Trial) -> Model:
    model = make(trial.atlas, trial.split.training, trial.seed)
    train_latent(model, trial.atlas, trial.split.training, epochs=trial.epochs, device=trial.device)
    return model


def _components(trial: Trial) -> tuple[ndarray, Int[ndarray, " training"], Int[ndarray, " held"]]:
    """50 components of all cells of the split, learnt from the training cells, and where both kinds stand."""
    atlas, split = trial.atlas, trial.split
    genes = np.flatnonzero(atlas.kept_genes).astype(np.int64)
    if len(genes) > N_GENES:
        genes = highly_variable_genes(atlas, N_GENES, split.training)
    projection = Projection.fit(atlas, genes, split.training, atlas.mean_total)
    pcs = projection(log_genes(atlas, trial.rows, genes, atlas.mean_total))
    return pcs, np.searchsorted(trial.rows, split.training), np.searchsorted(trial.rows, split.held)
