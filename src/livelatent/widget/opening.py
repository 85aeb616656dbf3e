"""What a view may be opened on: a run, something that trains elsewhere, or a latent that is there already."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from livelatent.atlas.anndata_atlas import AnnDataAtlas
from livelatent.atlas.atlas import Atlas
from livelatent.errors import ColumnError, LivelatentError
from livelatent.session.given import GivenLatent
from livelatent.session.watched import HasEye
from livelatent.train.run import Run

__all__ = ["NothingToSeeError", "opened"]


class NothingToSeeError(LivelatentError, TypeError):
    """A view was asked for of something that it can't show."""


def opened(
    what: Any,
    basis: str | None,
    *,
    label: str | None = None,
    batch: str | None = None,
    unlabelled: Sequence[str] = (),
    counts: str | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> Run | HasEye:
    """What is watched: `what` itself where it trains, else the latent `what.obsm[basis]`.

    Raises
    ------
    ColumnError
        If no `basis` is named, or there is none of that name; or an obs column is not there.
    SourceError
        If the latent has missing numbers, or there are no two cells, or two of one name.
    NothingToSeeError
        If it is none of all these.
    """
    if isinstance(what, Run) or hasattr(what, "eye"):
        asked = {"basis": basis, "label": label, "batch": batch, "counts": counts, "journal": journal}
        named = [name for name, value in asked.items() if value is not None] + ["unlabelled"] * bool(unlabelled)
        if named:
            raise NothingToSeeError(f"`{named[0]}` is for an AnnData's latent; a run knows its own. Leave it out.")
        return cast(Run | HasEye, what)
    is_adata = hasattr(what, "obsm") and hasattr(what, "obs_names")
    if not is_adata and not isinstance(what, Atlas):
        raise NothingToSeeError(
            f"a view is of a Run, of an AnnData with `basis=`, or of an Atlas with `basis=`; got {type(what).__name__}."
        )
    if basis is None:
        held = ", ".join(map(str, what.obsm)) if is_adata else "what `embed_into` wrote"
        raise ColumnError(f"which latent is to be shown? Name it: `basis=` one of obsm ({held or 'which is empty'}).")
    if isinstance(what, Atlas):
        if label is not None or batch is not None or journal is not None:
            raise NothingToSeeError("an Atlas knows its label and batch columns and its journal: leave these out.")
        return GivenLatent(what, basis)
    folder = None if journal is None else Path(journal).absolute()
    atlas = AnnDataAtlas(what, label=label, batch=batch, unlabelled=unlabelled, counts=counts, labels=folder)
    return GivenLatent(atlas, basis)
