"""Other people's models, where they are installed: scvi-tools' scVI and scANVI."""

import importlib.util
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np

from livelatent.judge.comparison.trial import Answer, Method, Need, Trial
from livelatent.judge.latent_fit import stretched

__all__ = ["installed_peers"]

UNKNOWN = "(unknown)"
QUERY_EPOCHS = 100


def installed_peers() -> tuple[Method, ...]:
    """Both, if scvi-tools can be imported."""
    if not importlib.util.find_spec("scvi"):
        return ()
    base = Need("scvi", _trained_scvi)
    return tuple(
        Method(name, run, base, is_random=True, is_peer=True) for name, run in (("scvi", scvi), ("scanvi", scanvi))
    )


def scvi(trial: Trial, base: Any) -> Answer:
    """A scVI of the training cells; the held-out cells are mapped by scArches surgery; LR on the latent names them.

    Notes
    -----
    Settings are scvi-tools' own: 2,000 genes as for our models, its default epochs (or the trial's) and early stop.
    """
    import scvi as tools

    query = _adata(trial, trial.split.held)
    with _quiet(tools, trial.seed):
        mapped = _mapped(tools.model.SCVI, base, query, trial)
        latent = _joined(trial, base.get_latent_representation(), mapped.get_latent_representation(query))
    x = stretched(latent / max(float(latent.std()) * np.sqrt(latent.shape[1]), 1e-12))
    return Answer(trial.named_by_regression(x), latent)


def scanvi(trial: Trial, base: Any) -> Answer:
    """Train scANVI from the scVI, both on training cells; its own head names held-out cells, mapped by surgery."""
    import scvi as tools

    query = _adata(trial, trial.split.held)
    query.obs["label"] = UNKNOWN
    with _quiet(tools, trial.seed):
        named = tools.model.SCANVI.from_scvi_model(base, unlabeled_category=UNKNOWN)
        named.train(max_epochs=20 if trial.epochs is None else min(20, trial.epochs), **_trainer(trial))
        mapped = _mapped(tools.model.SCANVI, named, query, trial)
        latent = _joined(trial, named.get_latent_representation(), mapped.get_latent_representation(query))
        answer = mapped.predict(query)
    code = {name: number for number, name in enumerate(trial.atlas.label_names)}
    return Answer(np.array([code.get(str(name), -1) for name in answer], np.int64), latent)


def _trained_scvi(trial: Trial) -> Any:
    """The scVI of the training cells; it takes no notice of the labels, which scANVI needs registered."""
    import scvi as tools

    training = _adata(trial, trial.split.training)
    with _quiet(tools, trial.seed):
        tools.model.SCVI.setup_anndata(training, batch_key="batch", labels_key="label")
        base = tools.model.SCVI(training)
        base.train(max_epochs=trial.epochs, early_stopping=True, **_trainer(trial))
    return base


def _mapped(kind: Any, base: Any, query: Any, trial: Trial) -> Any:
    """The query's own batches added to a trained model (scArches), the rest of it frozen."""
    epochs = QUERY_EPOCHS if trial.epochs is None else min(QUERY_EPOCHS, trial.epochs)
    with tempfile.TemporaryDirectory() as folder:
        base.save(folder, overwrite=True, save_anndata=False)
        kind.prepare_query_anndata(query, folder)
        mapped = kind.load_query_data(query, folder)
    mapped.train(max_epochs=epochs, plan_kwargs={"weight_decay": 0.0}, **_trainer(trial))
    return mapped


def _adata(trial: Trial, rows: Any) -> Any:
    """Counts of the genes that our models would read, with batch and label as text."""
    atlas = trial.atlas
    adata = atlas.to_anndata(rows)[:, trial.genes].copy()
    names = np.array([*atlas.batch_names, "one"], dtype=object)
    adata.obs["batch"] = names[np.asarray(atlas.batch)[rows] if atlas.batch_names else -1]
    adata.obs["label"] = np.array(atlas.label_names, dtype=object)[np.asarray(atlas.label)[rows]]
    return adata


def _joined(trial: Trial, of_training: Any, of_held: Any) -> Any:
    latent = np.empty((len(trial.rows), of_training.shape[1]), np.float32)
    latent[trial.training], latent[trial.held] = of_training, of_held
    return latent


def _trainer(trial: Trial) -> dict[str, Any]:
    kind = "gpu" if trial.device.startswith("cuda") else trial.device
    return {"accelerator": kind, "enable_progress_bar": False}


@contextmanager
def _quiet(tools: Any, seed: int) -> Iterator[None]:
    """Seeded, without what Lightning and scvi-tools advise at every call."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric")]
    before = [logger.level for logger in loggers]
    # scvi-tools prints why it stops early: a caller's stdout may hold one JSON object and nothing else.
    with warnings.catch_warnings(action="ignore"), redirect_stdout(sys.stderr):
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        tools.settings.seed = seed
        tools.settings.verbosity = 40
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
