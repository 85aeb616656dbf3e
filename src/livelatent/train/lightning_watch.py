"""A Lightning callback by which the view watches any LightningModule: its losses, its latent, its pause and stop."""

import atexit
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.anndata_atlas import AnnDataAtlas
from livelatent.atlas.atlas import Atlas
from livelatent.train.history import History
from livelatent.train.run import RunStatus, State

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback  # type: ignore[assignment]
    except ImportError:
        raise ImportError(
            'livelatent.LightningWatch needs Lightning, which is not installed: pip install "livelatent[lightning]"'
        ) from None

__all__ = ["LightningWatch", "curve_of"]

Embedding = Callable[[Any, ndarray], Any]
ANSWER_TIMEOUT_S = 600.0
PIECE_CELLS = 4096


def curve_of(name: str) -> tuple[str, str]:
    """The curve that a logged metric belongs to: its term, and "train" or "validation".

    Examples
    --------
    >>> curve_of("val_loss"), curve_of("elbo_train"), curve_of("train_loss_epoch"), curve_of("acc")
    (('loss', 'validation'), ('elbo', 'train'), ('loss', 'train'), ('acc', 'train'))
    """
    words = [word for word in re.split(r"[_/]", name) if word not in ("step", "epoch")]
    is_validation = any(word in ("val", "valid", "validation") for word in words)
    term = "_".join(word for word in words if word not in ("val", "valid", "validation", "train", "training"))
    return term or name, "validation" if is_validation else "train"


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
        Of an AnnData, as in `LiveView`.

    Examples
    --------
    >>> watch = LightningWatch(adata, embed, label="cell_type")  # doctest: +SKIP
    >>> trainer = Trainer(max_epochs=20, callbacks=[watch])  # doctest: +SKIP
    >>> watch.start(lambda: trainer.fit(module, loader))  # in the background: clicks reach it  # doctest: +SKIP
    >>> ll.LiveView(watch)  # doctest: +SKIP

    Notes
    -----
    `trainer.fit` in a cell of its own works too; whether clicks arrive meanwhile is then up to the kernel.
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
        folder = None if journal is None else Path(journal).absolute()
        self.atlas: Atlas = (
            cells
            if isinstance(cells, Atlas)
            else AnnDataAtlas(cells, label=label, batch=batch, unlabelled=unlabelled, counts=counts, labels=folder)
        )
        self.history = History()
        self.folder: Path | None = None
        self.notes: tuple[str, ...] = ()
        self._embed = embed
        self._fit: Callable[[], Any] | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._module: Any = None
        self._trainer: Any = None
        # Guards all below; waiters are told of every change.
        self._changed = threading.Condition()
        self._state: State = "ready"
        self._message = ""
        self._place = (0, 0, 0)
        self._cells_per_s = 0.0
        self._asked: list[_Question] = []
        self._fitting: int | None = None
        """The thread that fits."""
        self._seen: dict[str, float] = {}
        self._clock = (time.monotonic(), 0)

    # What a view asks

    @property
    def status(self) -> RunStatus:
        """Where the fit stands."""
        epoch, epochs, step = self._place
        # Lightning has no stages, and does not say how long it waits for data.
        return RunStatus(self._state, "", epoch, epochs, step, self._cells_per_s, 0.0, self._message)

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
            if self._fitting is not None or (self._thread is not None and self._thread.is_alive()):
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

    def eye(self) -> "ModuleEye":
        """The module, which is asked between two steps."""
        return ModuleEye(self, self._place[2])

    def embed(self, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """The latent of sorted rows, from whatever thread it is asked for.

        Raises
        ------
        LookupError
            If nothing was fitted yet, or the fit ended meanwhile without an answer.
        """
        with self._changed:
            if self._module is None:
                raise LookupError("the map appears when the fit has begun.")
            if self._fitting is not None and self._fitting != threading.get_ident():
                question = _Question(rows)
                self._asked.append(question)
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: question.is_answered or self._fitting is None, ANSWER_TIMEOUT_S):
                    raise LookupError(f"training gave no answer within {ANSWER_TIMEOUT_S:.0f} s.")
                if question.is_answered:
                    return question.answer()
        return self._latent(rows)

    # What Lightning tells

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Note who trains."""
        with self._changed:
            self._trainer, self._module = trainer, pl_module
            self._fitting = threading.get_ident()
            self._clock, self._asked = (time.monotonic(), trainer.global_step), []
            self._set("training")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the loss, answer the view, and stand still while paused."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        # A tensor is kept as it is: the history fetches it when somebody looks.
        if isinstance(loss, torch.Tensor):
            self.history.add(trainer.global_step, {"loss": loss.detach()}, "train")
        self._note_place(trainer)
        with self._changed:
            self._answer()
            while self._state == "paused":
                self._changed.wait(0.2)
                self._answer()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was logged over the epoch."""
        self._note_metrics(trainer)
        self.history.mark(trainer.global_step, f"epoch {trainer.current_epoch + 1}")

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was logged, but not of the trial before training."""
        if not trainer.sanity_checking:
            self._note_metrics(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Say how it ended."""
        self._note_place(trainer)
        with self._changed:
            self._answer()
            self._fitting = None
            self._set("stopped" if self._state == "stopping" else "done")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Say why it ended."""
        with self._changed:
            self._fitting = None
            is_stop = isinstance(exception, KeyboardInterrupt)
            self._message = "" if is_stop else f"{type(exception).__name__}: {exception}"
            self._set("stopped" if is_stop else "failed")

    # Inside

    def _work(self) -> None:
        assert self._fit is not None
        try:
            self._fit()
        except BaseException as error:
            self._error = error
            with self._changed:
                self._fitting = None
                self._message = self._message or f"{type(error).__name__}: {error}"
                self._set("failed")
        finally:
            atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(10)

    def _set(self, state: State) -> None:
        self._state = state
        self._changed.notify_all()

    def _note_place(self, trainer: Any) -> None:
        step = int(trainer.global_step)
        self._place = (int(trainer.current_epoch), max(int(trainer.max_epochs or 0), 0), step)
        then, before = self._clock
        if (passed := time.monotonic() - then) > 1.0:
            size = getattr(trainer.train_dataloader, "batch_size", None) or 0
            self._cells_per_s, self._clock = (step - before) * size / passed, (time.monotonic(), step)

    def _note_metrics(self, trainer: Any) -> None:
        """Metrics that are new or have changed; the last step's value of one that has its epoch's mean is left out."""
        step = int(trainer.global_step)
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for name, value in logged.items():
            if name.removesuffix("_step") + "_epoch" in logged and not name.endswith("_epoch"):
                continue
            term, split = curve_of(name)
            if self._seen.get(name) != value and not (term == "loss" and split == "train"):
                self.history.add(step, {term: value}, split)
            self._seen[name] = value

    def _answer(self) -> None:
        """Answer what other threads ask; called on the thread that trains, holding the lock."""
        asked, self._asked = self._asked, []
        for question in asked:
            try:
                question.latent = self._latent(question.rows)
            except Exception as error:
                question.error = error
        if asked:
            self._changed.notify_all()

    def _latent(self, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        module = self._module
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        parts = []
        try:
            with torch.no_grad():
                for start in range(0, len(rows), PIECE_CELLS):
                    piece = self._embed(module, rows[start : start + PIECE_CELLS])
                    piece = piece.detach().float().cpu().numpy() if isinstance(piece, torch.Tensor) else piece
                    parts.append(np.asarray(piece, np.float32))
        finally:
            for part, was_training in modes:
                part.training = was_training
        latent = np.concatenate(parts)
        if latent.shape[0] != len(rows) or latent.ndim != 2:
            raise ValueError(f"`embed` gave shape {latent.shape} for {len(rows)} rows; [cell, latent] was wanted.")
        if not np.isfinite(latent).all():
            raise ValueError("`embed` gave missing or infinite numbers: has training diverged?")
        return latent


class _Question:
    """Rows that another thread wants the latent of."""

    def __init__(self, rows: ndarray) -> None:
        self.rows = rows
        self.latent: ndarray | None = None
        self.error: Exception | None = None

    @property
    def is_answered(self) -> bool:
        return self.latent is not None or self.error is not None

    def answer(self) -> ndarray:
        if self.error is not None:
            raise self.error
        assert self.latent is not None
        return self.latent


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
