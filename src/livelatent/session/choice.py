"""A selector of a page, checked and resolved: which cells, how the journal says so, and what it must keep for that."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.session.board import Board
from livelatent.session.commands import CommandError, number, text, whole
from livelatent.session.evidence import Arrays, evidence_sha256
from livelatent.session.expression import gene_values
from livelatent.session.selection import Chosen, combined, members_of, shown_cells, table_gate
from livelatent.session.sight import Sight
from livelatent.session.values import Values, obs_values

__all__ = [
    "GATES",
    "OF_PROTOTYPES",
    "Resolved",
    "Resolver",
    "check_everywhere",
    "checked_parts",
    "gene_everywhere",
    "rows_sha256",
]

DRAWN = ("lasso", "box")
GATES = ("novelty", "gene", "obs", "prototype")
OF_PROTOTYPES = ("prototype_cells", "prototype_nearest")
EVERYWHERE = ("flag", "novelty", "gene", "obs")
"""Kinds that mean something for cells that are not on the map."""
MODES = ("replace", "add", "subtract", "invert")
MOST_PARTS, MOST_CORNERS = 1_000, 100_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Resolved:
    """What a selector comes to."""

    chosen: Chosen
    how: dict[str, Any]
    """For the journal: parts, each with the sha256 of what it refers to."""
    evidence: dict[str, Arrays] = field(default_factory=dict)
    """Those, by their sha256."""


def checked_parts(selector: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a selector with what their kinds take, and nothing else.

    Raises
    ------
    CommandError
        If one is none.
    """
    parts = selector.get("parts")
    if not isinstance(parts, list) or not 0 < len(parts) <= MOST_PARTS:
        raise CommandError(f"`parts` must be a list of 1 to {MOST_PARTS} parts.")
    return [_part(part) for part in parts]


def _part(part: object) -> dict[str, Any]:
    if not isinstance(part, dict) or part.get("mode") not in MODES:
        raise CommandError(f"`parts` must be a list of parts whose `mode` is one of {', '.join(MODES)}.")
    mode, kind = part["mode"], part.get("kind")
    if mode == "invert":
        return {"mode": mode}
    if kind in DRAWN:
        return {"mode": mode, "kind": kind, "layout": whole(part, "layout"), "polygon": polygon(part.get("polygon"))}
    if kind == "flag":
        return {"mode": mode, "kind": kind, "flag": whole(part, "flag")}
    if kind in GATES:
        threshold, op = number(part, "threshold"), part.get("op")
        if op not in (">=", "<=") or not math.isfinite(threshold):
            raise CommandError("a gate has an `op`, >= or <=, and a `threshold` that is a number.")
        gate = {"mode": mode, "kind": kind, "op": op, "threshold": threshold}
        if kind != "novelty":
            gate |= {"name": text(part, "name"), "values": whole(part, "values")}
        return gate
    if kind == "prototype_cells":
        return {"mode": mode, "kind": kind, "name": text(part, "name")}
    if kind == "prototype_nearest":
        n, asked = whole(part, "n"), whole(part, "asked")
        if n < 1:
            raise CommandError(f"`n` nearest cells are at least 1; got {n}.")
        return {"mode": mode, "kind": kind, "name": text(part, "name"), "n": n, "asked": asked}
    raise CommandError(
        f"a part is of kind {', '.join((*DRAWN, 'flag', *GATES, *OF_PROTOTYPES))}; got {str(kind)[:80]!r}."
    )


def polygon(points: object) -> list[list[int | float]]:
    """Corners `[x, y]`."""
    if (
        not isinstance(points, list)
        or len(points) > MOST_CORNERS
        or not all(
            isinstance(point, list)
            and len(point) == 2
            and all(isinstance(x, int | float) and math.isfinite(x) for x in point)
            for point in points
        )
    ):
        raise CommandError("`polygon` must be a list of [x, y].")
    return points


def check_everywhere(parts: Sequence[Mapping[str, Any]]) -> None:
    """Refuse parts that mean nothing for cells that are not on the map.

    Raises
    ------
    CommandError
        If one of them is a lasso, a box or a prototype's cells.
    """
    if not all(part["mode"] == "invert" or part["kind"] in EVERYWHERE for part in parts):
        raise CommandError("a lasso, a box or a prototype's cells are about the cells on the map only.")


class Resolver:
    """Knows what parts refer to: layouts, flags, scores, and values that were fetched."""

    def __init__(self, sight: Sight, board: Board, values: Values) -> None:
        self.sight, self.board, self.values = sight, board, values

    @property
    def _places(self) -> list[Atlas]:
        return [self.sight.atlas] if self.sight.query is None else [self.sight.atlas, self.sight.query]

    def on_map(self, parts: Sequence[Mapping[str, Any]], layout: int) -> Resolved:
        """The cells shown that the parts select.

        Parameters
        ----------
        layout
            The layout that the page shows: its panel's cells are all that there is.

        Raises
        ------
        CommandError
            If what a part refers to is gone.
        """
        n_places = len(self._places)
        evidence: dict[str, Arrays] = {}
        within = _kept(evidence, self._layout(layout))
        cells = evidence[within]
        shown = shown_cells(cells["cell"], cells["is_query"], n_places)
        told = []
        for part in parts:
            if part["mode"] != "invert":
                part = {**part, "seen": _kept(evidence, self._seen(part, shown))}
            told.append(part)
        chosen = combined(told, lambda part: members_of(part, evidence[part["seen"]], n_places), lambda: shown)
        return Resolved(chosen=chosen, how={"scope": "panel", "within": within, "parts": told}, evidence=evidence)

    def of_all(self, parts: Sequence[Mapping[str, Any]], told: Callable[[float], bool]) -> Resolved:
        """The cells of whole atlases that the parts select; genes are read from the store.

        Parameters
        ----------
        told
            Of the share that is done; False ends it early, and nothing that comes out is of use.
        """
        check_everywhere(parts)
        places = self._places
        universe = tuple(np.flatnonzero(atlas.kept).astype(np.int64) for atlas in places)
        evidence: dict[str, Arrays] = {}
        said: list[dict[str, Any]] = []
        members: list[Chosen] = []
        for part in parts:
            one = dict(part)
            one.pop("values", None)
            if one["mode"] == "invert":
                members.append(())
            elif one["kind"] == "gene":
                one["mean_total"] = [atlas.mean_total for atlas in places]
                members.append(gene_everywhere(one, places, universe, told))
            else:
                # Only cells that pass are kept: a table of all would grow with the atlas.
                seen = _passing(one, self._seen(one, universe, everywhere=True))
                one["seen"] = _kept(evidence, seen)
                members.append(members_of(one, seen, len(places)))
            said.append(one)
        by_part = {id(one): found for one, found in zip(said, members, strict=True)}
        chosen = combined(said, lambda part: by_part[id(part)], lambda: universe)
        how = {"scope": "all", "universe_sha256": rows_sha256(universe), "parts": said}
        return Resolved(chosen=chosen, how=how, evidence=evidence)

    def _layout(self, number: int) -> Arrays:
        layout = self.sight.layout(number)
        if layout is None:
            raise CommandError("the map has moved on too far since this was selected. Select the cells again.")
        panel = layout.panel
        return {
            "cell": panel.cell.astype("<i8"),
            "is_query": panel.is_query.astype("u1"),
            "xy": np.ascontiguousarray(layout.xy, "<f4"),
        }

    def _seen(self, part: Mapping[str, Any], cells: Chosen, *, everywhere: bool = False) -> Arrays:
        """What a part refers to, of some cells."""
        match part["kind"]:
            case "lasso" | "box":
                return self._layout(part["layout"])
            case "flag":
                self.board.flag(part["flag"])
                return self.board.flag_table()
            case "prototype_cells":
                return _of_type(part["name"], self._places, cells)
            case "prototype_nearest":
                near = self.sight.near.answer(part["asked"])
                if near is None or near.name != part["name"]:
                    raise CommandError(f"what lay nearest to {part['name'][:80]!r} is gone. Select these cells again.")
                return near.seen
            case "novelty":
                table: dict[str, ndarray] = {}
                for place, novelty in enumerate(self.board.novelties):
                    if novelty is not None:
                        rows = np.asarray(novelty.rows, np.int64)
                        here = np.isin(rows, cells[place])
                        table[f"row_{place}"] = rows[here]
                        table[f"value_{place}"] = np.asarray(novelty.p_value, np.float32)[here]
                return table
            case "obs" if everywhere:
                places = list(zip(self._places, cells, strict=True))
                found = obs_values(part["name"], places)
                _check_numbers(found.get("names"), part["name"])
                return _table(cells, found["values"])
        held = self.values.set(part["values"])
        look = self.sight.look
        if held is None or (held.by, held.name) != (part["kind"], part["name"]) or look is None:
            raise CommandError(f"the values of {part['name'][:80]!r} are gone. Colour by them again.")
        _check_numbers(held.names, part["name"])
        panel = next(
            (one.panel for one in (look.layout, *self.sight.layouts()) if one.panel.number == held.panel), None
        )
        if panel is None:
            raise CommandError("the map has moved on too far since this was selected. Select the cells again.")
        return _table((panel.rows, panel.query_rows)[: len(self._places)], held.values)


def gene_everywhere(
    part: Mapping[str, Any], places: Sequence[Atlas], universe: Chosen, told: Callable[[float], bool] = lambda _: True
) -> Chosen:
    """The cells of whole atlases that a gene's gate lets pass, from the stores themselves."""
    n_all, before = max(1, sum(map(len, universe))), 0
    found = []
    for atlas, rows, mean_total in zip(places, universe, part["mean_total"], strict=True):
        start = before

        def goes_on(done: int, start: int = start) -> bool:
            return told((start + done) / n_all)

        values = gene_values(atlas, part["name"], rows, mean_total=mean_total, goes_on=goes_on)
        found.append(rows[table_gate(values, part["op"], part["threshold"])])
        before += len(rows)
    return tuple(found)


def rows_sha256(rows: Sequence[Rows]) -> str:
    """Which cells could have been chosen: another QC mask, or an appended store, has others."""
    digest = hashlib.sha256()
    for some in rows:
        digest.update(f"{len(some)}\n".encode() + np.ascontiguousarray(some, "<i8").tobytes())
    return digest.hexdigest()


def _of_type(name: str, places: Sequence[Atlas], cells: Chosen) -> Arrays:
    """The cells that carry a type's name, of each place."""
    table: dict[str, ndarray] = {}
    for place, (atlas, rows) in enumerate(zip(places, cells, strict=True)):
        names = np.asarray(atlas.label_names, object)
        table[f"row_{place}"] = rows[np.isin(atlas.label[rows], np.flatnonzero(names == name))].astype("<i8")
    return table


def _table(cells: Chosen, values: ndarray) -> Arrays:
    """Values behind one another, place by place, as a table of each place; what has no value is left out."""
    table: dict[str, ndarray] = {}
    start = 0
    for place, rows in enumerate(cells):
        own = np.asarray(values[start : start + len(rows)], np.float32)
        start += len(rows)
        table[f"row_{place}"] = rows[~np.isnan(own)].astype("<i8")
        table[f"value_{place}"] = own[~np.isnan(own)]
    return table


def _passing(part: Mapping[str, Any], seen: Arrays) -> Arrays:
    """Only the cells of a table that pass."""
    table: dict[str, ndarray] = {}
    for name, rows in seen.items():
        if name.startswith("row_"):
            kind = "flag" if part["kind"] == "flag" else "value"
            values = seen[f"{kind}_{name[4:]}"]
            is_in = values == part["flag"] if kind == "flag" else table_gate(values, part["op"], part["threshold"])
            table |= {name: rows[is_in], f"{kind}_{name[4:]}": values[is_in]}
    return table


def _check_numbers(names: object, name: str) -> None:
    if names is not None:
        raise CommandError(f"{name[:80]!r} holds names, and a gate takes numbers.")


def _kept(evidence: dict[str, Arrays], arrays: Arrays) -> str:
    sha256 = evidence_sha256(arrays)
    evidence[sha256] = arrays
    return sha256
