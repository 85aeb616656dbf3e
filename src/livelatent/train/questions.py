"""Asking a module that trains for latents: other threads ask, and the thread that trains answers between two steps."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from livelatent.arrays import Float, Int, ndarray

__all__ = ["Embedding", "Questions"]

Embedding = Callable[[Any, ndarray], Any]
"""`embed(module, rows)`: an array or tensor [cell, latent]."""

ANSWER_TIMEOUT_S = 600.0
PIECE_CELLS = 4096


class Question:
    """Rows that another thread wants the latent of."""

    def __init__(self, rows: ndarray) -> None:
        self.rows = rows
        self.latent: ndarray | None = None
        self.error: Exception | None = None

    @property
    def is_answered(self) -> bool:
        """Whether there is a latent, or an error in its place."""
        return self.latent is not None or self.error is not None


class Questions:
    """Those that wait for an answer.

    Parameters
    ----------
    changed
        Guards what is asked and answered, and is told of both. Nobody embeds while holding it: a pause would wait.
    """

    def __init__(self, embed: Embedding, changed: threading.Condition) -> None:
        self._embed = embed
        self._changed = changed
        self._open: list[Question] = []
        self.answering: int | None = None
        """The thread that trains; None while none does, and whoever asks embeds by himself."""

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for an answer; called with the lock held."""
        return bool(self._open)

    def ask(self, module: Any, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """The latent of rows, from whatever thread it is asked for.

        Raises
        ------
        LookupError
            If no answer comes.
        ValueError
            If what comes is no latent.
        """
        with self._changed:
            if self.answering is not None and self.answering != threading.get_ident():
                question = Question(rows)
                self._open.append(question)
                self._changed.notify_all()
                is_over = self._changed.wait_for(
                    lambda: question.is_answered or self.answering is None, ANSWER_TIMEOUT_S
                )
                if question in self._open:
                    self._open.remove(question)
                if not is_over:
                    raise LookupError(f"training gave no answer within {ANSWER_TIMEOUT_S:.0f} s.")
                if question.error is not None:
                    raise question.error
                if question.latent is not None:
                    return question.latent
        return self._latent(module, rows)

    def answer(self, module: Any) -> None:
        """Answer all; called on the thread that trains, without the lock."""
        with self._changed:
            asked, self._open = self._open, []
        for question in asked:
            latent, error = None, None
            try:
                latent = self._latent(module, question.rows)
            except Exception as trouble:
                error = trouble
            with self._changed:
                question.latent, question.error = latent, error
                self._changed.notify_all()

    def _latent(self, module: Any, rows: Int[ndarray, " cell"]) -> Float[ndarray, "cell latent"]:
        """In evaluation mode, without gradients, and every part's mode as it was afterwards."""
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
