"""What a browser may ask of prototypes."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

from livelatent.session.commands import Act, CommandError, whole
from livelatent.session.near import Near
from livelatent.session.state import PrototypeView

__all__ = ["HasPrototypes", "prototype_acts"]

NEAREST_CELLS = 12


@runtime_checkable
class HasPrototypes(Protocol):
    """What is asked: a `LiveSession`."""

    def prototypes(self) -> PrototypeView:
        """Prototypes and flags, and how far they lie apart."""
        ...

    def nearest_cells(self, prototype: str, point: ndarray, n_cells: int) -> Near:
        """The panel's cells nearest to a prototype's point of the latent space."""
        ...

    def drift_of(self, prototype: str) -> tuple[list[int], list[float]]:
        """Steps of the looks at a type, and how far it went up to each since the one before."""
        ...


def prototype_acts(session: HasPrototypes) -> dict[str, Act]:
    """The commands on prototypes, by name (docs/protocol.md)."""
    return {"nearest": lambda args: _nearest(session, args)}


def _nearest(session: HasPrototypes, args: dict[str, Any]) -> dict[str, Any]:
    index, table = whole(args, "prototype"), session.prototypes()
    if not 0 <= index < len(table.names):
        raise CommandError(f"there is no prototype {index}.")
    order = [int(other) for other in np.argsort(table.distance[index], kind="stable") if other != index]
    near = session.nearest_cells(table.names[index], table.centroid[index], NEAREST_CELLS)
    steps, drift = session.drift_of(table.names[index])
    return {
        "name": table.names[index],
        "asked": near.number,
        "cells": near.cells,
        "neighbors": [[table.names[other], float(table.distance[index, other])] for other in order],
        "drift": {"steps": steps, "values": drift},
    }
