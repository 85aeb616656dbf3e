"""A Run: a folder and a thread around `train`."""

import asyncio
import atexit
import contextlib
import json
import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from livelatent import atomic
from livelatent.arrays import Rows, as_rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.foreign import open_foreign
from livelatent.atlas.layout import beside
from livelatent.errors import LivelatentError, ResumeError, StoreError
from livelatent.models.model import Model
from livelatent.models.weights import copy_to, load_model
from livelatent.paths import is_address
from livelatent.stream.health import Health
from livelatent.stream.plan import StreamConfig
from livelatent.stream.position import hash_rows
from livelatent.train.devices import cpu_threads, device_of, resolve_device
from livelatent.train.history import History
from livelatent.train.loop import Step, choose_stream, train
from livelatent.train.state import TrainState
from livelatent.train.turnstile import Turnstile

FORMAT = 1
SAVE_EVERY_S = 300.0
SAVE_APART_S = 1.0
"""Epochs shorter than this share a save: on small atlases syncing each to disk took longer than training it."""
PAUSE_TIMEOUT_S = 1.0

State = Literal["ready", "training", "paused", "stopping", "done", "stopped", "failed", "latent"]
"""The last is no run's: a latent that is there already, where nothing trains (`session/given.py`)."""


@dataclass(frozen=True)
class RunStatus:
    """A run as it is now."""

    state: State
    stage: str
    """The present stage; the last one when all is done."""
    epoch: int
    """Epochs done, over all stages."""
    epochs: int
    """Epochs of the whole run; fewer once a stage has stopped early."""
    step: int
    cells_per_s: float
    wait_share: float
    """Share of the time that training waits for the stream."""
    message: str
    """Why it failed, or what was said at the end."""
    health: Health = field(default_factory=Health)
    """Of the stream that it trains on."""
    alarms: tuple[str, ...] = ()
    """What the model said is wrong with it when it was validated last, such as a collapsed posterior."""

    def __repr__(self) -> str:
        text = f"{self.state}: epoch {self.epoch} of {self.epochs}, step {self.step:,} ({self.stage})"
        if self.cells_per_s:
            text += f", {self.cells_per_s:,.0f} cells/s, {self.wait_share:.0%} of the time waiting for data"
        if self.health.types:
            text += f", {self.health.types:.0f} labels and {self.health.batches:.0f} batches a minibatch"
        if self.health.lone_cells >= 0.5:
            text += f", {self.health.lone_cells:.0f} of its cells alone with their label"
        return f"RunStatus({'. '.join((text, *filter(None, (self.message,)), *self.alarms))})"


@dataclass(frozen=True)
class Snapshot:
    """A copy of the model in evaluation mode, taken between two steps."""

    step: int
    epoch: int
    model: Model


class Run:
    """Training in a background thread, with a folder from which it can go on after a crash.

    Parameters
    ----------
    epochs
        Of the model's longest stage; None keeps the model's own.
    folder
        Where config, history, state and model are kept; None means `NAME.runs/ID` beside the store.
    stream
        How epochs are cut up; None chooses a minibatch by the number of training cells, and the model's own balance.
    rows
        Cells that may be used: their training split trains, their validation split validates. None means all.
    memory
        Limit such as `"1GB"` on what the streams of training and validation hold together: it decides the buffer,
        which stands in `stream` then. The model's own memory is not counted.

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
        stream: StreamConfig | None = None,
        device: str = "auto",
        *,
        rows: Rows | None = None,
        memory: int | str | None = None,
    ) -> None:
        self.atlas = atlas
        self.folder = _fresh_folder(atlas) if folder is None else Path(folder)
        self.device = resolve_device(device)
        self.epochs = epochs
        self.rows = None if rows is None else as_rows(rows, atlas.n_cells)
        self.stream = choose_stream(model, atlas, stream, rows, memory)
        self.history = History()
        self._model = model
        self._state = TrainState.start(model, epochs)
        self._phase: State = "ready"
        self._message = ""
        self._pace = (0.0, 0.0)
        self._health = Health()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._turnstile = Turnstile()
        # Guards `_phase`; its waiters are told of every change.
        self._changed = threading.Condition()
        self._saved_at = 0.0
        self._is_resumed = False

    @property
    def status(self) -> RunStatus:
        """Where the run stands: a frozen copy."""
        state, stages = self._state, self._state.stages
        stage = stages[min(state.stage_index, len(stages) - 1)]
        return RunStatus(
            self._phase,
            stage.name,
            state.epoch,
            state.epochs,
            state.step,
            *self._pace,
            self._message,
            self._health,
            state.alarms,
        )

    @property
    def model(self) -> Model:
        """The model; while the thread trains it, a copy as it is now."""
        return self.snapshot().model if self._is_alive else self._model

    @property
    def notes(self) -> tuple[str, ...]:
        """The model's notes, without the copy that `model` makes while it trains."""
        return self._model.notes

    def start(self) -> None:
        """Train in a background thread; go on where a stopped run stands.

        Raises
        ------
        RuntimeError
            If the run is done or has failed.
        ResumeError
            If the folder holds another run.
        """
        with self._changed:
            if self._phase in ("training", "paused"):
                self._set("training")
                return
            if self._phase == "stopping":
                raise RuntimeError("the run is stopping; call run.wait() first.")
            if self._phase in ("done", "failed"):
                raise RuntimeError(
                    f"this run is {self._phase}. Make a new Run to train on, "
                    f"or go on from its last saved state with Run.resume({str(self.folder)!r})."
                )
            if self._phase == "ready" and not self._is_resumed and (self.folder / "config.json").exists():
                raise ResumeError(
                    f"{self.folder} holds a run already. Go on with it by Run.resume({str(self.folder)!r}), "
                    "or name another folder."
                )
            self._error, self._message = None, ""
            self._set("training")
        self._thread = threading.Thread(target=self._work, name="livelatent-train", daemon=True)
        # A daemon thread inside torch may crash an interpreter that is going away, so it is stopped first.
        atexit.register(self._stop_at_exit)
        self._thread.start()

    def pause(self) -> None:
        """Stop after the present step and save; returns when training stands still, or after a second."""
        with self._changed:
            if self._phase == "training":
                self._set("paused")
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
        with self._changed:
            if self._phase == "paused":
                self._set("training")
        return self

    def stop(self) -> None:
        """End after the present step, with everything saved; `start` goes on from there."""
        with self._changed:
            if self._phase in ("training", "paused"):
                self._set("stopping")

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
            if self._phase == "ready":
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
        return self._wait_beside().__await__()

    async def _wait_beside(self) -> RunStatus:
        try:
            while self.wait(timeout=0).state in ("training", "paused", "stopping"):
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            self.stop()
            raise
        return self.wait()

    def snapshot(self) -> Snapshot:
        """A copy of the model between two steps; at most one step (or an epoch's validation) is waited for."""
        with self._turnstile.between_steps():
            state = self._state
            return Snapshot(state.step, state.epoch, copy_to(self._model, device_of(self._model)))

    def __repr__(self) -> str:
        status = self.status
        return f"Run({type(self._model).__name__}, {status.state}, epoch {status.epoch}/{status.epochs}, {self.folder})"

    @property
    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _set(self, phase: State) -> None:
        with self._changed:
            self._phase = phase
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            with (
                atomic.only_writer(self.folder / ".lock", f"the run {self.folder}"),
                cpu_threads(self._model, self.stream.minibatch_cells),
            ):
                self._begin()
                self._train()
                with self._turnstile.step():
                    self._model.eval()
                self._save()
                self._model.save(self.folder / "model")
            self._set("done" if self._state.stage is None else "stopped")
        except BaseException as error:
            self._error = error
            self._message = f"{type(error).__name__}: {error}"
            with contextlib.suppress(Exception):
                self._model.eval()
            self._set("failed")
        finally:
            atexit.unregister(self._stop_at_exit)

    def _begin(self) -> None:
        if not (self.folder / "config.json").exists():
            # The model's folder first: config.json says that a run is here, so it comes last.
            self._model.save(self.folder / "model")
            if self.rows is not None:
                atomic.write_bytes(self.folder / "rows.i64", self.rows.astype("<i8").tobytes())
            atomic.write_json(self.folder / "config.json", self._config())
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
        if self._phase == "paused":
            # Who pauses may well go home.
            self._save()
        with self._changed:
            while self._phase == "paused":
                self._changed.wait()
            return self._phase == "training"

    def _record(self, step: Step) -> None:
        self.history.add(step.number, {**step.terms, **step.metrics}, "train")
        if step.validation is not None:
            self.history.add(step.number, step.validation, "validation")
        self._pace = (step.cells_per_s, step.wait_share)
        self._health = step.health

    def _save(self) -> None:
        # History first: what is newer than the state is cut when the run goes on.
        self.history.save(self.folder / "history.npz")
        self._state.save(self.folder)
        self._saved_at = time.monotonic()

    def _config(self) -> dict[str, Any]:
        from livelatent import __version__

        return {
            "format": FORMAT,
            "version": __version__,
            "atlas": str(self.atlas.path),
            "atlas_uuid": self.atlas.uuid,
            "atlas_asked": self.atlas.asked,
            "epochs": self.epochs,
            "device": str(self.device),
            "stream": self.stream.to_dict(),
            "rows_sha256": None if self.rows is None else hash_rows(self.rows),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _stop_at_exit(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(10)


def _fresh_folder(atlas: Atlas) -> Path:
    if not isinstance(atlas.path, Path):
        raise StoreError(
            f"{atlas.path} is remote, so no run is kept beside it. Name a folder on this machine: "
            'Run(model, atlas, folder="my-run").'
        )
    return beside(atlas.path, "runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def _open_run(folder: Path) -> Run:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ResumeError(
                f"{folder}: a run of format {config['format']!r}; this version of livelatent reads format {FORMAT}. "
                "Resume with the version that wrote it."
            )
        stream = StreamConfig.from_dict(config["stream"])
        epochs, uuid_then, device = config["epochs"], str(config["atlas_uuid"]), str(config["device"])
        rows = None
        if config["rows_sha256"] is not None:
            rows = np.frombuffer((folder / "rows.i64").read_bytes(), dtype="<i8").astype(np.int64)
            if hash_rows(rows) != config["rows_sha256"]:
                raise ResumeError(f"{folder}: rows.i64 does not match its sha256; it is damaged. Start a new run.")
    except FileNotFoundError as error:
        raise ResumeError(
            f"{folder} holds no run that was saved: there is no {Path(error.filename).name}. Name the folder that "
            "`run.folder` gave, or start a new run."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, LivelatentError):
            raise
        raise ResumeError(f"{folder}: config.json can't be read ({error!r}). Start a new run.") from error
    from livelatent.train.retrain import labels_kept

    atlas = labels_kept(folder, _open_atlas(folder, str(config["atlas"]), uuid_then, config.get("atlas_asked")))
    model = load_model(folder / "model")
    if device.startswith("cuda"):
        device = "auto"  # another machine may have none
    run = Run(model, atlas, epochs, folder, stream, device, rows=rows)
    run._is_resumed = True
    run._state.restore(folder)
    if (folder / "history.npz").exists():
        run.history = History.load(folder / "history.npz")
        run.history.cut(run._state.step)
    run._phase = "done" if run._state.stage is None else "ready"
    return run


def _open_atlas(folder: Path, named: str, uuid_then: str, asked: dict[str, Any] | None) -> Atlas:
    if is_address(named):
        atlas = Atlas.open(named)
        if atlas.uuid == uuid_then:
            return atlas
    path = Path(named)
    # The store may have moved together with its runs: NAME.runs/ID lies beside it.
    for candidate in (path, folder.absolute().parent.parent / path.name):
        if candidate.exists():
            atlas = Atlas.open(candidate) if asked is None else open_foreign(candidate, **asked)
            if atlas.uuid == uuid_then:
                return atlas
    raise ResumeError(
        f"{folder}: the store that the run trains on ({named}, uuid {uuid_then}) is not there any more, or another "
        "stands in its place. Put it back, or start a new run."
    )
