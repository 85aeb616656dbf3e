"""Which cells a caller in Python means: a flag of `find_novel`, or rows, as what the board takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError
from livelatent.session.evidence import Arrays, evidence_sha256

__all__ = ["meant_by"]


def meant_by(
    what: Any, atlases: Sequence[Atlas], *, is_query: bool, target_fpr: float
) -> tuple[list[Any], dict[str, Any], dict[str, Arrays]]:
    """Rows of each atlas, how they were chosen, and what that refers to by its sha256.

    Parameters
    ----------
    what
        A flag that `find_novel` gave, rows, or a mask of the cells.
    is_query
        Whether rows are the query's; a flag knows by itself.

    Raises
    ------
    LabelError
        If they belong to no atlas of the view, or are neither rows nor a mask of its cells.
    """
    rows: list[Any] = [np.zeros(0, np.int64) for _ in atlases]
    if not hasattr(what, "rows"):
        if int(is_query) >= len(rows):
            raise LabelError("this view has no query, so there are no cells of it to name.")
        rows[int(is_query)] = _rows_of(what, atlases[int(is_query)])
        return rows, {"kind": "rows"}, {}
    place = _place_of(what, atlases)
    rows[place] = what.rows
    table: dict[str, ndarray] = {
        f"row_{place}": np.asarray(what.rows, np.int64),
        f"flag_{place}": np.ones(len(what.rows), np.int64),
    }
    seen = evidence_sha256(table)
    selector = {
        "kind": "flag",
        "p_value": float(what.p_value),
        "target_fpr": target_fpr,
        "scope": "flag",
        "parts": [{"mode": "replace", "kind": "flag", "flag": 1, "seen": seen}],
    }
    return rows, selector, {seen: table}


def _rows_of(what: Any, atlas: Atlas) -> ndarray:
    """Rows, or where a mask is True; nothing is made of a text that happens to read like a number."""
    array = np.asarray(what)
    is_mask = array.dtype == bool and array.shape == (atlas.n_cells,)
    if array.size and not is_mask and (array.dtype.kind not in "iu" or array.ndim > 1):
        raise LabelError(
            f"cells are named by a flag (one of `view.novel`, or its number), by rows as whole numbers, or by a mask "
            f"of all {atlas.n_cells:,} cells; got {array.dtype} of shape {array.shape}. Of cells by name: "
            "`view.label(adata.obs_names.isin(names), ...)`. Nothing was named."
        )
    return np.flatnonzero(array) if is_mask else np.atleast_1d(array)


def _place_of(flag: Any, atlases: Sequence[Atlas]) -> int:
    """Which atlas a flag's cells come from."""
    for index, one in enumerate(atlases):
        if flag.atlas is one or flag.atlas.uuid == one.uuid:
            return index
    names = " and ".join(one.path.name for one in atlases)
    raise LabelError(f"this flag's cells come from {flag.atlas.path.name}, and this view shows {names}.")
