"""One picture of everything: map, curves, prototypes and flags, for readers without a browser or a kernel."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten, wrap
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent import atomic
from livelatent.arrays import Float
from livelatent.palette import category_colours
from livelatent.session.state import Curves, FlagList, FlagView, LatentMap, PrototypeView, Status, Topic

Box = Float[ndarray, "corner 2"]

__all__ = ["draw", "thumbnail", "write_png"]

INK, QUIET, FLAG, NAMED = "#1c2024", "#5f6670", "#b93a00", "#1a7f4e"
ACCENT, GRID, NO_LABEL = "#0b68cb", "#e3e6ea", "#c4c8cd"
# Of a flag's cells, one cluster among the genes, a fifth may lie elsewhere on the map (as in js/src/geometry.ts).
STRAY = 4
MOST_CURVES = 6
MOST_FLAGS = 6
NAME_CHARACTERS = 28


def write_png(topics: Sequence[Topic], path: str | Path, *, dpi: int = 130) -> Path:
    """Draw the topics into one PNG; written whole or not at all.

    Raises
    ------
    ValueError
        If `path` ends otherwise than a PNG does.
    """
    import io

    if Path(path).suffix.lower() not in ("", ".png"):
        raise ValueError(f"{path}: the picture is a PNG; name it NAME.png. Each pane's own button saves SVG.")
    buffer = io.BytesIO()
    draw(topics).savefig(buffer, format="png", dpi=dpi)
    target = Path(path)
    atomic.write_bytes(target, buffer.getvalue())
    return target


def thumbnail(topics: Sequence[Topic], *, most_bytes: int = 150_000) -> bytes:
    """A PNG of the topics of at most so many bytes: a notebook keeps it for good."""
    import io

    figure, dpi = draw(topics), 80
    while True:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
        if len(buffer.getvalue()) <= most_bytes or dpi <= 20:
            return buffer.getvalue()
        dpi -= 10


def draw(topics: Sequence[Topic]) -> Any:
    """A matplotlib Figure of the topics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    status, curves, latent_map, prototypes, flags = _sorted(topics)
    figure = Figure(figsize=(13, 9), facecolor="white")
    FigureCanvasAgg(figure)
    _header(figure, status)
    outer = figure.add_gridspec(
        2, 2, width_ratios=[1.45, 1], height_ratios=[1.6, 1], left=0.025, right=0.98, top=0.875, bottom=0.03,
        wspace=0.08, hspace=0.2,
    )  # fmt: skip
    _map(figure.add_subplot(outer[0, 0]), latent_map, flags)
    _curves(figure, outer[0, 1], curves)
    _prototypes(figure, outer[1, 0], prototypes)
    _flags(figure.add_subplot(outer[1, 1]), flags)
    return figure


def _sorted(topics: Sequence[Topic]) -> tuple[Status, Curves, LatentMap, PrototypeView, FlagList]:
    by_kind = {type(topic): topic for topic in topics}
    return tuple(by_kind[kind] for kind in (Status, Curves, LatentMap, PrototypeView, FlagList))  # type: ignore[return-value]


def _plain(text: str, characters: int = NAME_CHARACTERS) -> str:
    """A name as matplotlib should draw it: no mathematics, on one line, not endless."""
    return shorten(text.replace("$", r"\$"), characters, placeholder="...") or text[:characters].replace("$", r"\$")


def _title(axes: Any, title: str, facts: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=8)
    axes.annotate(
        facts, (0, 1), xytext=(len(title) * 7.2 + 10, 9), xycoords="axes fraction", textcoords="offset points",
        fontsize=9, color=QUIET,
    )  # fmt: skip


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _header(figure: Any, status: Status) -> None:
    name = _plain(status.store, 60) + ("" if status.query is None else f"  and  {_plain(status.query, 60)}")
    facts = [
        status.state,
        *([] if status.epoch is None else [f"epoch {status.epoch} of {status.epochs}"]),
        *([] if status.step is None else [f"step {status.step:,}"]),
        f"{status.n_cells:,} cells x {status.n_genes:,} genes",
        *([f"{status.n_saved} {'label' if status.n_saved == 1 else 'labels'} saved"] if status.n_saved else []),
    ]
    figure.text(0.025, 0.962, name, fontsize=14, fontweight="bold", color=INK)
    figure.text(0.025, 0.937, "  ·  ".join(facts), fontsize=10, color=QUIET)
    said = [*status.alarms, *status.notes]
    if said:
        figure.text(
            0.98, 0.967, "\n".join(wrap(_plain("  ·  ".join(said), 180), 80)), fontsize=9, ha="right", va="center",
            color=FLAG if status.alarms else QUIET,
        )  # fmt: skip


def _map(axes: Any, shown: LatentMap, flags: FlagList) -> None:
    has_labels = bool((shown.label >= 0).any())
    names, codes = (shown.label_names, shown.label) if has_labels else (shown.predicted_names, shown.predicted)
    facts = f"{len(shown.cell):,} of {shown.n_total:,} cells, by {'label' if has_labels else 'predicted label'}"
    _title(axes, "Map", facts + ("; grey: no label, red: flagged" if (codes < 0).any() else ""))
    _bare(axes)
    if not len(shown.cell):
        axes.text(0.5, 0.5, "no cells embedded yet", ha="center", color=QUIET, transform=axes.transAxes)
        return
    size = float(np.clip(6000 / len(shown.cell), 1.2, 14))
    own = dict(zip(shown.label_names, shown.label_colours, strict=False))
    ours = category_colours(len(names))
    colours = np.array([*(own.get(name) or colour for name, colour in zip(names, ours, strict=True)), NO_LABEL, FLAG])
    shade = np.where(shown.flag > 0, len(names) + 1, np.where(codes >= 0, codes, len(names)))
    # Drawn in a random order: the last type in the list must not hide the others.
    order = np.random.default_rng(0).permutation(len(codes))
    axes.scatter(*shown.xy[order].T, s=size, c=colours[shade[order]], linewidths=0, alpha=0.85)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.1)
    outlined = [_outline(axes, shown.xy[shown.flag == flag.id], flag) for flag in flags.flags]
    groups = [(shown.xy[codes == code], name) for code, name in enumerate(names)]
    named = [(_box(own), _plain(name), INK, 9.0) for own, name in groups if len(own)]
    _names(axes, [*(one for one in outlined if one is not None), *named])


def _names(axes: Any, wanted: list[tuple[Box, str, str, float]]) -> None:
    """A name on each box that is wider than it, else beside it, where it hides no other name and no flag."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()
    renderer = axes.figure.canvas.get_renderer()
    boxes = [Bbox(axes.transData.transform(box)) for box, *_ in wanted]
    taken = [box for box, (*_, colour, _) in zip(boxes, wanted, strict=True) if colour != INK]
    for box, (_, text, colour, size) in zip(boxes, wanted, strict=True):
        drawn = axes.text(
            0, 0, text, fontsize=size, fontweight="bold", color=colour, ha="center", va="center", zorder=7,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
        extent = drawn.get_window_extent(renderer)
        x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        up, aside = extent.height * 0.75, extent.width / 2 + 6
        spots = [(x, y)] if colour == INK and extent.width < box.width else []
        spots += [(x, box.y1 + up), (x, box.y0 - up), (box.x1 + aside, y), (box.x0 - aside, y)]
        for step in range(1, 6):
            spots += [(x, box.y1 + up + step * extent.height), (x, box.y0 - up - step * extent.height)]
        for spot in spots:
            drawn.set_position(axes.transData.inverted().transform(spot))
            extent = drawn.get_window_extent(renderer)
            if not any(extent.overlaps(other) for other in taken):
                break
        taken.append(extent)


def _box(own: ndarray) -> Box:
    """Corners of the box around the nine tenths of cells that lie nearest to the middle, or fewer: no far strays."""
    away = np.linalg.norm(own - np.median(own, axis=0), axis=1)
    near = np.argsort(away)[: max(1, int(len(own) * 0.9))]
    near = own[near[away[near] <= STRAY * np.median(away)]]
    return np.stack([near.min(axis=0), near.max(axis=0)])


def _outline(axes: Any, own: ndarray, flag: FlagView) -> tuple[Box, str, str, float] | None:
    """An ellipse around most of a flag's cells, and the name it wants."""
    from matplotlib.patches import Ellipse

    if not len(own) or flag.state == "dismissed":
        return None
    low, high = _box(own)
    least = 0.04 * np.ptp(axes.dataLim.get_points(), axis=0).max()
    size = np.maximum((high - low) * 1.3, least)
    colour = NAMED if flag.state == "named" else FLAG
    centre = (low + high) / 2
    axes.add_patch(Ellipse(tuple(centre), *size, fill=False, edgecolor=colour, linewidth=1.6, zorder=6))
    name = f"{flag.id}" + (f"  {_plain(flag.label)}" if flag.label else "")
    return np.stack([centre - size / 2, centre + size / 2]), name, colour, 10.0


def _curves(figure: Any, place: Any, curves: Curves) -> None:
    names = list(dict.fromkeys(curve.name for curve in curves.series if len(curve.steps)))
    more = len(names) - MOST_CURVES
    grid = place.subgridspec(3, 2, hspace=0.75, wspace=0.3)
    if not names:
        axes = figure.add_subplot(place)
        _title(axes, "Learning", "")
        _bare(axes)
        axes.text(0.5, 0.5, "nothing has been trained yet", ha="center", color=QUIET, transform=axes.transAxes)
        return
    for index, name in enumerate(names[:MOST_CURVES]):
        axes = figure.add_subplot(grid[index // 2, index % 2])
        if index == 0:
            facts = "train, and validation dashed; by step" + (f"; {more} more not drawn" if more > 0 else "")
            axes.annotate(
                "Learning", (0, 1), xytext=(0, 26), xycoords="axes fraction", textcoords="offset points",
                fontsize=11, fontweight="bold", color=INK,
            )  # fmt: skip
            axes.annotate(
                facts, (0, 1), xytext=(68, 26), xycoords="axes fraction", textcoords="offset points",
                fontsize=9, color=QUIET,
            )  # fmt: skip
        last = ""
        for curve in curves.series:
            if curve.name == name and len(curve.steps):
                is_train = curve.split == "train"
                axes.plot(
                    curve.steps, curve.values, color=ACCENT if is_train else QUIET, linewidth=1.2,
                    linestyle="-" if is_train else "--", marker="." if len(curve.steps) < 3 else "",
                )  # fmt: skip
                last = f"{float(curve.values[-1]):.3g}" if is_train or not last else last
        axes.set_title(_plain(name.replace("_", " ")), loc="left", fontsize=9, color=QUIET, pad=3)
        axes.set_title(last, loc="right", fontsize=9, fontweight="bold", color=INK, pad=3)
        axes.tick_params(labelsize=7, colors=QUIET, length=2)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(GRID)


def _prototypes(figure: Any, place: Any, view: PrototypeView) -> None:
    grid = place.subgridspec(1, 2, width_ratios=[0.24, 1], wspace=0.02)
    axes = figure.add_subplot(grid[0, 1])
    facts = "distance between types, in mean radii"
    if view.drift is not None:
        facts += f"; drift since the last look {view.drift:.1%}"
    k = len(view.names)
    if not k:
        _title(axes, "Prototypes", "")
        _bare(axes)
        axes.text(0.5, 0.5, "no labelled cells yet", ha="center", color=QUIET, transform=axes.transAxes)
        return
    order = np.array(view.order or range(k))
    distance = view.distance[np.ix_(order, order)]
    image = axes.imshow(distance, cmap="Blues_r", aspect="auto")
    _title(axes, "Prototypes", facts)
    names = [_plain(view.names[index], 22) for index in order]
    small = 8 if k <= 14 else 6 if k <= 30 else 4
    axes.set_yticks(range(k), names, fontsize=small)
    axes.set_xticks([])
    axes.tick_params(length=0, colors=INK)
    for label, index in zip(axes.get_yticklabels(), order, strict=True):
        if view.names[index].startswith("flag "):
            label.set_color(FLAG)
            label.set_fontweight("bold")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if k <= 14:
        middle = distance.max() / 2
        for row, column in np.ndindex(k, k):
            value = distance[row, column]
            axes.text(
                column, row, "" if row == column else f"{value:.1f}", ha="center", va="center", fontsize=7,
                color="white" if value < middle else INK,
            )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.01)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, colors=QUIET, length=2)


def _flags(axes: Any, flags: FlagList) -> None:
    n = len(flags.flags)
    facts = (
        f"{n} {'cluster' if n == 1 else 'clusters'}; {flags.n_flagged:,} of {flags.n_scored:,} scored cells stand out"
    )
    _title(axes, "Flags", facts if flags.n_scored else "")
    _bare(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    if not n:
        said = "no cluster is new at this threshold" if flags.n_scored else "novelty is judged when training has ended"
        axes.text(0, 0.9, said, fontsize=10, color=QUIET)
        return
    y = 0.97
    for flag in flags.flags[:MOST_FLAGS]:
        state = {"open": "", "dismissed": "dismissed", "named": f"named {_plain(flag.label or '')}"}[flag.state]
        p_value = "p < 0.001" if flag.p_value < 0.001 else f"p {flag.p_value:.2g}"
        batches = f" · {len(flag.batches)} batches" if len(flag.batches) > 1 else ""
        axes.text(0, y, f"{flag.id}", fontsize=10, fontweight="bold", color=FLAG, va="top")
        axes.text(
            0.04,
            y,
            f"{flag.n_cells:,} cells · {p_value}{batches} · {_plain(flag.atlas, 24)}",
            fontsize=9,
            color=INK,
            va="top",
        )
        axes.text(1, y, state, fontsize=9, color=NAMED if flag.state == "named" else QUIET, ha="right", va="top")
        lines = wrap(_plain(flag.reason, 150), 82)
        if flag.higher or flag.lower:
            genes = f"higher: {', '.join(map(_plain, flag.higher[:5]))}" if flag.higher else ""
            lines.append(genes + (f"   lower: {', '.join(map(_plain, flag.lower[:4]))}" if flag.lower else ""))
        y -= 0.062
        for line in lines:
            axes.text(0.04, y, line, fontsize=8.5, color=QUIET, va="top")
            y -= 0.052
        y -= 0.03
    if n > MOST_FLAGS:
        axes.text(0.04, y, f"and {n - MOST_FLAGS} more", fontsize=8.5, color=QUIET, va="top")
