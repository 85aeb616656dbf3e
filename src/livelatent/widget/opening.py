"""What a view may be opened on: a run, something that trains elsewhere, or a latent that is there already."""

import os
from collections.abc import Sequence
from typing import Any, cast

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.shown_cells import is_anndata, named_arguments, shown_cells
from livelatent.errors import ColumnError, NothingToSeeError
from livelatent.session.given import GivenLatent
from livelatent.session.watched import HasEye
from livelatent.train.run import Run

__all__ = ["opened"]


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
        If it is none of all these, or an argument is given that is not for it.
    """
    names = tuple(unlabelled)
    if isinstance(what, Run) or hasattr(what, "eye"):
        given = named_arguments(basis=basis, label=label, batch=batch, unlabelled=names, counts=counts, journal=journal)
        if given:
            raise NothingToSeeError(
                f"{given}: for an AnnData only (`basis` for an Atlas, too). A {type(what).__name__} knows its own "
                "cells and its latent. Leave it out."
            )
        return cast(Run | HasEye, what)
    if not is_anndata(what) and not isinstance(what, Atlas):
        raise NothingToSeeError(
            f"a view is of a Run, of an AnnData with `basis=`, or of an Atlas with `basis=`; got {type(what).__name__}."
        )
    if basis is None:
        held = ", ".join(map(str, what.obsm)) if is_anndata(what) else "what `embed_into` wrote"
        raise ColumnError(f"which latent is to be shown? Name it: `basis=` one of obsm ({held or 'which is empty'}).")
    cells = shown_cells(what, label=label, batch=batch, unlabelled=names, counts=counts, journal=journal)
    return GivenLatent(cells, basis)
