"""One look at a model: the panel embedded, laid out, and compared with its prototypes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float, Int
from livelatent.atlas.atlas import Atlas
from livelatent.judge.prototypes import Prototypes, fit_prototypes
from livelatent.session.board import Board
from livelatent.session.board_flag import BoardFlag
from livelatent.session.moving_map import Layout, MovingMap
from livelatent.session.panel import Panel
from livelatent.session.prototype_table import Row, prototype_view
from livelatent.session.state import LatentMap, PrototypeView

__all__ = [
    "Eye",
    "Look",
    "Naming",
    "Predicted",
    "centroids_of",
    "colours_of",
    "empty_map",
    "labels_of",
    "latent_map",
    "look_at",
    "nearest_prototype",
    "prototypes_of",
]


MOST_FLAGS = 100
"""Of thousands of flags the table of distances would be a hundred megabytes, and nobody would read it."""


@runtime_checkable
class Eye(Protocol):
    """How cells look at one moment: to a model that nobody trains, or in a latent that was given."""

    @property
    def step(self) -> int:
        """Of the moment."""
        ...

    def embed(self, atlas: Atlas, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """The latent of sorted rows."""
        ...

    def sha256(self) -> str:
        """What a label that is given now is said to rest on."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """A type for each cell of the panel."""

    names: tuple[str, ...]
    code: Int[ndarray, " cell"]
    probability: Float[ndarray, " cell"] | None = None
    """The classifier's; None where the nearest prototype predicts."""

    @classmethod
    def joined(cls, parts: Sequence["Predicted"], names: tuple[str, ...] = ()) -> "Predicted":
        """Of all parts' cells in their order, over one list of names, which begins with these."""
        every = tuple(dict.fromkeys([*names, *(name for part in parts for name in part.names)]))
        code_of = {name: code for code, name in enumerate(every)}
        codes, known = [np.zeros(0, np.int64)], [part.probability for part in parts if part.probability is not None]
        for part in parts:
            codes.append(np.array([*(code_of[name] for name in part.names), -1], np.int64)[part.code])
        is_known = bool(parts) and len(known) == len(parts)
        return cls(names=every, code=np.concatenate(codes), probability=np.concatenate(known) if is_known else None)


Naming = Callable[[Atlas, Int[ndarray, " cell"]], Predicted]
"""What a classifier calls sorted rows of an atlas."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What the panel's cells look like to a model at one step."""

    step: int
    latent: Float[ndarray, "cell latent"]
    layout: Layout
    prototypes: Prototypes
    """Of the panel's labelled cells."""
    predicted: Predicted
    made_at: float

    @property
    def panel(self) -> Panel:
        """The cells looked at."""
        return self.layout.panel


def look_at(eye: Eye, atlas: Atlas, query: Atlas | None, panel: Panel, moving_map: MovingMap) -> Look:
    """Embed the panel, lay it out, and find each cell's nearest prototype."""
    parts = [eye.embed(atlas, panel.rows)]
    if query is not None and len(panel.query_rows):
        parts.append(eye.embed(query, panel.query_rows))
    latent = np.concatenate(parts).astype(np.float32)
    own = latent[: len(panel.rows)]
    prototypes = fit_prototypes(own, atlas.label[panel.rows], tuple(atlas.label_names), panel.rows)
    return Look(
        step=eye.step,
        latent=latent,
        layout=moving_map.next(latent, panel),
        prototypes=prototypes,
        predicted=nearest_prototype(prototypes, latent),
        made_at=time.monotonic(),
    )


def centroids_of(look: Look) -> dict[str, Float[ndarray, " latent"]]:
    """The centroid of each type in the panel, by name."""
    return dict(zip(look.prototypes.names, look.prototypes.centroid, strict=True))


def nearest_prototype(prototypes: Prototypes, latent: Float[ndarray, "cell latent"]) -> Predicted:
    """The type that each cell is fewest radii away from: the prediction while there is no classifier."""
    if not len(prototypes):
        return Predicted(names=(), code=np.full(len(latent), -1))
    index, _, _ = prototypes.nearest(latent)
    return Predicted(names=tuple(prototypes.names), code=index)


def latent_map(look: Look, atlas: Atlas, query: Atlas | None, board: Board) -> LatentMap:
    """The map of a look, with what the board knows of each cell."""
    panel, places = look.panel, _places(look, atlas, query)
    label, label_names = _merged([(one.label[rows], tuple(one.label_names)) for one, rows in places])
    batch, batch_names = _merged([(one.batch[rows], tuple(one.batch_names)) for one, rows in places])
    given = board.ledger.given()
    given_names = tuple(sorted({str(name) for hand in given for name in hand if name is not None}))
    code_of = {name: code for code, name in enumerate(given_names)}
    p_value = np.full(len(panel), np.nan, np.float32)
    flag = np.zeros(len(panel), np.int64)
    given_code = np.full(len(panel), -1)
    start = 0
    for index, (_, rows) in enumerate(places):
        here = slice(start, start + len(rows))
        start += len(rows)
        novelty = board.novelties[index]
        if novelty is not None:
            p_value[here] = _at(rows, np.asarray(novelty.rows), np.asarray(novelty.p_value), np.nan)
        for one in board.flags:
            if int(one.is_query) == index:
                flag[here][np.isin(rows, one.rows)] = one.id
        given_code[here] = [code_of.get(name, -1) for name in given[index][rows]]
    return LatentMap(
        panel=panel.number,
        layout=look.layout.number,
        moved=look.layout.moved,
        age_s=time.monotonic() - look.made_at,
        n_total=atlas.n_cells + (0 if query is None else query.n_cells),
        xy=look.layout.xy,
        cell=panel.cell,
        is_query=panel.is_query,
        label=label,
        predicted=look.predicted.code,
        batch=batch,
        given=given_code,
        p_value=p_value,
        flag=flag,
        label_names=label_names,
        predicted_names=look.predicted.names,
        batch_names=batch_names,
        given_names=given_names,
        label_colours=colours_of(atlas, atlas.label_column, label_names),
        batch_colours=colours_of(atlas, atlas.batch_column, batch_names),
    )


def colours_of(atlas: Atlas, column: str, names: Sequence[str]) -> tuple[str | None, ...]:
    """The atlas's own colours of these values of a column, None for each that has none; empty where there are none."""
    own = atlas.colours_of(column) if column else {}
    return tuple(own.get(name) for name in names) if any(name in own for name in names) else ()


def labels_of(look: Look, atlas: Atlas, query: Atlas | None) -> Int[ndarray, " cell"]:
    """Label code of each cell of the panel over the names of both atlases, -1 for none."""
    parts = [(one.label[rows], tuple(one.label_names)) for one, rows in _places(look, atlas, query)]
    return _merged(parts)[0]


def _places(look: Look, atlas: Atlas, query: Atlas | None) -> list[tuple[Atlas, ndarray]]:
    own = [(atlas, look.panel.rows)]
    return own if query is None else [*own, (query, look.panel.query_rows)]


def empty_map(n_total: int) -> LatentMap:
    """The map before the first look."""
    none = np.zeros(0, np.int64)
    return LatentMap(
        panel=0,
        layout=0,
        moved=None,
        age_s=0.0,
        n_total=n_total,
        xy=np.zeros((0, 2), np.float32),
        cell=none,
        is_query=none,
        label=none,
        predicted=none,
        batch=none,
        given=none,
        p_value=np.zeros(0, np.float32),
        flag=none,
    )


def _merged(parts: Sequence[tuple[ndarray, tuple[str, ...]]]) -> tuple[ndarray, tuple[str, ...]]:
    """Codes of several atlases over one list of names; -1 where an atlas has no names (no such column)."""
    names = tuple(dict.fromkeys(name for _, some in parts for name in some))
    code_of = {name: code for code, name in enumerate(names)}
    merged = []
    for codes, some in parts:
        table = np.array([code_of[name] for name in some] + [-1])
        merged.append(table[np.where(codes < len(some), codes, -1)])
    return np.concatenate(merged), names


def _at(rows: ndarray, known: ndarray, values: ndarray, missing: float) -> ndarray:
    """The values of `rows` in a table whose rows are `known`."""
    result = np.full(len(rows), missing, np.float32)
    if len(known):
        order = np.argsort(known, kind="stable")
        place = np.minimum(np.searchsorted(known, rows, sorter=order), len(known) - 1)
        found = known[order[place]] == rows
        result[found] = values[order[place[found]]]
    return result


def prototypes_of(
    look: Look,
    atlas: Atlas,
    query: Atlas | None,
    board: Board,
    before: dict[str, ndarray] | None,
    since: tuple[str, dict[str, ndarray]] | None = None,
) -> PrototypeView:
    """The table of prototypes of a look; counts are of the whole atlas, without what QC masks.

    Parameters
    ----------
    before
        Centroids by name at the look before.
    since
        When, in words, and the centroids then: each prototype's own drift is told since.
    """
    counts = np.bincount(atlas.label[atlas.rows(labelled=True)], minlength=len(atlas.label_names))
    code_of = {name: code for code, name in enumerate(atlas.label_names)}
    names = np.asarray(atlas.obs.index)
    types = [
        Row(
            name=str(name),
            count=int(counts[code_of[name]]),
            radius=float(look.prototypes.radius[index]),
            spread=float(look.prototypes.spread[index]),
            medoid=str(names[int(look.prototypes.medoid_cell[index])]),
            centroid=look.prototypes.centroid[index],
        )
        for index, name in enumerate(look.prototypes.names)
    ]
    every = board.flags
    largest = {flag.id for flag in sorted(every, key=lambda flag: -len(flag.rows))[:MOST_FLAGS]}
    kept = [flag for flag in every if flag.id in largest]
    flags = [row for flag in kept if (row := _flag_row(look, flag, query if flag.is_query else atlas))]
    view = prototype_view(types, flags, before, since)
    return replace(view, n_left_out=len(every) - len(kept))


def _flag_row(look: Look, flag: BoardFlag, atlas: Atlas | None) -> Row | None:
    """A flag among the prototypes, from its cells in the panel as the model sees them now."""
    panel = look.panel
    own = np.flatnonzero((panel.is_query == int(flag.is_query)) & np.isin(panel.cell, flag.rows))
    if not len(own) or atlas is None:
        return None
    points = look.latent[own].astype(np.float64)
    centroid = points.mean(axis=0)
    distance = np.linalg.norm(points - centroid, axis=1)
    medoid = int(panel.cell[own[distance.argmin()]])
    return Row(
        name=f"flag {flag.id}",
        count=len(flag.rows),
        radius=float(np.quantile(distance, 0.95)),
        spread=float(np.sqrt(np.mean(distance**2))),
        medoid=str(atlas.obs.index[medoid]),
        centroid=centroid,
    )
