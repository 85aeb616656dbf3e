"""What a person sees, as plain values: topics, ready to be encoded, drawn or printed.

Nothing here knows of Jupyter, threads or torch. `widget/frames.py` turns these into bytes,
`session/picture.py` into a picture.
"""

import functools
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float, Int, UInt
from livelatent.session.selection import bounds_of

__all__ = [
    "MARKS",
    "NO_CODE",
    "Can",
    "CellValues",
    "Curve",
    "Curves",
    "FlagList",
    "FlagState",
    "FlagView",
    "LatentMap",
    "Mark",
    "Measure",
    "Moment",
    "Moments",
    "PrototypeView",
    "Settable",
    "Status",
    "StreamHealth",
    "Topic",
]

NO_CODE = -1
"""The code of "none" in every column of a `LatentMap`."""

MARKS = ("", "marks")
"""The key under which marks are counted among the points that are known already."""

FlagState = Literal["open", "named", "dismissed"]


@dataclass(frozen=True, kw_only=True)
class Can:
    """Which of the buttons would do something now."""

    start: bool = False
    pause: bool = False
    resume: bool = False
    stop: bool = False
    step: bool = False
    retrain: bool = False


@dataclass(frozen=True, kw_only=True)
class StreamHealth:
    """How the stream does, over about the last hundred minibatches."""

    cells_per_s: float
    wait_share: float
    types: float
    """Labels per minibatch."""
    batches: float
    """Batches (donors) per minibatch."""
    lone_share: float | None
    """Anchors without a positive, as a share of the minibatch; None where no term compares cells."""
    groups_ready: float
    """Share of the groups asked for ahead that were there in time."""
    bytes_read: int
    minibatch_cells: int


@dataclass(frozen=True, kw_only=True)
class Settable:
    """What may be set of the stage that trains."""

    stage: str
    learning_rate: float
    """The stage's own; its warm-up and cosine go on from there."""
    learning_rate_now: float
    weights: tuple[tuple[str, float, float], ...]
    """Name, weight in full, and weight as its schedule lets it count now."""
    n_changes: int = 0
    """Changes made so far, over all stages."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where the run stands, and what went wrong."""

    state: str = "ready"
    """As in the run's own status."""
    message: str = ""
    store: str = ""
    query: str | None = None
    stage: str = ""
    epoch: int | None = 0
    """These three are None where nothing trains."""
    epochs: int | None = 0
    step: int | None = 0
    cells_per_s: float | None = None
    wait_share: float | None = None
    n_cells: int = 0
    n_genes: int = 0
    can: Can = field(default_factory=Can)
    alarms: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Facts said once, such as that there is no batch column."""
    journal: str = ""
    vocabulary: tuple[str, ...] = ()
    n_saved: int = 0
    n_undo: int = 0
    n_redo: int = 0
    n_unlearned: int = 0
    """Labels given or taken back since the labels that the model trains with."""
    retraining: str = ""
    """What is being prepared for a retraining; empty when nothing is."""
    layout_share: float = 0.15
    """The largest share of one core that looking and layouts may take while something trains."""
    layout_next_s: float | None = None
    """How long until the next look may come; None while nothing trains."""
    placing: float | None = None
    """Share of all cells that have been placed on the map, while they are; None otherwise."""
    health: StreamHealth | None = None
    settable: Settable | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Points of one loss term on one split, from the point with index `start` on."""

    name: str
    split: str
    start: int
    steps: Int[ndarray, " point"] | UInt[ndarray, " point"]
    values: Float[ndarray, " point"]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened at a step: a stage began, an epoch ended."""

    step: int
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Loss curves, and the marks from the one with index `marks_start` on."""

    series: tuple[Curve, ...] = ()
    marks: tuple[Mark, ...] = ()
    marks_start: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentMap:
    """The panel's cells in the plane. Codes are -1 for none; `p_value` is NaN where a cell was not scored."""

    panel: int
    layout: int
    moved: float | None
    """How far cells went since the last layout (r.m.s., as a share of the spread), after alignment."""
    age_s: float
    n_total: int
    xy: Float[ndarray, "cell 2"]
    cell: Int[ndarray, " cell"]
    is_query: Int[ndarray, " cell"]
    label: Int[ndarray, " cell"]
    predicted: Int[ndarray, " cell"]
    batch: Int[ndarray, " cell"]
    given: Int[ndarray, " cell"]
    p_value: Float[ndarray, " cell"]
    flag: Int[ndarray, " cell"]
    """A flag's id, or 0."""
    label_names: tuple[str, ...] = ()
    predicted_names: tuple[str, ...] = ()
    batch_names: tuple[str, ...] = ()
    given_names: tuple[str, ...] = ()
    label_colours: tuple[str | None, ...] = ()
    """`#rrggbb` of each of `label_names` where the data bring their own colours, None for ours; empty: all ours."""
    batch_colours: tuple[str | None, ...] = ()

    @functools.cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """x0, x1, y0, y1: never of zero width."""
        return bounds_of(self.xy)


@dataclass(frozen=True, kw_only=True, eq=False)
class CellValues:
    """What a person asked to colour the panel's cells by: a gene, a column of obs, the distance to a prototype."""

    by: str = ""
    """`"gene"`, `"obs"`, `"prototype"`; empty where nothing was asked for."""
    name: str = ""
    state: Literal["none", "fetching", "ready", "failed"] = "none"
    message: str = ""
    """Why it failed."""
    number: int = 0
    """Counts what was fetched: gates refer to it."""
    panel: int = 0
    """The panel whose cells `values` are of, in its order."""
    layout: int = 0
    """The layout whose latent distances were taken in; 0 for values that no training moves."""
    unit: str = ""
    names: tuple[str, ...] | None = None
    """What codes mean, -1 for none; None where values are numbers, NaN for none."""
    colours: tuple[str | None, ...] = ()
    """Of `names`, as `LatentMap.label_colours`."""
    values: Float[ndarray, " cell"] | Int[ndarray, " cell"] = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """The map as it was at one step, and how the model did then."""

    id: int
    step: int
    epoch: int | None
    """Epochs done by then; None before the first validation."""
    stage: str
    kept_at: str
    """UTC, ISO 8601."""
    layout: int
    values: tuple[tuple[str, str, float], ...]
    """Name, split and value of every curve up to that step: training's are means of its last points."""
    knn_accuracy: float | None
    """Share of labelled cells whose nearest neighbours in the latent have mostly their label; None without labels."""
    bounds: tuple[float, float, float, float]
    xy: UInt[ndarray, "cell 2"]
    """Positions in 65,535ths of the bounds."""
    cell: Int[ndarray, " cell"] | UInt[ndarray, " cell"]
    is_query: Int[ndarray, " cell"] | UInt[ndarray, " cell"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """The moments kept, in the order in which they were."""

    most: int = 0
    """How many can be kept."""
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class PrototypeView:
    """Prototypes and the distances between them, in units of the mean radius; flags come last."""

    names: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    radii: tuple[float, ...] = ()
    medoids: tuple[str, ...] = ()
    """The cell nearest to each centre, by name."""
    order: tuple[int, ...] = ()
    """An order for the heat map that puts neighbours side by side."""
    drift: float | None = None
    """How far prototypes went since the last look, as a share of the mean distance between them."""
    drifts: tuple[float | None, ...] = ()
    """The same of each one since `since`; None where it was not there then."""
    since: str = ""
    """What `drifts` look back to, in words."""
    spreads: tuple[float, ...] = ()
    """Root mean squared distance of its cells to the centroid, in latent units as radii are."""
    n_left_out: int = 0
    """Flags beyond those in the table."""
    distance: Float[ndarray, "prototype prototype"] = field(default_factory=lambda: np.zeros((0, 0)))
    centroid: Float[ndarray, "prototype latent"] = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a flag's cells beside the nearest known type's; NaN where it was not measured."""

    name: str
    flag: float
    """Median of its cells."""
    low: float
    """5 % of the type's cells lie below."""
    usual: float
    """The type's median."""
    high: float
    """5 % of the type's cells lie above."""
    overall: float
    """Median of all known cells."""


@dataclass(frozen=True, kw_only=True)
class FlagView:
    """A cluster of cells that fits no prototype, and what a person did with it."""

    id: int
    atlas: str
    n_cells: int
    p_value: float
    batches: tuple[tuple[str, int], ...]
    """Those that it has cells of."""
    nearest: tuple[tuple[str, float], ...]
    higher: tuple[str, ...]
    lower: tuple[str, ...]
    reason: str
    state: FlagState = "open"
    label: str | None = None
    saved_at: str | None = None
    n_batches: int = 0
    """Of its atlas; 0 where that is not known."""
    measures: tuple[Measure, ...] = ()
    """Empty where the reference was fitted by an earlier version."""
    phases: tuple[tuple[str, float], ...] = ()
    """Share of its cells in each phase of the cell cycle; empty without gene lists."""
    technical: tuple[str, ...] = ()
    """What speaks for an artefact, in words: it is probably technical where there is any."""
    accept: str | None = None
    """The name that it may be given without typing: some of its cells bear it, or it lies within that type's radius."""
    suggested: tuple[str, ...] = ()
    is_hand_made: bool = False
    """Whether a merge or a cut made it."""


@dataclass(frozen=True, kw_only=True)
class FlagList:
    """All flags at one threshold."""

    target_fpr: float = 0.05
    n_scored: int = 0
    n_flagged: int = 0
    calibration: str = ""
    curve_target_fpr: tuple[float, ...] = ()
    curve_n_flagged: tuple[int, ...] = ()
    curve_by_chance: tuple[float, ...] = ()
    """How many cells would be flagged if none were new; empty where the rule promises no rate."""
    curve_precision: tuple[float | None, ...] = ()
    """Of labelled cells; empty where too few are labelled to tell."""
    curve_coverage: tuple[float | None, ...] = ()
    curve_of: str = ""
    """In words: which cells precision and coverage are of, or why there are none."""
    warnings: tuple[str, ...] = ()
    """What makes detection weak, or false alarms likely."""
    is_computing: bool = False
    """Whether newer flags are on their way."""
    flags: tuple[FlagView, ...] = ()


Topic = Status | Curves | LatentMap | PrototypeView | FlagList | Moments | CellValues
"""One of the things that are sent, each whole."""
