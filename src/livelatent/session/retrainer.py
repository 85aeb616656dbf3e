"""Retraining with the labels given here: prepared beside everything else, then followed by the session."""

import logging
import threading
from typing import Protocol, runtime_checkable

from livelatent.errors import LabelError
from livelatent.session.watched import HasEye
from livelatent.train.retrain import learned, retrain
from livelatent.train.run import Run

__all__ = ["Retrainer"]

log = logging.getLogger(__name__)


@runtime_checkable
class Follower(Protocol):
    """Whoever looks at a run, and can look at another one."""

    run: Run | HasEye

    def follow(self, run: Run) -> None:
        """Look at this run from now on."""
        ...

    def alarm(self, what: str, message: str | None) -> None:
        """Show an alarm until it is taken back."""
        ...


class Retrainer:
    """Makes the next run from the labels of the journal; one at a time."""

    def __init__(self, session: Follower) -> None:
        self._session = session
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._learned: tuple[Run | None, frozenset[int]] = (None, frozenset())
        self.doing = ""
        """What is being prepared; empty when nothing is."""

    @property
    def n_unlearned(self) -> int:
        """Labels given or taken back since the labels that the run trains with."""
        run = self._session.run
        if not isinstance(run, Run):
            return 0  # a latent that was given learns nothing
        if self._learned[0] is not run:
            self._learned = (run, learned(run.folder))
        standing = {entry.seq for entry in run.atlas.labels.standing}
        return len(standing ^ self._learned[1])

    def start(self, epochs: int | None = None) -> None:
        """Stop the run, make the next one from its weights, and let it train; returns at once.

        Raises
        ------
        LabelError
            If there is nothing new to learn, or one is being prepared already.
        """
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                raise LabelError("a retraining is being prepared already.")
            if not isinstance(self._session.run, Run):
                raise LabelError(
                    "this view shows a latent that livelatent does not train, so it can't be retrained. Write the "
                    "names into your own data with `view.write_obs()`."
                )
            if not self.n_unlearned:
                raise LabelError(
                    "no label of the run's own atlas was given or taken back since the last training, so there is "
                    "nothing to learn. Labels of a query stay with the query: append it to the atlas to learn them."
                )
            self.doing = "preparing: class sizes and distances between types"
            self._session.alarm("retraining", None)
            self._thread = threading.Thread(target=self._work, args=(epochs,), name="livelatent-retrain", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until the next run has begun, or could not."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _work(self, epochs: int | None) -> None:
        before = self._session.run
        assert isinstance(before, Run)  # else nothing would have been new to it
        was_training = before.status.state == "training"
        try:
            try:
                run = retrain(before, epochs=epochs)
            except Exception:
                if was_training and before.status.state == "stopped":
                    before.start()  # it was stopped for nothing
                raise
            self._session.follow(run)
            run.start()
        except Exception as error:
            log.exception("the retraining could not be prepared")
            self._session.alarm("retraining", f"Not retrained: {error or type(error).__name__}")
        finally:
            self.doing = ""
