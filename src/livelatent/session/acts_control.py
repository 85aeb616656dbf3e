"""What a browser may ask of training itself: a step, a learning rate, weights, training on, a moment to keep."""

import math
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

from livelatent.session.commands import Act, CommandError, number, whole
from livelatent.session.state import Moment
from livelatent.train.settings import Settings

__all__ = ["Controlled", "control_acts"]


@runtime_checkable
class Controlled(Protocol):
    """What is asked: a `LiveSession`."""

    def step(self) -> str:
        """Train on one minibatch; the state the run is in then."""
        ...

    def set(self, *, learning_rate: float | None = None, weights: dict[str, float] | None = None) -> Settings:
        """Set learning rate and weights of the stage that trains."""
        ...

    def retrain(self, epochs: int | None = None) -> None:
        """Train on with the labels given here."""
        ...

    def keep(self) -> Moment:
        """Keep the map as it is shown."""
        ...

    def drop_moment(self, moment_id: int) -> None:
        """Forget a moment."""
        ...


def control_acts(session: Controlled) -> dict[str, Act]:
    """The commands of docs/protocol.md that drive training, by their names."""
    return {
        "step": lambda _: _step(session),
        "set": lambda args: _set(session, args),
        "retrain": lambda args: _retrain(session, args),
        "keep": lambda _: _keep(session),
        "drop_moment": lambda args: _drop(session, args),
    }


def _step(session: Controlled) -> dict[str, Any]:
    try:
        return {"state": session.step()}
    except RuntimeError as error:
        raise CommandError(str(error)) from error


def _set(session: Controlled, args: dict[str, Any]) -> dict[str, Any]:
    weights = args.get("weights") or {}
    if not isinstance(weights, dict):
        raise CommandError("`weights` must be an object of names and numbers.")
    rate = number(args, "learning_rate") if args.get("learning_rate") is not None else None
    now = session.set(learning_rate=rate, weights={str(name)[:200]: number(weights, name) for name in weights})
    return {**asdict(now), "changes": len(now.changes)}


def _retrain(session: Controlled, args: dict[str, Any]) -> dict[str, Any]:
    epochs = None if args.get("epochs") is None else whole(args, "epochs")
    if epochs is not None and not 1 <= epochs <= 100_000:
        raise CommandError(f"`epochs` must be 1 to 100,000; got {epochs:,}.")
    session.retrain(epochs)
    return {"state": "preparing"}


def _keep(session: Controlled) -> dict[str, Any]:
    moment = session.keep()
    knn = moment.knn_accuracy
    return {"id": moment.id, "step": moment.step, "knn_accuracy": None if knn is None or math.isnan(knn) else knn}


def _drop(session: Controlled, args: dict[str, Any]) -> dict[str, Any]:
    session.drop_moment(whole(args, "moment"))
    return {}
