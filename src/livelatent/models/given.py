"""Whether a caller gave a model and an atlas, or something that stands for one."""

from livelatent.atlas.atlas import Atlas
from livelatent.models.model import Model

__all__ = ["check_atlas", "check_model"]


def check_atlas(given: object, wanted_by: str) -> None:
    """Raise, with the way out, where no atlas was given: a path, say, or an AnnData.

    Raises
    ------
    TypeError
        If it is no `Atlas`.
    """
    if isinstance(given, Atlas):
        return
    if type(given).__name__ == "AnnData":
        way_out = 'Write it to a file, and open that with `ll.open_foreign("cells.h5ad")` or `ll.ingest(...)`.'
    else:
        way_out = 'Open a store with `ll.Atlas.open("atlas.zarr")`, or another file with `ll.open_foreign(...)`.'
    raise TypeError(f"{wanted_by} reads an Atlas; got {type(given).__name__} ({str(given)[:60]!r}). {way_out}")


def check_model(given: object, wanted_by: str) -> None:
    """Raise, with the way out, where no model was given: the folder of one, say.

    Raises
    ------
    TypeError
        If it is no `Model`.
    """
    if not isinstance(given, Model):
        raise TypeError(
            f"{wanted_by} asks a model; got {type(given).__name__} ({str(given)[:60]!r}). Load one with "
            "`ll.load_model(FOLDER)`; of a run it is `run.model`."
        )
