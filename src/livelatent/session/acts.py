"""What a browser may ask of a session, act by act: arguments checked, results as plain values."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, Protocol, runtime_checkable

from numpy import ndarray

from livelatent.session.acts_control import Controlled, control_acts
from livelatent.session.acts_flags import flag_acts
from livelatent.session.acts_place import Placing, acts_of_place
from livelatent.session.acts_prototypes import prototype_acts
from livelatent.session.acts_select import Selects, label_by_parts, select_acts
from livelatent.session.board import Board
from livelatent.session.commands import Act, CommandError, cells, text, whole
from livelatent.session.state import PrototypeView

__all__ = ["acts_of"]

Drive = Literal["start", "pause", "resume", "stop"]


@runtime_checkable
class Asked(Selects, Placing, Controlled, Protocol):
    """What is asked for things: a `LiveSession`, which knows of this module, and not the other way round."""

    board: Board

    def drive(self, what: Drive) -> str:
        """Tell the run what to do; the state it is in then."""
        ...

    def find(self) -> None:
        """Look for flags with the model as it is now."""
        ...

    def prototypes(self) -> PrototypeView:
        """Prototypes and flags, and how far they lie apart."""
        ...

    def nearest_cells(self, point: ndarray, n_cells: int) -> list[list[int]]:
        """The panel's cells nearest to a point of the latent space, as [is_query, row]."""
        ...

    def drift_of(self, prototype: str) -> tuple[list[int], list[float]]:
        """Steps of the looks at a type, and how far it went up to each since the one before."""
        ...

    def layout_sha256(self, layout: int) -> str | None:
        """What a lasso on this layout was drawn on; None for one long gone."""
        ...


def acts_of(session: Asked) -> dict[str, Act]:
    """Every command of docs/protocol.md by its name."""
    board = session.board
    return {
        "start": lambda _: _drive(session, "start"),
        "pause": lambda _: _drive(session, "pause"),
        "resume": lambda _: _drive(session, "resume"),
        "stop": lambda _: _drive(session, "stop"),
        "label": lambda args: _label(session, args),
        "undo": lambda _: _back(session, board.ledger.undo),
        "redo": lambda _: _back(session, board.ledger.redo),
        "find": lambda _: _find(session),
        **select_acts(session),
        **acts_of_place(session),
        **flag_acts(board),
        **prototype_acts(session),
        **control_acts(session),
    }


def _drive(session: Asked, what: Drive) -> dict[str, Any]:
    try:
        return {"state": session.drive(what)}
    except RuntimeError as error:
        raise CommandError(str(error)) from error


def _label(session: Asked, args: dict[str, Any]) -> dict[str, Any]:
    board = session.board
    name = None if args.get("name") is None else text(args, "name")
    if "flag" in args:
        seen = whole(args, "n_cells") if "n_cells" in args else None
        saved = board.label_flag(whole(args, "flag"), name, n_seen=seen)
    else:
        selector = args.get("selector")
        by_parts = _named_parts(selector)
        chosen = [] if by_parts and args.get("cells") is None else cells(args, "cells", len(board.places))
        if by_parts and isinstance(selector, dict):
            return label_by_parts(session, name, selector, chosen or None)
        saved = board.ledger.label_rows(chosen, name, _selector(session, args.get("selector")))
    return asdict(saved)


def _named_parts(selector: object) -> bool:
    """Whether each part says of what kind it is; pages of earlier versions drew only."""
    parts = selector.get("parts") if isinstance(selector, dict) else None
    return isinstance(parts, list) and any(
        isinstance(part, dict) and ("kind" in part or part.get("mode") == "invert") for part in parts
    )


def _selector(session: Asked, selector: object) -> dict[str, Any]:
    """How a page says its cells were chosen, checked; a lasso gets its layout's hash."""
    if selector is None:
        return {"kind": "cells"}
    if not isinstance(selector, dict) or selector.get("kind") not in ("lasso", "box", "cells"):
        raise CommandError("`selector` must be of kind lasso, box or cells.")
    if selector["kind"] == "cells":
        return {"kind": "cells"}
    layout = whole(selector, "layout")
    how = {
        "kind": selector["kind"],
        "polygon": _polygon(selector.get("polygon")),
        "layout": layout,
        "layout_sha256": session.layout_sha256(layout),
    }
    if "parts" in selector:
        how["parts"] = _parts(selector["parts"])
    return how


def _polygon(points: object) -> list[list[int | float]]:
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(isinstance(x, int | float) for x in point)
        for point in points
    ):
        raise CommandError("`polygon` must be a list of [x, y].")
    return points


def _parts(parts: object) -> list[dict[str, Any]]:
    """All polygons of a selection in the order in which they were drawn, so that it can be replayed."""
    if not isinstance(parts, list) or not all(
        isinstance(part, dict) and part.get("mode") in ("replace", "add", "subtract") for part in parts
    ):
        raise CommandError("`parts` must be a list of {mode: replace, add or subtract, polygon}.")
    return [{"mode": part["mode"], "polygon": _polygon(part.get("polygon"))} for part in parts]


def _back(session: Asked, step: Callable[[], str | None]) -> dict[str, Any]:
    what, history = step(), session.board.ledger.history
    return {"n_undo": len(history.undo), "n_redo": len(history.redo), "what": what}


def _find(session: Asked) -> dict[str, Any]:
    session.find()
    return {}
