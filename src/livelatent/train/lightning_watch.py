"""A Lightning callback by which the view watches any LightningModule: its losses, its latent, its pause and stop."""

import atexit
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.shown_cells import shown_cells
from livelatent.extras import how_to_install
from livelatent.models.active_units import latent_alarm
from livelatent.train.history import History
from livelatent.train.logged_metrics import LoggedMetrics
from livelatent.train.questions import Embedding, Questions
from livelatent.train.run import RunStatus
from livelatent.train.run_status import Phase
from livelatent.train.waiting import waited_beside

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback  # type: ignore[assignment]
    except ImportError:
        raise ImportError(
            f"livelatent.LightningWatch needs Lightning, which is not installed: {how_to_install('lightning')}"
        ) from None

__all__ = ["LightningWatch"]

STILL_S = 0.2
"""A pause lets Python's signals through so often."""
JUDGED_CELLS = 1000
"""A latent of as many cells, or of all where there are fewer, may be said to have collapsed."""


class LightningWatch(Callback):
    """Watches what a Trainer trains: give it to the Trainer, and a view to the person.

    Parameters
    ----------
    cells
        The AnnData (or Atlas) whose cells are shown; rows of it are what `embed` is asked for.
    embed
        `embed(module, rows)` gives the latent [cell, latent] of these rows: an array or a tensor. It is called on the
        thread that trains, between two steps, in evaluation mode and without gradients, as often as the view's share
        of a core allows.
    label, batch, unlabelled, counts, journal
        Of an AnnData, as in `LiveView`; an Atlas has its own.

    Raises
    ------
    NothingToSeeError
        If `cells` is neither, or one of these is said of an Atlas.

    Examples
    --------
    >>> watch = LightningWatch(adata, embed, label="cell_type")  # doctest: +SKIP
    >>> trainer = Trainer(max_epochs=20, callbacks=[watch])  # doctest: +SKIP
    >>> watch.start(lambda: trainer.fit(module, loader))  # in the background: clicks reach it  # doctest: +SKIP
    >>> ll.LiveView(watch)  # doctest: +SKIP

    Notes
    -----
    `await watch` waits for what `start` began and leaves the kernel free. `trainer.fit` in a cell of its own works too;
    whether clicks arrive meanwhile is then up to the kernel.
    """

    def __init__(
        self,
        cells: Any,
        embed: Embedding,
        *,
        label: str | None = None,
        batch: str | None = None,
        unlabelled: Sequence[str] = (),
        counts: str | None = None,
        journal: Path | str | None = None,
    ) -> None:
        super().__init__()
        self.atlas: Atlas = shown_cells(
            cells, label=label, batch=batch, unlabelled=tuple(unlabelled), counts=counts, journal=journal
        )
        self.history = History()
        self.folder: Path | None = None
        self.notes: tuple[str, ...] = ()
        self._fit: Callable[[], Any] | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._module: Any = None
        self._trainer: Any = None
        # Guards all below; waiters are told of every change.
        self._changed = threading.Condition()
        self._state: Phase = "ready"
        self._message = ""
        self._place = (0, 0, 0)
        self._alarm: str | None = None
        self._cells_per_s = 0.0
        self._questions = Questions(embed, self._changed)
        self._metrics = LoggedMetrics(self.history)
        self._clock = (time.monotonic(), 0)

    # What a view asks

    @property
    def status(self) -> RunStatus:
        """Where the fit stands."""
        epoch, epochs, step = self._place
        # Lightning has no stages, and does not say how long it waits for data.
        alarms = () if self._alarm is None else (self._alarm,)
        return RunStatus(self._state, "", epoch, epochs, step, self._cells_per_s, 0.0, self._message, alarms=alarms)

    @property
    def can_start(self) -> bool:
        """Whether `start` needs no argument: a fit was given, and none is under way."""
        return self._fit is not None and self._state in ("ready", "stopped") and not self.is_alive

    def start(self, fit: Callable[[], Any] | None = None) -> None:
        """Call `fit` in a background thread, so that the notebook stays free; without one, that of the last call.

        Raises
        ------
        RuntimeError
            If a fit is under way, or none was ever given.
        """
        with self._changed:
            if self._state == "paused":
                return self.resume()
            if self._questions.answering is not None or self.is_alive:
                raise RuntimeError("a fit is under way. Stop it first.")
            if fit is None and self._fit is None:
                raise RuntimeError("nothing was given to start: call watch.start(lambda: trainer.fit(module)).")
            self._fit = fit or self._fit
            self._error, self._message = None, ""
            self._thread = threading.Thread(target=self._work, name="livelatent-fit", daemon=True)
        # A daemon thread inside torch may crash an interpreter that is going away, so it is stopped first.
        atexit.register(self._stop_at_exit)
        self._thread.start()
        return None

    def pause(self) -> None:
        """Stand still after the present step."""
        with self._changed:
            if self._state == "training":
                self._set("paused")

    def resume(self) -> None:
        """Go on after a pause."""
        with self._changed:
            if self._state == "paused":
                self._set("training")

    def stop(self) -> None:
        """End after the present step, as Lightning's `trainer.should_stop` does, with its callbacks' last words."""
        with self._changed:
            if self._state in ("training", "paused"):
                self._set("stopping")
                self._trainer.should_stop = True

    def wait(self, timeout: float | int | None = None) -> RunStatus:
        """Wait for a fit that `start` began.

        Raises
        ------
        Exception
            The one that ended it, if it failed.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self.status

    def __await__(self) -> Generator[Any, None, RunStatus]:
        """Wait as `wait` does, and leave a notebook's kernel free for clicks meanwhile; cancelled, it stops the fit."""
        return waited_beside(self).__await__()

    def eye(self) -> "ModuleEye":
        """The module, which is asked between two steps."""
        return ModuleEye(self, self._place[2])

    def embed(self, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """The latent of sorted rows, from whatever thread it is asked for.

        Raises
        ------
        LookupError
            If nothing was fitted yet, or training gives no answer.
        """
        if self._module is None:
            raise LookupError("the map appears when the fit has begun.")
        latent = self._questions.ask(self._module, rows)
        # Of a few cells, alike by chance or by choice, nothing is said; nor of a module that has hardly learnt: weights
        # as torch draws them give latents with a variance below .01.
        if len(rows) >= min(JUDGED_CELLS, self.atlas.n_cells) and self._place[0] >= 1:
            self._alarm = latent_alarm(torch.from_numpy(latent))
        return latent

    # What Lightning tells

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Note who trains."""
        with self._changed:
            self._trainer, self._module = trainer, pl_module
            self._questions.answering = threading.get_ident()
            self._clock = (time.monotonic(), trainer.global_step)
            self._alarm = None
            self.history.begin_again()
            self._set("training")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the loss, answer the view, and stand still while paused."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        # A tensor is kept as it is: the history fetches it when somebody looks.
        if isinstance(loss, torch.Tensor):
            self.history.add(trainer.global_step, {"loss": loss.detach()}, "train")
        self._note_place(trainer)
        self._questions.answer(pl_module)
        while self._is_paused():
            self._questions.answer(pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was logged over the epoch."""
        self._metrics.note(trainer)
        self.history.mark(trainer.global_step, f"epoch {trainer.current_epoch + 1}")

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was logged, but not of the trial before training."""
        if not trainer.sanity_checking:
            self._metrics.note(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Say how it ended."""
        self._note_place(trainer)
        self._questions.answer(pl_module)
        with self._changed:
            # Whoever asked meanwhile embeds by himself.
            self._questions.answering = None
            self._set("stopped" if self._state == "stopping" else "done")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Say why it ended."""
        with self._changed:
            self._questions.answering = None
            is_stop = isinstance(exception, KeyboardInterrupt)
            self._message = "" if is_stop else f"{type(exception).__name__}: {exception}"
            self._set("stopped" if is_stop else "failed")

    # Inside

    def _is_paused(self) -> bool:
        """Whether it stands still; returns when that is over, or when somebody asks."""
        with self._changed:
            self._changed.wait_for(lambda: self._state != "paused" or self._questions.is_asked, STILL_S)
            return self._state == "paused"

    @property
    def is_alive(self) -> bool:
        """Whether the thread that `start` began still works."""
        return self._thread is not None and self._thread.is_alive()

    def _work(self) -> None:
        assert self._fit is not None
        try:
            self._fit()
        except BaseException as error:
            self._error = error
            with self._changed:
                self._questions.answering = None
                self._message = self._message or f"{type(error).__name__}: {error}"
                self._set("failed")
        finally:
            atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(10)

    def _set(self, state: Phase) -> None:
        self._state = state
        self._changed.notify_all()

    def _note_place(self, trainer: Any) -> None:
        step = int(trainer.global_step)
        self._place = (int(trainer.current_epoch), max(int(trainer.max_epochs or 0), 0), step)
        then, before = self._clock
        if (passed := time.monotonic() - then) > 1.0:
            size = getattr(trainer.train_dataloader, "batch_size", None) or 0
            self._cells_per_s, self._clock = (step - before) * size / passed, (time.monotonic(), step)


class ModuleEye:
    """The module as of a step; it may have gone some steps further when it is asked."""

    def __init__(self, watch: LightningWatch, step: int) -> None:
        self._watch, self.step = watch, step

    def embed(self, atlas: Atlas, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """The latent of sorted rows."""
        return self._watch.embed(rows)

    def sha256(self) -> str:
        """Of the weights as they are."""
        import hashlib

        digest = hashlib.sha256()
        for name, value in sorted(self._watch._module.state_dict().items() if self._watch._module is not None else ()):
            digest.update(name.encode())
            if isinstance(value, torch.Tensor):
                digest.update(value.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()
