"""What is compared: each method learns from a split's training cells and names those held out."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from livelatent.arrays import Float, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.judge.annotator import fit_annotator
from livelatent.judge.comparison.peers import installed_peers
from livelatent.judge.comparison.trial import Answer, Method, Need, Trial
from livelatent.judge.expression import log_genes
from livelatent.judge.latent_fit import stretched
from livelatent.judge.logistic import fit_logistic
from livelatent.judge.projection import Projection
from livelatent.judge.training import train_latent
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["MODELS", "methods_of"]

N_NEIGHBORS = 15
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


def lr_raw(trial: Trial) -> Answer:
    """Logistic regression on every gene, C = 1."""
    split = trial.split
    fitted = fit_logistic(trial.log_counts(split.training), trial.label[split.training], trial.n_labels)
    return Answer(fitted.predict(trial.log_counts(split.held)))


def lr_pca(trial: Trial, components: Float[ndarray, "cell dim"]) -> Answer:
    """Logistic regression on 50 components of the 2,000 most variable genes."""
    return Answer(trial.named_by_regression(components), components)


def knn_pca(trial: Trial, components: Float[ndarray, "cell dim"]) -> Answer:
    """The vote of the 15 nearest training cells on the same components."""
    from sklearn.neighbors import KNeighborsClassifier

    voters = KNeighborsClassifier(min(N_NEIGHBORS, len(trial.training)))
    voters.fit(components[trial.training], trial.label[trial.split.training])
    return Answer(voters.predict(components[trial.held]), components)


def livelatent(trial: Trial, model: Model) -> Answer:
    """The default annotator."""
    annotator = fit_annotator(model, trial.atlas, rows=trial.split.training, seed=trial.seed, device=trial.device)
    log_proba = annotator.log_proba(model, trial.atlas, trial.split.held, trial.device)
    return Answer(np.argmax(log_proba, axis=1), embed(model, trial.atlas, trial.rows, trial.device), repr(annotator))


def lr_latent(trial: Trial, model: Model) -> Answer:
    """Logistic regression on a model's latent alone."""
    latent = embed(model, trial.atlas, trial.rows, trial.device)
    return Answer(trial.named_by_regression(stretched(latent)), latent)


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
    pca = Need("pca", _components)
    found = [Method("lr_raw", lr_raw), Method("lr_pca", lr_pca, pca), Method("knn_pca", knn_pca, pca)]
    found.append(Method("livelatent", livelatent, _own(DEFAULT_MODEL), is_random=True))
    found += [Method(name, lr_latent, _own(name), is_random=True) for name in names]
    if peers:
        found += installed_peers()
    return tuple(found)


def _own(name: str) -> Need:
    """One of `MODELS`."""
    return Need(name, partial(_trained, MODELS[name]))


def _trained(make: ModelFactory, trial: Trial) -> Model:
    model = make(trial.atlas, trial.split.training, trial.seed)
    train_latent(model, trial.atlas, trial.split.training, epochs=trial.epochs, device=trial.device)
    return model


def _components(trial: Trial) -> Float[ndarray, "cell dim"]:
    """50 components of all cells of the split, learnt from the training cells."""
    atlas, genes = trial.atlas, trial.genes
    projection = Projection.fit(atlas, genes, trial.split.training, atlas.mean_total)
    return projection(log_genes(atlas, trial.rows, genes, atlas.mean_total))
