"""What a browser may ask about colours and selections, and the label that a selection gets."""

from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import numpy as np

from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError
from livelatent.session.board import Board
from livelatent.session.choice import OF_PROTOTYPES, Resolved, Resolver, check_everywhere, checked_parts
from livelatent.session.commands import Act, CommandError, text, whole
from livelatent.session.ledger import Saved
from livelatent.session.sight import Sight
from livelatent.session.suggest import Catalogue
from livelatent.session.values import Values

__all__ = ["label_by_parts", "select_acts"]


@runtime_checkable
class Selects(Protocol):
    """What is asked: a `LiveSession`."""

    board: Board
    sight: Sight
    values: Values
    atlas: Atlas
    query: Atlas | None

    @property
    def catalogue(self) -> Catalogue:
        """Every name there is to colour by."""
        ...


def select_acts(session: Selects) -> dict[str, Act]:
    """The commands of this file by their names."""
    return {
        "colour": lambda args: _colour(session, args),
        "suggest": lambda args: _suggest(session, args),
        "cell": lambda args: _cell(session, args),
        "count": lambda args: _count(session, args),
    }


def _colour(session: Selects, args: dict[str, Any]) -> dict[str, Any]:
    by = text(args, "by")
    if by not in ("", "gene", "obs", "prototype"):
        raise CommandError(f"cells are coloured by a gene, an obs column or a prototype; got {by[:80]!r}.")
    session.values.fetch(by, text(args, "name") if by else "")
    return {"state": session.values.held.state}


def _suggest(session: Selects, args: dict[str, Any]) -> dict[str, Any]:
    look = session.sight.look
    matches, n = session.catalogue.search(text(args, "text"), () if look is None else look.prototypes.names)
    return {"matches": matches, "n": n}


def _cell(session: Selects, args: dict[str, Any]) -> dict[str, Any]:
    """What the page does not hold of a cell on the map."""
    is_query, row = whole(args, "is_query"), whole(args, "row")
    look, atlas = session.sight.look, session.query if is_query else session.atlas
    if look is None or atlas is None:
        raise CommandError("there is no such cell on the map.")
    found = np.flatnonzero((look.panel.cell == row) & (look.panel.is_query == is_query))
    if not len(found):
        raise CommandError("there is no such cell on the map.")
    at = int(found[0])
    predicted = session.sight.predicted(look)
    facts: dict[str, Any] = {"name": str(atlas.obs.index[row]), "nearest": None, "radii": None, "probability": None}
    if len(look.prototypes):
        index, _, radii = look.prototypes.nearest(look.latent[at : at + 1])
        facts |= {"nearest": look.prototypes.names[int(index[0])], "radii": float(radii[0])}
    if predicted.probability is not None:
        facts["probability"] = float(predicted.probability[at])
    return facts


def _count(session: Selects, args: dict[str, Any]) -> dict[str, Any]:
    selector = args.get("selector")
    if not isinstance(selector, dict):
        raise CommandError("`selector` must be an object with `parts`.")
    found = _counted(session, checked_parts(selector))
    if isinstance(found, float):
        return {"state": "counting", "share": found}
    sizes = [len(rows) for rows in found.chosen]
    return {"state": "done", "n_cells": sum(sizes), "n_by_atlas": sizes}


def _counted(session: Selects, parts: list[dict[str, Any]]) -> Resolved | float:
    check_everywhere(parts)
    resolver = Resolver(session.sight, session.board, session.values)
    # A new threshold or a recomputed flag is another question, though its parts read the same.
    key = [parts, session.board.judged, id(session.atlas)]
    return session.values.count(key, lambda told: resolver.of_all(parts, told))


def label_by_parts(
    session: Selects, name: str | None, selector: dict[str, Any], cells: list[list[int]] | None
) -> dict[str, Any]:
    """Name what the parts select: of whole atlases, once counted, or the cells on the map that the page sent.

    Where the page's cells are not those that its parts give, the cells that the person saw are named, and the journal
    says that the parts are not exact.
    """
    parts = checked_parts(selector)
    if selector.get("scope") == "all":
        found = _counted(session, parts)
        if isinstance(found, float):
            raise CommandError("these cells are still being counted. Name them when their number is known.")
        saved = _labelled(session, found, [rows.tolist() for rows in found.chosen], name, parts)
        return asdict(saved)
    if cells is None:
        raise CommandError("`cells` must be a list of [is_query, row].")
    try:
        found = Resolver(session.sight, session.board, session.values).on_map(parts, whole(selector, "layout"))
    except (CommandError, LabelError):
        # What the parts refer to is gone; the cells that were seen are as good a choice as ever.
        found = Resolved(chosen=(), how={"scope": "panel", "parts": parts, "exact": False})
    sent = [np.unique(np.asarray(rows, np.int64)) for rows in cells]
    same = len(found.chosen) == len(sent) and all(map(np.array_equal, found.chosen, sent))
    found.how["exact"] = same
    return asdict(_labelled(session, found, cells, name, parts))


def _labelled(
    session: Selects, found: Resolved, rows: list[list[int]], name: str | None, parts: list[dict[str, Any]]
) -> Saved:
    first = parts[0]
    how: dict[str, Any] = {"kind": first.get("kind", "cells")}
    if first.get("kind") in ("lasso", "box"):
        # As earlier versions wrote it, for whoever reads the journal by those words.
        layout = first["layout"]
        sha256 = session.sight.layout_sha256(layout)
        how |= {"polygon": first["polygon"], "layout": layout, "layout_sha256": sha256}
    elif first.get("kind") in OF_PROTOTYPES:
        how["prototype"] = first["name"]
    return session.board.ledger.label_rows(rows, name, {**how, **found.how}, found.evidence)
