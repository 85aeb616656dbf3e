"""What a browser may ask about the map as a whole: how much of a core it may take, and where all cells lie."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from livelatent.session.commands import Act, CommandError, number
from livelatent.session.pace import Pace

__all__ = ["place_acts"]


@runtime_checkable
class Placing(Protocol):
    """What is asked: a `LiveSession`."""

    @property
    def pace(self) -> Pace:
        """How often it may look."""
        ...

    def place_all(self, *, wait: bool = True) -> Any:
        """Place every cell on the map."""
        ...


def place_acts(session: Placing) -> dict[str, Act]:
    """`budget` {share} and `place_all`."""
    return {"budget": lambda args: _budget(session, args), "place_all": lambda _: _place(session.place_all)}


def _budget(session: Placing, args: dict[str, Any]) -> dict[str, Any]:
    try:
        session.pace.cpu_share = number(args, "share")
    except ValueError as error:
        raise CommandError(str(error)) from error
    return {"share": session.pace.cpu_share}


def _place(place_all: Callable[..., Any]) -> dict[str, Any]:
    place_all(wait=False)
    return {}
