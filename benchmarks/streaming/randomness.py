"""How mixed the minibatches are, in donors and in types, beside cells drawn one by one."""

from pathlib import Path
from typing import Any

import numpy as np

from streaming.atlases import Bench
from streaming.ours import MINIBATCH, TYPES, opened, our_stream
from streaming.process import measured

SIZES = (256, 1_024, 4_096)
DRAWS = 4_000


def figures(bench: Bench) -> dict[str, Any]:
    """The least of all atlases, sizes and columns. A plan is the same every time, so there are no rounds."""
    found = {
        name: {size: measured("entropy", store=bench.files(atlas).ours, minibatch_cells=size) for size in SIZES}
        for name, atlas in bench.atlases.items()
    }
    filled = {name: measured("fill", store=bench.files(atlas).ours) for name, atlas in bench.atlases.items()}
    ratios = [of[column]["ratio"] for sizes in found.values() for of in sizes.values() for column in of]
    return {
        "entropy_ratio": min(ratios),
        "balanced_fill": min(of["fill"] for of in filled.values()),
        "randomness": {"entropy": found, "balanced": filled},
    }


def entropy(store: str, minibatch_cells: int) -> dict[str, Any]:
    """Mean entropy of an epoch's full minibatches, in bits, over that of independent draws."""
    delivered: dict[str, list[np.ndarray]] = {"donor": [], "type": []}
    with our_stream(opened(Path(store)), minibatch_cells=minibatch_cells) as stream:
        for minibatch in stream.minibatches(0):
            if len(minibatch.cell) == minibatch_cells:
                delivered["donor"].append(minibatch.batch.numpy().copy())
                delivered["type"].append(minibatch.label.numpy().copy())
        codes = {"donor": stream.atlas.batch[stream.rows], "type": stream.atlas.label[stream.rows]}
    answer = {}
    for name, minibatches in delivered.items():
        # Cells without a label are one more type.
        share = np.bincount(codes[name] + 1) / len(codes[name])
        drawn = np.random.default_rng(0).multinomial(minibatch_cells, share, DRAWS)
        seen = np.stack([np.bincount(codes + 1, minlength=len(share)) for codes in minibatches])
        bits, expected = (float(_entropy(counts).mean()) for counts in (seen, drawn))
        answer[name] = {"bits": round(bits, 4), "iid_bits": round(expected, 4), "ratio": round(bits / expected, 4)}
    return answer


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Of each row, in bits."""
    from scipy.stats import entropy

    return np.asarray(entropy(counts, base=2, axis=1))


def fill(store: str) -> dict[str, Any]:
    """Share of the K x M slots of an epoch's balanced minibatches that hold a cell of their own."""
    each = MINIBATCH // TYPES
    filled = n_steps = 0
    with our_stream(opened(Path(store)), is_balanced=True) as stream:
        for minibatch in stream.minibatches(0):
            label, cell = minibatch.label.numpy(), minibatch.cell.numpy()
            # A cell that comes twice fills one slot.
            label = label[np.unique(cell, return_index=True)[1]]
            of_type = np.bincount(label[label >= 0])
            filled += int(np.minimum(np.sort(of_type)[-TYPES:], each).sum())
            n_steps += 1
    return {"fill": round(filled / (n_steps * TYPES * each), 4), "minibatches": n_steps}
