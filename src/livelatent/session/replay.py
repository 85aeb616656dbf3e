"""A label's cells, found again from how the journal says that they were chosen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.entries import Entry
from livelatent.errors import LabelError
from livelatent.session.choice import gene_everywhere, rows_sha256
from livelatent.session.evidence import load_evidence
from livelatent.session.selection import Chosen, combined, members_of, shown_cells

__all__ = ["can_replay", "replay"]


def can_replay(entry: Entry) -> bool:
    """Whether the label was chosen by a rule (a lasso, a gate, a flag), and not cell by cell."""
    parts = entry.how.get("parts")
    is_whole = isinstance(parts, list) and all(
        isinstance(part, dict) and (part.get("mode") == "invert" or "seen" in part or "mean_total" in part)
        for part in parts
    )
    return bool(parts) and is_whole and entry.how.get("exact", True) is True


def replay(entry: Entry, places: Sequence[Atlas], journal: Path) -> Chosen:
    """The cells that the label's selector names, of each place.

    Parameters
    ----------
    places
        The run's atlas and, where there was one, the query, as when the label was given.
    journal
        The folder of the journal that holds the entry: what it was chosen by lies there too.

    Raises
    ------
    LabelError
        If the cells were chosen one by one, or the atlas is not what it was.
    StoreError
        If what it was chosen by is gone or damaged.
    """
    how: Mapping[str, Any] = entry.how
    if not can_replay(entry):
        raise LabelError(
            f"label {entry.seq} names its cells one by one ({how.get('kind', 'unknown')}), so there is nothing to "
            "replay: they stand in the journal."
        )
    n_places = len(places)

    def members(part: Mapping[str, Any]) -> Chosen:
        if part["kind"] == "gene" and "mean_total" in part:
            return gene_everywhere(part, places, universe())
        return members_of(part, load_evidence(journal, part["seen"]), n_places)

    def universe() -> Chosen:
        if how["scope"] == "panel":
            shown = load_evidence(journal, how["within"])
            return shown_cells(shown["cell"], shown["is_query"], n_places)
        everything = tuple(np.flatnonzero(atlas.kept).astype(np.int64) for atlas in places)
        if rows_sha256(everything) != how["universe_sha256"]:
            raise LabelError(
                f"label {entry.seq} was chosen among other cells: cells were appended, or QC masks others since. "
                "Those that it names stand in the journal."
            )
        return everything

    if how["scope"] == "flag":
        return members(how["parts"][0])
    return combined(how["parts"], members, universe)
