"""What a browser may ask of a session, act by act: arguments checked, results as plain values."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, Protocol, runtime_checkable

from livelatent.session.acts_control import Controlled, control_acts
from livelatent.session.acts_flags import flag_acts
from livelatent.session.acts_place import Placing, place_acts
from livelatent.session.acts_prototypes import HasPrototypes, prototype_acts
from livelatent.session.acts_select import Selects, label_by_parts, select_acts
from livelatent.session.board import Board
from livelatent.session.commands import Act, CommandError, cells, text, whole

__all__ = ["acts_of"]

Drive = Literal["start", "pause", "resume", "stop"]


@runtime_checkable
class Asked(Selects, Placing, Controlled, HasPrototypes, Protocol):
    """What is asked for things: a `LiveSession`, which knows of this module, and not the other way round."""

    board: Board

    def drive(self, what: Drive) -> str:
        """Tell the run what to do; the state it is in then."""
        ...

    def find(self) -> None:
        """Look for flags with the model as it is now."""
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
        **place_acts(session),
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
        selector = {"kind": "cells"} if args.get("selector") is None else args["selector"]
        if not isinstance(selector, dict):
            raise CommandError("`selector` must be an object: of kind cells, or with `parts`.")
        by_name = selector.get("kind") == "cells" and "parts" not in selector
        chosen = cells(args, "cells", len(board.places)) if by_name or args.get("cells") is not None else None
        if not by_name:
            return label_by_parts(session, name, selector, chosen)
        saved = board.ledger.label_rows(chosen or [], name, {"kind": "cells"})
    return asdict(saved)


def _back(session: Asked, step: Callable[[], str | None]) -> dict[str, Any]:
    what, history = step(), session.board.ledger.history
    return {"n_undo": len(history.undo), "n_redo": len(history.redo), "what": what}


def _find(session: Asked) -> dict[str, Any]:
    session.find()
    return {}
