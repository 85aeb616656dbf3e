"""The classifier of Andrekson (2024): two hidden layers on a frozen latent, and a search for their shape."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import LabelError
from livelatent.extras import how_to_install
from livelatent.judge.held_back import stratified_folds
from livelatent.judge.logistic import log_softmax

__all__ = ["Head", "HeadConfig", "fit_head", "tune_head"]

HELD_SHARE = 5
"""One cell in five is held back, to stop by and to choose by: 80:20 as in the thesis."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Section 2.6 of Andrekson (2024) and its code."""

    widths: tuple[int, int] = (512, 512)
    dropout: float = 0.2
    learning_rate: float = 1e-3
    weight_decay: float = 5e-5
    epochs: int = 50
    patience: int = 20
    minibatch_cells: int = 256


@dataclass(frozen=True)
class Head:
    """Three linear maps with ReLU between; gives logits, as float32 arrays that can be kept without pickle."""

    weight_1: Float[ndarray, "wide latent"]
    bias_1: Float[ndarray, " wide"]
    weight_2: Float[ndarray, "narrow wide"]
    bias_2: Float[ndarray, " narrow"]
    weight_3: Float[ndarray, "label narrow"]
    bias_3: Float[ndarray, " label"]
    accuracy: float
    """Of the cells held back while it was fitted."""

    def log_proba(self, latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell label"]:
        """Log probabilities of each label."""
        hidden = np.maximum(latent @ self.weight_1.T + self.bias_1, 0)
        hidden = np.maximum(hidden @ self.weight_2.T + self.bias_2, 0)
        return log_softmax(np.asarray(hidden @ self.weight_3.T + self.bias_3, np.float64))


def fit_head(
    latent: Float[ndarray, "cell latent"],
    label: Int[ndarray, " cell"],
    n_labels: int,
    config: HeadConfig | None = None,
    *,
    seed: int = 0,
) -> Head:
    """Train the two-layer head by cross-entropy on logits; cells of label -1 are left out.

    Parameters
    ----------
    latent
        Of the training cells, as `embed` gives them (`stretched`, where they are of length 1).

    Raises
    ------
    LabelError
        If fewer than two types have a cell.

    Notes
    -----
    Adam with the rate on a cosine, as the encoder; a fifth of the cells, stratified by type, is held back, and the
    weights of their best epoch are kept. The thesis's own code takes a softmax before the cross-entropy; here the
    logits go in, which leaves accuracy as it is and makes energies mean something.
    """
    import torch
    from torch import nn

    config = config or HeadConfig()
    known = np.flatnonzero(label >= 0)
    if len(np.unique(label[known])) < 2:
        raise LabelError(f"a classifier needs labelled cells of two types; got {len(np.unique(label[known]))}.")
    fold = stratified_folds(label[known], HELD_SHARE, seed=seed)
    x, y = (
        torch.from_numpy(np.ascontiguousarray(latent[known], np.float32)),
        torch.from_numpy(label[known].astype("i8")),
    )
    train, held = np.flatnonzero(fold > 0), np.flatnonzero(fold == 0)
    # What is drawn here follows from the seed, and the caller's random state is left alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wide, narrow = config.widths
        layers = (nn.Linear(x.shape[1], wide), nn.Linear(wide, narrow), nn.Linear(narrow, n_labels))
        drop = nn.Dropout(config.dropout)
        network = nn.Sequential(layers[0], nn.ReLU(), drop, layers[1], nn.ReLU(), drop, layers[2])
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
        best, since, kept, accuracy = np.inf, 0, network.state_dict(), 0.0
        for _ in range(config.epochs):
            network.train()
            order = torch.from_numpy(train)[torch.randperm(len(train))]
            for cells in torch.split(order, config.minibatch_cells):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(x[cells]), y[cells]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            rate.step()
            network.eval()
            with torch.no_grad():
                logits = network(x[held])
                loss = float(nn.functional.cross_entropy(logits, y[held]))
            since += 1
            if loss < best:
                best, since, accuracy = loss, 0, float((logits.argmax(1) == y[held]).float().mean())
                kept = {name: value.clone() for name, value in network.state_dict().items()}
            if since >= config.patience:
                break
        network.load_state_dict(kept)
    arrays: dict[str, Any] = {}
    for number, layer in enumerate(layers, start=1):
        arrays[f"weight_{number}"] = layer.weight.detach().numpy().copy()
        arrays[f"bias_{number}"] = layer.bias.detach().numpy().copy()
    return Head(**arrays, accuracy=accuracy)


def tune_head(
    latent: Float[ndarray, "cell latent"],
    label: Int[ndarray, " cell"],
    n_labels: int,
    *,
    n_trials: int = 100,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> tuple[Head, HeadConfig]:
    """Search widths, learning rate and dropout by Optuna, and give the head that was most often right.

    Parameters
    ----------
    n_trials
        The thesis has 100.

    Raises
    ------
    ImportError
        If Optuna, the extra `tune`, is not installed.
    LabelError
        If fewer than two types have a cell.

    Notes
    -----
    Each trial is judged by the same fifth of the cells, so the accuracy of the best is a little too high. A fixed head
    did as well as 100 trials: search where the latent is an odd one.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            f"Searching for a classifier's shape needs Optuna, which is not installed: {how_to_install('tune')}"
        ) from error

    best: tuple[Head, HeadConfig] | None = None

    def objective(trial: Any) -> float:
        nonlocal best
        config = HeadConfig(
            widths=(
                trial.suggest_int("wide", 32, 1024, log=True),
                trial.suggest_int("narrow", 32, 1024, log=True),
            ),
            dropout=trial.suggest_float("dropout", 0.0, 0.5),
            learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        )
        head = fit_head(latent, label, n_labels, config, seed=seed)
        if best is None or head.accuracy > best[0].accuracy:
            best = head, config
        if progress is not None:
            progress((trial.number + 1) / n_trials)
        return head.accuracy

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        # What is known to do well is tried first.
        default = asdict(HeadConfig())
        study.enqueue_trial(
            {
                "wide": default["widths"][0],
                "narrow": default["widths"][1],
                "dropout": default["dropout"],
                "learning_rate": default["learning_rate"],
            }
        )
        study.optimize(objective, n_trials=n_trials)
    finally:
        optuna.logging.set_verbosity(before)
    assert best is not None
    return best
