"""A model trained as far as its latent: what cross-validation and held-back batches need, without a run's folder."""

from collections.abc import Callable

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.models.model import Model
from livelatent.train.devices import cpu_threads
from livelatent.train.loop import default_stream, stage_rows, train
from livelatent.train.state import TrainState

__all__ = ["train_latent"]


def train_latent(
    model: Model,
    atlas: Atlas,
    rows: Rows,
    *,
    epochs: int | None = None,
    max_epochs: int | None = None,
    device: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> None:
    """Train `model` on the training split of `rows`; a last stage that only adds a head to the latent is left out.

    Parameters
    ----------
    epochs
        Of the longest stage; None keeps the model's own.
    max_epochs
        None, or where to cut the longest stage.
    progress
        Called with the share done.
    """
    own = max(stage.epochs for stage in model.stages)
    if max_epochs is not None:
        epochs = min(own if epochs is None else epochs, max_epochs)
    state = TrainState.start(model, epochs)
    n_epochs = sum(stage.epochs for stage in state.stages if stage.moves_latent)
    stream = default_stream(len(stage_rows(model, atlas, state.stages[0], "train", rows)))
    with cpu_threads(model, stream.minibatch_cells):
        for step in train(model, atlas, stream, rows=rows, device=device, state=state):
            if state.stage is None or not any(stage.moves_latent for stage in state.stages[state.stage_index :]):
                break
            if progress is not None:
                progress(min(step.epoch / max(n_epochs, 1), 1.0))
    model.eval()
