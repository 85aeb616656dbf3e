"""The atlas that a model was trained on, where it still is."""

from livelatent.atlas.atlas import Atlas
from livelatent.errors import LivelatentError, ModelError
from livelatent.models.model import Model

__all__ = ["model_atlas"]


def model_atlas(model: Model, why: str, way_out: str) -> Atlas:
    """Open the store at `model.atlas_path`.

    Parameters
    ----------
    why, way_out
        What the error says before and after the reason: what the atlas is wanted for, and what to do without.

    Raises
    ------
    ModelError
        If the model names no atlas, or it can't be opened.
    """
    try:
        if not model.atlas_path:
            raise ModelError("the model names none")
        return Atlas.open(model.atlas_path)
    except (LivelatentError, OSError) as error:
        raise ModelError(f"{why}, because its atlas can't be opened ({error}). {way_out}") from error
