"""The cells that a view is given to show: an AnnData, of which it must be told what is what, or an atlas that knows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livelatent.atlas.anndata_atlas import AnnDataAtlas
from livelatent.atlas.atlas import Atlas
from livelatent.errors import NothingToSeeError

__all__ = ["is_anndata", "named_arguments", "shown_cells"]


def shown_cells(
    cells: Any,
    *,
    label: str | None = None,
    batch: str | None = None,
    unlabelled: Sequence[str] = (),
    counts: str | None = None,
    journal: Any = None,
) -> Atlas:
    """An Atlas as it is; an AnnData as the atlas that these columns, names, counts and folder make of it.

    Raises
    ------
    ColumnError
        If obs has no such column, or nothing in it.
    SourceError
        If there are no cells, or two of one name.
    NothingToSeeError
        If it is neither; or any of these is said of an Atlas.
    """
    if isinstance(cells, Atlas):
        given = named_arguments(label=label, batch=batch, unlabelled=tuple(unlabelled), counts=counts, journal=journal)
        if given:
            raise NothingToSeeError(
                f"{given}: for an AnnData only. An Atlas has its label and batch columns and its counts from `ingest` "
                "(or `open_foreign`), and its journal from `Atlas.open(path, journal=FOLDER)`. Leave it out."
            )
        return cells
    if not is_anndata(cells):
        raise NothingToSeeError(f"cells of an AnnData or an Atlas can be shown; got {type(cells).__name__}.")
    folder = None if journal is None else Path(journal).absolute()
    return AnnDataAtlas(cells, label=label, batch=batch, unlabelled=unlabelled, counts=counts, journal=folder)


def is_anndata(what: Any) -> bool:
    """Whether it is an AnnData, in memory or backed."""
    return hasattr(what, "obsm") and hasattr(what, "obs_names")


def named_arguments(**arguments: Any) -> str:
    """Those that were given, for a message: neither None nor empty."""
    # An AnnData can't be compared with anything.
    given = (
        name for name, value in arguments.items() if not (value is None or (isinstance(value, tuple) and not value))
    )
    return ", ".join(f"`{name}`" for name in given)
