"""How far training has come: all that the next step depends on, in memory and on disk."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from livelatent import atomic
from livelatent.errors import ResumeError
from livelatent.models.model import Model
from livelatent.models.weights import hash_tensors
from livelatent.stream.position import Position
from livelatent.train.settings import Change, Settings, changed, in_words, settings_of
from livelatent.train.stage import Stage

FORMAT = 1


@dataclass
class TrainState:
    """Model, optimiser and place in the run; `train` moves it on, one step at a time.

    There is no random state to keep: the stream's order follows from (seed, epoch), and the random numbers
    inside a step (dropout) from (seed, step).
    """

    model: Model
    stages: tuple[Stage, ...]
    stage_index: int = 0
    """`len(stages)` when all is done."""
    epoch: int = 0
    """Epochs done, over all stages."""
    stage_epoch: int = 0
    """Epochs done of the present stage."""
    step: int = 0
    """Optimiser steps done, over all stages."""
    epoch_step: int = 0
    """Steps done of the present epoch."""
    best_loss: float = math.inf
    best_epoch: int = 0
    """Epoch of the stage that had the lowest validation loss."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights of that epoch."""
    alarms: tuple[str, ...] = ()
    """What the model said is wrong with it when it was validated last."""
    best_alarms: tuple[str, ...] = ()
    """The same in the epoch of the lowest validation loss."""
    changes: tuple[Change, ...] = ()
    """What was set in mid-run, in order; `stages` hold it already."""
    n_steps: int = 0
    """Steps of an epoch of the present stage; 0 before its first."""
    optimizer: torch.optim.Adam | None = None
    position: Position | None = None
    _saved_optimizer: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def start(cls, model: Model, epochs: int | None = None) -> "TrainState":
        """The state before the first step; `epochs` is that of the longest stage, the others keep their share."""
        stages = model.stages
        if epochs is not None:
            if epochs < 1:
                raise ValueError(f"epochs must be at least 1; got {epochs}.")
            longest = max(stage.epochs for stage in stages)
            stages = tuple(
                dataclasses.replace(
                    stage.lasting(max(round(stage.epochs * epochs / longest), 1)),
                    warmup_epochs=min(stage.warmup_epochs, epochs // 4),
                )
                for stage in stages
            )
        return cls(model, stages)

    @property
    def stage(self) -> Stage | None:
        """The present stage; None when all is done."""
        return self.stages[self.stage_index] if self.stage_index < len(self.stages) else None

    @property
    def epochs(self) -> int:
        """Epochs of the whole run, if no stage stops early from now on."""
        ahead = sum(stage.epochs for stage in self.stages[self.stage_index :])
        return self.epoch - self.stage_epoch + ahead

    @property
    def settings(self) -> Settings:
        """Learning rate and weights as of now; of the last stage when all is done."""
        stage = self.stages[min(self.stage_index, len(self.stages) - 1)]
        epoch = self.stage_epoch + self.epoch_step / max(self.n_steps, 1)
        return settings_of(stage, epoch, self.changes)

    def apply(self, change: Change) -> str:
        """Make a change from the next step on; what it changed in words, empty where it changed nothing.

        Raises
        ------
        SettingError
            If the present stage can't take it.
        """
        before = self.stage
        assert before is not None
        after = changed(before, change)
        words = in_words(before, after)
        if words:
            self._replace(self.stage_index, after)
            self.changes = (*self.changes, dataclasses.replace(change, step=self.step))
        if before.weights != after.weights and before.watches == "loss":
            # A total of other weights can't be held against the lowest so far.
            self.best_loss, self.best_epoch, self.best, self.best_alarms = math.inf, self.stage_epoch, {}, ()
        return words

    def _replace(self, index: int, stage: Stage) -> None:
        self.stages = (*self.stages[:index], stage, *self.stages[index + 1 :])

    def prepare(self, device: torch.device) -> torch.optim.Adam:
        """Move to `device`; the present stage's optimiser, with what it had gathered when it was saved."""
        assert self.stage is not None
        self.model.to(device)
        self.best = {name: tensor.to(device) for name, tensor in self.best.items()}
        if self.optimizer is None:
            self.optimizer = self.stage.optimizer(self.model)
            parameters = self.stage.parameters(self.model)
            for name, values in self._saved_optimizer.items():
                # Adam keeps its step count on the CPU.
                self.optimizer.state[parameters[name]] = {
                    key: value if value.ndim == 0 else value.to(device) for key, value in values.items()
                }
            self._saved_optimizer = {}
        return self.optimizer

    def end_epoch(self, validation_loss: float | None) -> None:
        """Count the epoch, keep the weights if they are the best, and go to the next stage where this one ends.

        Parameters
        ----------
        validation_loss
            What the stage watches; None where there are no validation cells.
        """
        stage = self.stage
        assert stage is not None
        self.epoch, self.stage_epoch, self.epoch_step = self.epoch + 1, self.stage_epoch + 1, 0
        watched = stage.patience is not None and validation_loss is not None
        if watched and validation_loss is not None and validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = validation_loss, self.stage_epoch
            self.best = {name: p.detach().clone() for name, p in stage.parameters(self.model).items()}
            self.best_alarms = self.alarms
        patient = stage.patience is None or self.stage_epoch - self.best_epoch < stage.patience
        if self.stage_epoch < stage.epochs and (patient or not watched):
            return
        with torch.no_grad():
            for name, parameter in stage.parameters(self.model).items():
                if name in self.best:
                    parameter.copy_(self.best[name])
        if self.best:
            self.alarms = self.best_alarms
        self.stage_index, self.stage_epoch = self.stage_index + 1, 0
        self.best_loss, self.best_epoch, self.best, self.best_alarms = math.inf, 0, {}, ()
        self.optimizer, self.position, self.n_steps = None, None, 0

    def save(self, folder: Path) -> None:
        """Write `state.safetensors`, which holds everything, and `state.json`, its facts for people and views.

        One file holds it all, because two can't be replaced together: a kill between them would leave weights of
        one step with the place of another.
        """
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, values in self._optimizer_tensors().items():
            tensors |= {f"optimizer.{name}.{key}": value for key, value in values.items()}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        stage = self.stage
        facts: dict[str, Any] = {
            "format": FORMAT,
            "stage": None if stage is None else stage.name,
            "stage_index": self.stage_index,
            "epoch": self.epoch,
            "stage_epoch": self.stage_epoch,
            "step": self.step,
            "epoch_step": self.epoch_step,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "best_epoch": self.best_epoch,
            "alarms": list(self.alarms),
            "best_alarms": list(self.best_alarms),
            "changes": [change.to_dict() for change in self.changes],
            "position": None if self.position is None else json.loads(self.position.to_json()),
            "sha256": hash_tensors(tensors),
        }
        data = safetensors.torch.save(tensors, metadata={"state": json.dumps(facts)})
        atomic.write_bytes(folder / "state.safetensors", data)
        atomic.write_json(folder / "state.json", facts)

    def restore(self, folder: Path) -> None:
        """Take up what `save` wrote for the same model and stages.

        Raises
        ------
        ResumeError
            If the file is damaged, of another format, or of another model.
        """
        path = folder / "state.safetensors"
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            if facts["format"] != FORMAT:
                raise ResumeError(
                    f"{path}: state of format {facts['format']!r}; this version of livelatent reads {FORMAT}. Resume "
                    "with the version that wrote it."
                )
            if hash_tensors(tensors) != facts["sha256"]:
                raise ResumeError(f"{path}: the tensors don't match their sha256; the file is damaged. Start anew.")
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            self.model.load_state_dict(parts["model"])
            self.best = parts["best"]
            self.optimizer = None
            self._saved_optimizer = {}
            for name, tensor in parts["optimizer"].items():
                parameter, _, key = name.rpartition(".")
                self._saved_optimizer.setdefault(parameter, {})[key] = tensor
            for key in ("stage_index", "epoch", "stage_epoch", "step", "epoch_step", "best_epoch"):
                setattr(self, key, int(facts[key]))
            self.best_loss = math.inf if facts["best_loss"] is None else float(facts["best_loss"])
            # Not in the files of 0.1's first weeks, whose models had nothing to say.
            self.alarms = tuple(map(str, facts.get("alarms", ())))
            self.best_alarms = tuple(map(str, facts.get("best_alarms", ())))
            # Nor could anything be set in mid-run then.
            self.changes = tuple(map(Change.from_dict, facts.get("changes", ())))
            index = {stage.name: number for number, stage in enumerate(self.stages)}
            for change in self.changes:
                self._replace(index[change.stage], changed(self.stages[index[change.stage]], change))
            place = facts["position"]
            self.position = None if place is None else Position.from_json(json.dumps(place))
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
            if isinstance(error, ResumeError):
                raise
            raise ResumeError(
                f"{path}: the saved state can't be read ({error}). If the run was never saved, start a new one."
            ) from error

    def _optimizer_tensors(self) -> dict[str, dict[str, Tensor]]:
        if self.optimizer is None or self.stage is None:
            return self._saved_optimizer
        state = self.optimizer.state
        return {name: dict(state[p]) for name, p in self.stage.parameters(self.model).items() if p in state}
