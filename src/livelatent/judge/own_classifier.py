"""What the classifier that a model was trained with says of its latents."""

from typing import Any

import numpy as np
import torch

from livelatent.arrays import Float, ndarray
from livelatent.errors import ModelError
from livelatent.models.model import Model
from livelatent.models.weights import copy_to

__all__ = ["check_classifier", "own_logits"]


def own_logits(model: Model, latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell label"]:
    """Logits of `model.label_names`, float64; the model, which may be in training, is left as it was.

    Raises
    ------
    ModelError
        If the model has no classifier.
    """
    check_classifier(model)
    twin: Any = copy_to(model, torch.device("cpu"))
    with torch.inference_mode():
        logits: ndarray = twin.logits(torch.from_numpy(np.ascontiguousarray(latent))).double().numpy()
    return logits


def check_classifier(model: Model) -> None:
    """Raise ModelError where a model has none; nothing is computed for it."""
    if getattr(model, "logits", None) is None:
        raise ModelError(
            f"{type(model).__name__} has no classifier of its own (no `logits`). Name cells and find new ones by the "
            'other methods (method="stack" of `annotate`, "combined" of `find_novel`), or fit one on its latents with '
            "`livelatent.judge.head.fit_head`."
        )
