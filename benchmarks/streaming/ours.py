"""Our stream, as it is measured."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from streaming.atlases import BATCH, LABEL, UNLABELLED

BLOCK, BUFFER, MINIBATCH = 512, 16_384, 1_024
"""Cells; the first two are annbatch's own defaults (`chunk_size=512, preload_nchunks=32`)."""
TYPES = 16
"""Of a balanced minibatch."""

Epochs = Callable[[int], Iterator[Any]]
"""Number of an epoch → what it delivers; each has a `shape` whose first number counts cells."""


def our_epochs(
    path: Path,
    *,
    is_balanced: bool = False,
    is_labelled: bool = False,
    minibatch_cells: int = MINIBATCH,
    goes_on: bool = False,
) -> Epochs:
    """Of our stream, over our store or one of annbatch's; of all cells, or of those with a label."""
    atlas = opened(path)
    rows = atlas.rows(labelled=True) if is_labelled else None
    stream = our_stream(atlas, rows, is_balanced=is_balanced, minibatch_cells=minibatch_cells)
    return lambda epoch: (minibatch.x for minibatch in stream.minibatches(epoch, goes_on=goes_on))


def our_stream(
    atlas: Any, rows: Any = None, *, is_balanced: bool = False, minibatch_cells: int = MINIBATCH, **settings: Any
) -> Any:
    """Raw counts as CSR, cut up as every other loader's are."""
    from livelatent.stream.balance import Balance
    from livelatent.stream.plan import StreamConfig
    from livelatent.stream.stream import Stream

    config = StreamConfig(
        minibatch_cells=minibatch_cells,
        block_cells=BLOCK,
        buffer_cells=BUFFER,
        balance=Balance(types=TYPES) if is_balanced else None,
    )
    return Stream(atlas, rows, config, **({"values": "counts", "sparse": True} | settings))


def opened(path: Path) -> Any:
    """Our store, or one of annbatch's, unchanged."""
    import livelatent as ll

    if (path / "X").exists():
        return ll.Atlas.open(path)
    return ll.open_foreign(path, label=LABEL, batch=BATCH, unlabelled=UNLABELLED)
