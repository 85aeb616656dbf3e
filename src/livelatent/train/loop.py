"""The training loop: a generator that yields one Step per optimiser step."""

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from livelatent.arrays import Int, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.building.memory import parse_memory
from livelatent.errors import LabelError
from livelatent.models.model import Losses, Model, codes_in
from livelatent.stream.health import Health
from livelatent.stream.minibatch import Minibatch
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream, suited
from livelatent.train.codes import Codes
from livelatent.train.devices import resolve_device
from livelatent.train.random_numbers import random_numbers
from livelatent.train.stage import Stage
from livelatent.train.state import TrainState
from livelatent.train.validation import validate, watched

VALIDATION_CELLS = 8192
"""Most validation cells per epoch: rows are shuffled at ingest, so the first are a random sample, and a pause or
a snapshot never waits for more than these."""


@dataclass(frozen=True)
class Step:
    """What one optimiser step did. Tensors are detached and stay on their device."""

    number: int
    """Steps done, this one included."""
    epoch: int
    """The epoch that the step belongs to, from 0, over all stages."""
    stage: str
    terms: dict[str, Tensor]
    """Loss terms by name, and their weighted sum as `loss`."""
    diagnostics: dict[str, Tensor]
    metrics: dict[str, Tensor]
    validation: dict[str, float] | None
    """The same on validation cells, at the last step of an epoch, every term's weight in full."""
    alarms: tuple[str, ...]
    """What the model says is wrong with it, as of the last validation."""
    ends_epoch: bool
    cells_per_s: float
    wait_share: float
    """Share of the time that the loop waited for the stream."""
    health: Health
    """What minibatches hold, and how the stream does."""


def default_stream(n_cells: int) -> StreamConfig:
    """A stream for `n_cells` training cells, where the user named none.

    A minibatch is the power of two nearest to an eighth of the cells, between 128 and 1,024: fewer than some
    eight steps an epoch learn little, and 1,024 cost least on a CPU: 0.22 ms a cell,
    0.31 at 256 and 0.48 at 4,096.
    """
    wanted = 2 ** round(math.log2(max(n_cells, 1) / 8)) if n_cells > 8 else 1
    return StreamConfig(minibatch_cells=min(max(wanted, 128), 1024))


def choose_stream(
    model: Model,
    atlas: Atlas,
    config: StreamConfig | None = None,
    rows: Rows | None = None,
    memory: int | str | None = None,
) -> StreamConfig:
    """What a run streams by: the configuration given, or a default, with the buffer that a limit allows.

    Raises
    ------
    MemoryLimitError
        If `memory` is too little for one stream to train on and one to validate on; it says how much would do.
    """
    used = [stage_rows(model, atlas, stage, "train", rows) for stage in model.stages]
    if config is None:
        config = dataclasses.replace(suited(default_stream(len(used[0])), [atlas]), balance=model.balance)
    if memory is None:
        return config
    # Training and validation have a stream each.
    half = parse_memory(memory) // 2
    resolved = [stream_for(model, atlas, own, config, memory=half).config for own in used if len(own)]
    return min(resolved, key=lambda one: (one.buffer_cells, one.groups_ahead), default=config)


def train(
    model: Model,
    atlas: Atlas,
    config: StreamConfig | None = None,
    *,
    epochs: int | None = None,
    rows: Rows | None = None,
    device: str | torch.device = "auto",
    state: TrainState | None = None,
) -> Iterator[Step]:
    """Train `model` stage by stage; each step is done when it is yielded.

    Parameters
    ----------
    config
        How epochs are cut up; None chooses by the number of training cells.
    epochs
        Of the longest stage; the others keep their share. None keeps the model's own.
    rows
        Cells that may be used: their training split trains, their validation split validates. None means all.
    state
        Where to go on, and what is moved on; None starts anew.

    Raises
    ------
    LabelError
        If a stage trains on labels and no training cell has one that the model knows.
    FloatingPointError
        If the loss is no longer finite.
    ResumeError
        If `state` stands in the middle of an epoch over other cells, or cut up otherwise.
    """
    state = TrainState.start(model, epochs) if state is None else state
    config = choose_stream(model, atlas, None, rows) if config is None else config
    on = resolve_device(device)
    while state.stage is not None:
        yield from _train_stage(model, atlas, config, state.stage, state, rows, on)
    model.eval()


def _train_stage(
    model: Model,
    atlas: Atlas,
    config: StreamConfig,
    stage: Stage,
    state: TrainState,
    rows: Rows | None,
    device: torch.device,
) -> Iterator[Step]:
    codes = Codes(model, atlas)
    used = stage_rows(model, atlas, stage, "train", rows)
    held_out = stage_rows(model, atlas, stage, "validation", rows)[:VALIDATION_CELLS]
    if len(used) == 0:
        lacking = (
            " has a label that the model knows" if stage.rows == "labelled" else ", by split, QC and `rows`, is left"
        )
        raise LabelError(f"{atlas.path}: the stage {stage.name!r} has no cell to train on: no training cell{lacking}.")
    optimizer = state.prepare(device)
    pace = _Pace()
    stream = stream_for(model, atlas, used, config, device=device)
    checks = stream_for(model, atlas, held_out, dataclasses.replace(config, shuffle=False, balance=None), device=device)
    if state.position is not None:
        stream.check(state.position)
    state.n_steps, index = stream.n_steps, state.stage_index
    with stream, checks:
        while state.stage_index == index:
            epoch, loss_sum = state.epoch, torch.zeros((), device=device)
            goes_on = state.stage_epoch + 1 < stage.epochs
            minibatches = stream.minibatches(epoch, state.epoch_step, goes_on=goes_on)
            for _ in range(state.epoch_step, stream.n_steps):
                pace.asks()
                minibatch = codes.of_model(next(minibatches))
                pace.got(minibatch.n_cells)
                stage = state.stages[index]  # what is set in mid-run makes another of it
                losses = _optimise(model, stage, optimizer, minibatch, state, config, stream.n_steps)
                loss_sum += losses.total.detach()
                state.step, state.epoch_step = state.step + 1, state.epoch_step + 1
                state.position = stream.position(epoch, state.epoch_step)
                ends_epoch = state.epoch_step == stream.n_steps
                validation = None
                if ends_epoch:
                    if not math.isfinite(float(loss_sum)):
                        raise FloatingPointError(
                            f"the loss of stage {stage.name!r} is not finite in epoch {epoch}. Use a lower learning "
                            "rate, or check the atlas's counts."
                        )
                    validation, state.alarms = validate(
                        model, stage.in_full(), checks, codes, config.seed, state.alarms
                    )
                    state.position = stream.position(epoch + 1, 0)
                    state.end_epoch(None if validation is None else watched(stage, validation))
                pace.ends_step()
                yield Step(
                    number=state.step,
                    epoch=epoch,
                    stage=stage.name,
                    terms=_detached({**losses.terms, "loss": losses.total}),
                    diagnostics=_detached(losses.diagnostics),
                    metrics=_detached(losses.metrics),
                    validation=validation,
                    alarms=state.alarms,
                    ends_epoch=ends_epoch,
                    cells_per_s=pace.cells_per_s,
                    wait_share=pace.wait_share,
                    health=stream.health(),
                )
                pace.begins_step()


def stream_for(
    model: Model,
    atlas: Atlas,
    rows: Rows,
    config: StreamConfig,
    *,
    device: str | torch.device = "cpu",
    memory: int | str | None = None,
) -> Stream:
    """What a model reads of an atlas while it trains."""
    reads = model.reads
    return Stream(
        atlas,
        rows,
        config,
        genes=model.genes,
        mean_total=model.mean_total,
        device=device,
        memory=memory,
        values=reads.values,
        sparse=reads.is_sparse,
        obs=reads.obs,
        obsm=reads.obsm,
    )


def stage_rows(model: Model, atlas: Atlas, stage: Stage, split: str, rows: Int[ndarray, " given"] | None) -> Rows:
    """Cells of a split that a stage uses: where it needs labels, those whose label the model knows."""
    used = atlas.rows(split, labelled=None)
    if stage.rows == "labelled":
        used = used[codes_in(atlas.label_names, model.label_names)[atlas.label[used]] >= 0]
    return used if rows is None else np.intersect1d(used, as_rows(rows, atlas.n_cells))


def _optimise(
    model: Model,
    stage: Stage,
    optimizer: torch.optim.Adam,
    minibatch: Minibatch,
    state: TrainState,
    config: StreamConfig,
    n_steps: int,
) -> Losses:
    epoch = state.stage_epoch + state.epoch_step / n_steps
    rate, now = stage.learning_rate_at(epoch), stage.at(epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate
    for name, module in model.named_modules():
        module.training = f"{name}.".startswith(stage.trains)
    # Random numbers of a step follow from (seed, step), so a resumed run draws the same.
    with random_numbers(config.seed * 1_000_003 + state.step, minibatch.x.device):
        losses = model.losses(minibatch, now)
        losses.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    # Not kept between steps: a snapshot copies weights only.
    optimizer.zero_grad(set_to_none=True)
    return losses


def _detached(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in values.items()}


class _Pace:
    """Cells per second and share of waiting, over about the last hundred steps."""

    def __init__(self) -> None:
        self._waited = self._spent = self._cells = 0.0
        self._start = self._asked = time.perf_counter()

    def begins_step(self) -> None:
        self._start = time.perf_counter()

    def asks(self) -> None:
        self._asked = time.perf_counter()

    def got(self, n_cells: int) -> None:
        self._waited = 0.99 * self._waited + time.perf_counter() - self._asked
        self._cells = 0.99 * self._cells + n_cells

    def ends_step(self) -> None:
        self._spent = 0.99 * self._spent + time.perf_counter() - self._start

    @property
    def cells_per_s(self) -> float:
        return self._cells / max(self._spent, 1e-9)

    @property
    def wait_share(self) -> float:
        return min(self._waited / max(self._spent, 1e-9), 1.0)
