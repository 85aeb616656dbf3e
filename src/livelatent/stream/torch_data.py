"""A stream as a torch dataset: others' training loops drink from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, Self

from torch.utils.data import IterableDataset, get_worker_info

from livelatent.errors import ResumeError
from livelatent.stream.minibatch import Minibatch
from livelatent.stream.position import Position
from livelatent.stream.scvi_form import ScviForm
from livelatent.stream.stream import Stream

TorchForm = Literal["livelatent", "scvi"]


class StreamDataset(IterableDataset[dict[str, Any]]):
    """Whole minibatches of a stream, one epoch per iterator, for `DataLoader(dataset, batch_size=None)`.

    It can also stand where a DataLoader is expected: minibatches come batched and read ahead.

    Parameters
    ----------
    form
        What a minibatch is given as. `"livelatent"`: a dict of the fields of `Minibatch`. `"scvi"`: the dict that
        scvi-tools models take (`X`, `batch`, `labels`, `ind_x`, and `extra_categorical_covs`, `extra_continuous_covs`
        of the stream's `obs`); the stream is one of counts.

    Notes
    -----
    Each iterator delivers the next epoch, from 0 on; `set_epoch` names another.
    """

    batch_sampler = None
    """As a DataLoader of whole minibatches has it; Lightning looks for it beside `sampler`."""

    def __init__(self, stream: Stream, *, form: TorchForm = "livelatent") -> None:
        if form not in ("livelatent", "scvi"):
            raise ValueError(f'form is "livelatent" or "scvi"; got {form!r}.')
        self.stream = stream
        self.form = form
        self._scvi = None if form == "livelatent" else ScviForm.of_stream(stream)
        self._place = _Place()
        """Of the latest iterator, or the next where none has taken it."""

    def __len__(self) -> int:
        return self.stream.n_steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if get_worker_info() is not None:
            _refuse_workers()
        if self._place.is_taken:
            self._place = _Place(self._place.epoch + 1)
        self._place.is_taken = True
        return self._minibatches(self._place)

    def __reduce__(self) -> NoReturn:
        # What a DataLoader does for a worker that is not forked.
        _refuse_workers()

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch of the next iterator, or of one that has not begun; a loaded one goes on where it stood."""
        if self._place.has_begun:
            self._place = _Place(epoch)
        elif epoch != self._place.epoch:
            self._place.epoch, self._place.step = epoch, 0
        self._place.is_taken = False

    @property
    def sampler(self) -> Self:
        """Itself: a Lightning Trainer names each epoch to the sampler of whatever it takes minibatches from."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """Where the latest iterator stands: the next minibatch is the first that a resumed one delivers."""
        return {
            "position": self.stream.position(self._place.epoch, self._place.step).to_json(),
            "world": self.stream.world,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator go on from there.

        Raises
        ------
        ResumeError
            If the state is none of ours, or of other cells, another configuration or another number of processes.
        """
        position = Position.from_json(str(state.get("position")))
        self.stream.check(position)
        if state.get("world") != self.stream.world:
            raise ResumeError(
                f"the stream was shared by {state.get('world')} processes and is by {self.stream.world} now, so its "
                "position means other cells. Resume with as many processes, or begin with an epoch."
            )
        self._place = _Place(position.epoch, position.step)

    def _minibatches(self, place: "_Place") -> Iterator[dict[str, Any]]:
        # `map` and `del`: nothing here holds a minibatch while the next is made, so that its memory is free for it.
        place.has_begun = True
        for given in map(self._given, self.stream.minibatches(place.epoch, place.step)):
            place.step += 1
            yield given
            del given

    def _given(self, minibatch: Minibatch) -> dict[str, Any]:
        if self._scvi is not None:
            return self._scvi.tensors(minibatch)
        fields = {name: getattr(minibatch, name) for name in ("x", "label", "batch", "cell", "total", "obs", "obsm")}
        return fields if minibatch.atlas is None else {**fields, "atlas": minibatch.atlas}


@dataclass
class _Place:
    """The next minibatch of an iterator."""

    epoch: int = 0
    step: int = 0
    is_taken: bool = False
    """By an iterator, which may not have begun: Lightning and torchdata make some that they leave."""
    has_begun: bool = False


def _refuse_workers() -> NoReturn:
    raise ValueError(
        "the stream reads ahead in threads of its own; in worker processes each would read and deliver every cell. "
        "Use DataLoader(dataset, batch_size=None, num_workers=0)."
    )
