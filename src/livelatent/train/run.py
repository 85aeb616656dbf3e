"""A Run: a folder and a thread around `train`."""

import atexit
import contextlib
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Literal

from livelatent import atomic
from livelatent.arrays import Rows, as_rows
from livelatent.atlas.atlas import Atlas
from livelatent.errors import ResumeError, SettingError
from livelatent.models.model import Model
from livelatent.models.weights import copy_to, load_model
from livelatent.stream.health import Health
from livelatent.stream.plan import StreamConfig
from livelatent.train.control import Control
from livelatent.train.devices import cpu_threads, device_of, resolve_device
from livelatent.train.history import History
from livelatent.train.loop import Step, choose_stream, train
from livelatent.train.run_folder import fresh_folder, holds_run, read_kept, write_kept
from livelatent.train.run_status import RunStatus, Snapshot
from livelatent.train.settings import Change, Settings, changed
from livelatent.train.stage import Stage
from livelatent.train.state import TrainState
from livelatent.train.turnstile import Turnstile
from livelatent.train.waiting import waited_beside

__all__ = ["Run", "RunStatus", "Snapshot"]

SAVE_EVERY_S = 300.0
SAVE_APART_S = 1.0
"""Epochs shorter than this share a save: on small atlases syncing each to disk took longer than training it."""
PAUSE_TIMEOUT_S = 1.0
SET_TIMEOUT_S = 1.0
"""What is set holds from the next step on; nobody waits longer for that step to end."""


class Run:
    """Training in a background thread, with a folder from which it can go on after a crash.

    Parameters
    ----------
    epochs
        Of the model's longest stage; None keeps the model's own.
    folder
        Where config, history, state and model are kept; None means `NAME.runs/ID` beside the store.
    config
        How epochs are cut up; None chooses a minibatch by the number of training cells, and the model's own balance.
    rows
        Cells that may be used: their training split trains, their validation split validates. None means all.
    memory
        Limit such as `"1GB"` on what the streams of training and validation hold together: it decides the buffer,
        which stands in `run.stream` then. The model's own memory is not counted.

    Examples
    --------
    >>> run = Run(model, atlas, epochs=50)  # doctest: +SKIP
    >>> run.start(); run.wait()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model,
        atlas: Atlas,
        epochs: int | None = None,
        folder: str | Path | None = None,
        config: StreamConfig | None = None,
        device: str = "auto",
        *,
        rows: Rows | None = None,
        memory: int | str | None = None,
    ) -> None:
        self.atlas = atlas
        self.folder = fresh_folder(atlas) if folder is None else Path(folder)
        self.device = resolve_device(device)
        self.epochs = epochs
        self.rows = None if rows is None else as_rows(rows, atlas.n_cells)
        self.stream = choose_stream(model, atlas, config, rows, memory)
        self.history = History()
        self._model = model
        self._state = TrainState.start(model, epochs)
        self._control = Control()
        self._message = ""
        self._pace = (0.0, 0.0)
        self._health = Health()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._turnstile = Turnstile()
        self._saved_at = 0.0
        self._saved: tuple[int, int] | None = None
        """Step and number of changes that were saved last."""
        self._is_resumed = False

    @property
    def status(self) -> RunStatus:
        """Where the run stands: a frozen copy."""
        state = self._state
        return RunStatus(
            self._control.phase,
            self.stage.name,
            state.epoch,
            state.epochs,
            state.step,
            *self._pace,
            self._message,
            self._health,
            state.alarms,
        )

    @property
    def stage(self) -> Stage:
        """The present stage, the last one when all is done: its learning rate and weights as they were set."""
        state = self._state
        return state.stages[min(state.stage_index, len(state.stages) - 1)]

    @property
    def settings(self) -> Settings:
        """Learning rate and loss weights as of now, and what was set so far."""
        return self._state.settings

    @property
    def model(self) -> Model:
        """The model; while the thread trains it, a copy as it is now."""
        return self.snapshot().model if self.is_alive else self._model

    @property
    def notes(self) -> tuple[str, ...]:
        """The model's notes, without the copy that `model` makes while it trains."""
        return self._model.notes

    @property
    def can_start(self) -> bool:
        """Whether `start` begins or goes on with training."""
        return self.status.state in ("ready", "stopped")

    def start(self) -> None:
        """Train in a background thread; go on where a stopped run stands.

        Raises
        ------
        RuntimeError
            If the run is done or has failed.
        ResumeError
            If the folder holds another run.
        """
        self._start("training")

    def _start(self, phase: Literal["training", "paused"]) -> None:
        control = self._control
        with control.changed:
            if control.phase in ("training", "paused"):
                control.set(phase)
                return
            if control.phase == "stopping":
                raise RuntimeError("the run is stopping; call run.wait() first.")
            if control.phase in ("done", "failed"):
                raise RuntimeError(
                    f"this run is {control.phase}. Make a new Run to train on, "
                    f"or go on from its last saved state with Run.resume({str(self.folder)!r})."
                )
            if control.phase == "ready" and not self._is_resumed and holds_run(self.folder):
                raise ResumeError(
                    f"{self.folder} holds a run already. Go on with it by Run.resume({str(self.folder)!r}), "
                    "or name another folder."
                )
            self._error, self._message = None, ""
            control.set(phase)
        self._thread = threading.Thread(target=self._work, name="livelatent-train", daemon=True)
        # A daemon thread inside torch may crash an interpreter that is going away, so it is stopped first.
        atexit.register(self._stop_at_exit)
        self._thread.start()

    def pause(self) -> None:
        """Stop after the present step and save; returns when training stands still, or after a second."""
        self._control.move("paused", out_of=("training",))
        self._turnstile.wait_outside(PAUSE_TIMEOUT_S)

    def resume(self: "Run | str | Path") -> "Run":
        """Go on after a pause; or, as `Run.resume(folder)`, the run of a folder at its last saved state.

        The run of a folder is ready to be started, so that a view can be put on it first.

        Raises
        ------
        ResumeError
            If the folder holds no run, or the store or its labels have changed since.
        """
        if not isinstance(self, Run):
            return _open_run(Path(self))
        self._control.move("training", out_of=("paused",))
        return self

    def step(self, timeout: float | int | None = None) -> RunStatus:
        """Train on exactly one minibatch and stand still again; a run that was not started begins paused.

        Parameters
        ----------
        timeout
            Seconds to wait for the step; None until it is done.

        Raises
        ------
        RuntimeError
            If the run trains, is stopping, is done or has failed.
        """
        if self._control.phase == "training":
            raise RuntimeError("the run trains step after step already; call run.pause() first.")
        self._start("paused")
        self._control.grant_step(timeout, lambda: self.is_alive)
        return self.status

    def set(
        self, *, learning_rate: float | int | None = None, weights: Mapping[str, float | int] | None = None
    ) -> Settings:
        """Set learning rate and loss weights of the present stage, from the next step on; schedules stay.

        What is set is a mark in the history, and is kept with the run. It is the stage's own rate, which its warm-up
        rises to and its cosine falls from, and weights in full. Later stages keep theirs.

        Raises
        ------
        SettingError
            If the stage has no such term, a value can't train, or nothing trains any more.

        Examples
        --------
        >>> run.set(learning_rate=5e-4, weights={"batch": 0.2})  # doctest: +SKIP
        """
        stage, phase = self._state.stage, self._control.phase
        if stage is None or phase in ("done", "failed"):
            raise SettingError(f"the run is {phase}: there is no step left that a setting could change.")
        change = Change(stage=stage.name, learning_rate=learning_rate, weights=dict(weights or {}))
        changed(stage, change)
        if not self.is_alive:
            self._apply(change)
        else:
            self._control.ask(change, SET_TIMEOUT_S)
            if not self.is_alive:
                self._obey()  # it ended without having looked
        return self.settings

    def stop(self) -> None:
        """End after the present step, with everything saved; `start` goes on from there."""
        self._control.move("stopping", out_of=("training", "paused"))

    def wait(self, timeout: float | int | None = None) -> RunStatus:
        """Wait until the run has ended, or for `timeout` seconds; an interrupt (Ctrl-C, or the notebook's) stops it.

        Raises
        ------
        RuntimeError
            If the run was never started.
        Exception
            The one that ended training, if it failed.
        """
        thread = self._thread
        if thread is None:
            if self._control.phase == "ready":
                raise RuntimeError("the run was not started, so there is nothing to wait for: call run.start() first.")
            return self.status
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while thread.is_alive() and (end is None or time.monotonic() < end):
                # In slices: an endless join can't be interrupted on every system.
                thread.join(0.1 if end is None else max(min(0.1, end - time.monotonic()), 0.0))
        except KeyboardInterrupt:
            self.stop()
            thread.join()
            raise
        if self._error is not None:
            raise self._error
        return self.status

    def __await__(self) -> Generator[Any, None, RunStatus]:
        """Wait as `wait` does, and leave a notebook's kernel free for clicks meanwhile: `await run`."""
        return waited_beside(self).__await__()

    def snapshot(self) -> Snapshot:
        """A copy of the model between two steps; at most one step (or an epoch's validation) is waited for."""
        with self._turnstile.between_steps():
            state = self._state
            return Snapshot(state.step, state.epoch, copy_to(self._model, device_of(self._model)))

    def __repr__(self) -> str:
        status = self.status
        return f"Run({type(self._model).__name__}, {status.state}, epoch {status.epoch}/{status.epochs}, {self.folder})"

    @property
    def is_alive(self) -> bool:
        """Whether its thread still works."""
        return self._thread is not None and self._thread.is_alive()

    def _work(self) -> None:
        try:
            with (
                atomic.only_writer(self.folder / ".lock", f"the run {self.folder}"),
                cpu_threads(self._model, self.stream.minibatch_cells),
            ):
                self._begin()
                self._train()
                self._obey()
                with self._turnstile.step():
                    self._model.eval()
                self._save()
                self._model.save(self.folder / "model")
            self._control.set("done" if self._state.stage is None else "stopped")
        except BaseException as error:
            self._error = error
            self._message = f"{type(error).__name__}: {error}"
            with contextlib.suppress(Exception):
                self._model.eval()
            self._control.set("failed")
        finally:
            atexit.unregister(self._stop_at_exit)

    def _begin(self) -> None:
        if not holds_run(self.folder):
            self._model.save(self.folder / "model")
            write_kept(self.folder, self.atlas, self.epochs, self.stream, self.device, self.rows)
        if self._state.step == 0:
            self._save()
            self.history.mark(0, f"stage {self._state.stages[0].name}")

    def _train(self) -> None:
        steps = train(self._model, self.atlas, self.stream, rows=self.rows, device=self.device, state=self._state)
        try:
            while self._may_go_on():
                stage_index = self._state.stage_index
                with self._turnstile.step():
                    step = next(steps, None)
                if step is None:
                    return
                self._record(step)
                if self._state.stage_index != stage_index and self._state.stage is not None:
                    self.history.mark(step.number, f"stage {self._state.stage.name}")
                if time.monotonic() - self._saved_at > (SAVE_APART_S if step.ends_epoch else SAVE_EVERY_S):
                    self._save()
        finally:
            steps.close()  # type: ignore[attr-defined]

    def _may_go_on(self) -> bool:
        while True:
            if self._control.phase == "paused" and self._saved != self._progress:
                # Who pauses may well go home.
                self._save()
            turn = self._control.turn()
            if turn != "set":
                return turn == "step"
            self._obey()

    def _obey(self) -> None:
        """Set what was asked for."""
        while (change := self._control.next_change()) is not None:
            self._apply(change)
            self._control.has_set()

    def _apply(self, change: Change) -> None:
        stage, step = self._state.stage, self._state.step
        if stage is None or stage.name != change.stage:
            # Its last step was under way when it was asked for.
            self.history.mark(step, f"not set: the stage {change.stage} had ended")
        elif words := self._state.apply(change):
            self.history.mark(step, words)

    @property
    def _progress(self) -> tuple[int, int]:
        return self._state.step, len(self._state.changes)

    def _record(self, step: Step) -> None:
        self.history.add(step.number, {**step.terms, **step.metrics}, "train")
        if step.validation is not None:
            self.history.add(step.number, step.validation, "validation")
        self._pace = (step.cells_per_s, step.wait_share)
        self._health = step.health
        self._control.has_stepped()

    def _save(self) -> None:
        # History first: what is newer than the state is cut when the run goes on.
        self.history.save(self.folder / "history.npz")
        self._state.save(self.folder)
        self._saved_at, self._saved = time.monotonic(), self._progress

    def _stop_at_exit(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(10)


def _open_run(folder: Path) -> Run:
    from livelatent.train.retrain import labels_kept

    kept = read_kept(folder)
    model = load_model(folder / "model")
    run = Run(model, labels_kept(folder, kept.atlas), kept.epochs, folder, kept.stream, kept.device, rows=kept.rows)
    run._is_resumed = True
    run._state.restore(folder)
    if (folder / "history.npz").exists():
        run.history = History.load(folder / "history.npz")
        run.history.cut(run._state.step)
    if run._state.stage is None:
        run._control.set("done")
    return run
