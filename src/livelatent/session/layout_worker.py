"""A process that lays out cells with UMAP, so that training and the notebook do not wait for it.

Started as `python -m livelatent.session.layout_worker`. It reads requests from stdin and answers on stdout
(`session/pipes.py`), and ends when stdin does, so it never outlives its parent. No `multiprocessing`: its
spawn runs the user's script again, and its fork copies torch's threads half-dead.
"""

import os
import queue
import sys
import threading
import time
import warnings
from typing import Any, BinaryIO

import numpy as np
from numpy import ndarray

from livelatent.compiled import keep_compiled
from livelatent.session.layout import NEXT_EPOCHS
from livelatent.session.panel import pca_layout
from livelatent.session.pipes import receive, send

EXACT_CELLS = 4096
"""Up to here UMAP compares all pairs; above, it searches, in code that takes longer to compile."""
LEAST_RATE = 0.25
"""A tenth kept more of the neighbourhood where the latent stood still; where it moves, the map must follow."""
FEWEST_CELLS = 5
"""Below it UMAP has no neighbourhood to speak of: the layout is PCA's."""
MIN_DIST = 0.3
"""Looser than UMAP's 0.1: a type's cells stay apart enough to be pointed at."""


def umap_layout(latent: ndarray, init: ndarray | None, *, n_epochs: int, n_neighbors: int, seed: int) -> ndarray:
    """UMAP in two dimensions, from PCA or from the positions in `init`."""
    if len(latent) < FEWEST_CELLS:
        return pca_layout(latent)
    import umap

    start = pca_layout(latent) if init is None else init.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about one thread with a seed, which is what we want
        reducer = umap.UMAP(
            n_components=2,
            n_neighbors=min(n_neighbors, len(latent) - 1),
            n_epochs=n_epochs,
            min_dist=MIN_DIST,
            init=start,
            learning_rate=1.0 if init is None else learning_rate_of(n_epochs),
            random_state=seed,
            n_jobs=1,
        )
        xy: ndarray = np.asarray(reducer.fit_transform(latent.astype(np.float32)), np.float32)
    if not np.isfinite(xy).all():
        raise ValueError("UMAP left cells without a position.")
    return xy


def learning_rate_of(n_epochs: int) -> float:
    """The rate that an update starts with: at UMAP's own, ten epochs undo more than they mend.

    Examples
    --------
    >>> learning_rate_of(50), learning_rate_of(20), learning_rate_of(10)
    (1.0, 0.4, 0.25)
    """
    return float(np.clip(n_epochs / NEXT_EPOCHS, LEAST_RATE, 1.0))


def serve(requests: BinaryIO, replies: BinaryIO, n_cells: int) -> None:
    """Answer requests one after another until the parent goes."""
    waiting: queue.SimpleQueue[tuple[dict[str, Any], list[ndarray]]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    # Compilation takes seconds at the first use; done now, while the first epoch runs. Of a few cells: 13 s of CPU,
    # and 0.1 s where an earlier process has left its machine code.
    keep_compiled("umap")
    random = np.random.default_rng(0)
    n_warm = 64 if n_cells <= EXACT_CELLS else EXACT_CELLS + 4
    umap_layout(random.normal(size=(n_warm, 4)), None, n_epochs=2, n_neighbors=5, seed=0)
    send(replies, {"ready": True})
    while True:
        header, arrays = waiting.get()
        started = time.process_time()
        try:
            xy = umap_layout(
                arrays[0],
                arrays[1] if len(arrays) > 1 else None,
                n_epochs=header["n_epochs"],
                n_neighbors=header["n_neighbors"],
                seed=header["seed"],
            )
        except Exception as error:
            send(replies, {"error": f"{type(error).__name__}: {error}", "cpu_s": time.process_time() - started})
        else:
            send(replies, {"cpu_s": time.process_time() - started}, xy)


def _read(requests: BinaryIO, waiting: "queue.SimpleQueue[tuple[dict[str, Any], list[ndarray]]]") -> None:
    """Queue requests; when the parent goes, end at once, in the middle of a layout too."""
    try:
        while True:
            waiting.put(receive(requests))
    except (EOFError, OSError):
        os._exit(0)


def main() -> None:
    """Serve on stdin and stdout, politely."""
    if hasattr(os, "nice"):
        os.nice(10)
    # Replies own the real stdout; whatever a library prints goes to stderr.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        serve(sys.stdin.buffer, replies, int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
