"""A flag as a view shows it: the facts that `judge` found, and what a person did with it."""

from collections import Counter
from dataclasses import replace

from numpy import ndarray

from livelatent.atlas.labels import LabelJournal
from livelatent.session.board_flag import BoardFlag
from livelatent.session.state import FlagView, Measure

__all__ = ["suggestions", "view_of"]

INSIDE_RADII = 1.0
"""A cluster whose centre lies so near to a type's may as well be of that type."""


def view_of(
    flag: BoardFlag,
    atlas: str,
    journal: LabelJournal,
    given: ndarray,
    *,
    is_dismissed: bool = False,
    is_hand_made: bool = False,
) -> FlagView:
    """The view of one flag.

    Parameters
    ----------
    given
        The label given by hand to each cell of its atlas; None where none.
    """
    judged = flag.judged
    nearest = tuple((str(name), float(radii)) for name, radii in judged.nearest)
    names = Counter(str(name) for name in given[flag.rows] if name is not None)
    accept, suggested = suggestions(nearest, names)
    quality = getattr(judged, "quality", None)
    view = FlagView(
        id=flag.id,
        atlas=atlas,
        n_cells=len(flag.rows),
        p_value=float(judged.p_value),
        batches=tuple((str(name), int(n)) for name, n in dict(judged.batches).items()),
        nearest=nearest,
        n_batches=len(getattr(getattr(judged, "atlas", None), "batch_names", ())),
        higher=tuple(map(str, judged.higher)),
        lower=tuple(map(str, judged.lower)),
        reason=str(judged.reason),
        measures=() if quality is None else _measures(quality.table),
        phases=() if quality is None else tuple((str(name), float(share)) for name, share in quality.phases.items()),
        technical=() if quality is None else tuple(map(str, quality.technical)),
        accept=accept,
        suggested=suggested,
        is_hand_made=is_hand_made,
    )
    # A name counts once most of the flag's cells carry it; so undo, or a lasso over it, shows here too.
    if names:
        label, n_cells = names.most_common(1)[0]
        if n_cells * 2 >= len(flag.rows):
            saved = [e.time for e in journal.entries if e.event == "label" and e.new == label]
            return replace(view, state="named", label=label, saved_at=saved[-1] if saved else None)
    return replace(view, state="dismissed") if is_dismissed else view


def suggestions(nearest: tuple[tuple[str, float], ...], given: Counter[str]) -> tuple[str | None, tuple[str, ...]]:
    """The one name that may be accepted unseen, if any, and all that are worth offering, likeliest first.

    Parameters
    ----------
    nearest
        Known types and the distance to each in its radii.
    given
        Names that some of the flag's cells bear by hand already.
    """
    by_hand = [name for name, _ in given.most_common()]
    inside = [name for name, radii in nearest if radii <= INSIDE_RADII]
    likely = [*by_hand, *inside]
    names = tuple(dict.fromkeys([*likely, *(name for name, _ in nearest)]))
    return (likely[0] if likely else None), names


def _measures(table: object) -> tuple[Measure, ...]:
    return tuple(
        Measure(name=str(name), flag=flag, low=low, usual=usual, high=high, overall=overall)
        for name, flag, low, usual, high, overall in table.itertuples(name=None)  # type: ignore[attr-defined]
    )
