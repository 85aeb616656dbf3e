"""How the stream does and what can be set, as a view shows them; and what to do where training goes wrong."""

from livelatent.session.state import Settable, StreamHealth
from livelatent.session.watched import Watched
from livelatent.train.run import Run

__all__ = ["health_of", "settable_of", "training_alarms"]

STARVED_SHARE = 0.05
"""Of a minibatch's cells alone with their label, above which balancing pays."""


def health_of(run: Watched) -> StreamHealth | None:
    """Of the stream that a run trains on; None before its first minibatch, and where the stream is not ours."""
    if not isinstance(run, Run):
        return None
    status = run.status
    health = status.health
    if not status.cells_per_s:
        return None
    return StreamHealth(
        cells_per_s=status.cells_per_s,
        wait_share=status.wait_share,
        types=health.types,
        batches=health.batches,
        lone_share=health.lone_cells / run.stream.minibatch_cells if run.stage.compares_cells else None,
        groups_ready=health.groups_ready,
        bytes_read=health.bytes_read,
        minibatch_cells=run.stream.minibatch_cells,
    )


def settable_of(run: Watched) -> Settable | None:
    """Learning rate and weights of the stage that trains; None where nothing trains any more, or in a loop not ours."""
    if not isinstance(run, Run) or run.status.state in ("done", "failed", "stopping"):
        return None
    now = run.settings
    return Settable(
        stage=now.stage,
        learning_rate=now.learning_rate,
        learning_rate_now=now.learning_rate_now,
        weights=tuple((name, weight, now.weights_now[name]) for name, weight in now.weights.items()),
        n_changes=len(now.changes),
    )


def training_alarms(run: Watched) -> tuple[str, ...]:
    """What goes wrong in the minibatches themselves, and what to do."""
    if not isinstance(run, Run):
        return _watched_alarms(run)
    alarms = []
    if run.history.not_finite is not None and run.status.state != "failed":
        step, name = run.history.not_finite
        alarms.append(
            f"{name} is no number since step {step:,}: nothing is learned any more. Stop, lower the learning rate "
            "(here it is "
            f"{run.settings.learning_rate:g}), and train again from the start or from the last saved state; if it "
            "happens at once, look at the counts."
        )
    health = health_of(run)
    share = None if health is None else health.lone_share
    if share is not None and share > STARVED_SHARE and run.status.state in ("training", "paused"):
        alarms.append(
            f"{share:.0%} of the anchors had no positive in the last 100 minibatches: no other cell of their label, so "
            "they teach nothing. Balance the types (StreamConfig(balance=Balance(types=16))), or take more cells a "
            f"minibatch than {run.stream.minibatch_cells:,}."
        )
    return tuple(alarms)


def _watched_alarms(run: Watched) -> tuple[str, ...]:
    """Of training that is not ours the loss alone is judged: what else is logged may be undefined for good reasons."""
    step = run.history.not_finite_since("loss")
    if step is None or run.status.state == "failed":
        return ()
    return (
        f"The loss is no number since step {step:,}: nothing is learned any more. Stop, lower the learning rate, and "
        "train again from the start or from the last checkpoint; if it happens at once, look at the data.",
    )
