"""Exact nearest neighbours, a slab of cells at a time."""

import numpy as np
import torch

from livelatent.arrays import Float, Int, ndarray

__all__ = ["mean_distance", "nearest", "unit"]

SLAB_BYTES = 64 << 20


def unit(latent: Float[ndarray, "cell latent"]) -> Float[ndarray, "cell latent"]:
    """Rows scaled to length 1; a row of zeros stays."""
    length = np.linalg.norm(latent, axis=1, keepdims=True)
    return (latent / np.where(length > 0, length, 1)).astype(np.float32)


def nearest(
    points: Float[ndarray, "cell dim"],
    reference: Float[ndarray, "neighbor dim"],
    k: int,
    *,
    own: Int[ndarray, " cell"] | None = None,
) -> tuple[Float[ndarray, "cell k"], Int[ndarray, "cell k"]]:
    """The `k` nearest reference points of each point by Euclidean distance, nearest first.

    Parameters
    ----------
    own
        Each point's own index in `reference`, which is then not its neighbour.

    Raises
    ------
    ValueError
        If the reference has fewer than `k` points (besides the point itself).

    Notes
    -----
    Neighbours are found from |a|^2 - 2ab + |b|^2 in float32, which loses digits where points nearly coincide; the
    distances returned are computed again from the differences of the chosen pairs.
    """
    available = len(reference) - (own is not None)
    if not 1 <= k <= available:
        raise ValueError(f"k = {k} neighbours of {available} reference points were asked for.")
    # Shifting both by the same point changes no distance and keeps the float32 product from cancelling.
    shift = reference.mean(axis=0, dtype=np.float64).astype(np.float32)
    to = torch.from_numpy(np.ascontiguousarray(reference, np.float32) - shift)
    square = (to * to).sum(dim=1)
    slab = max(1, SLAB_BYTES // (4 * len(reference)))
    distances, indices = [], []
    for start in range(0, len(points), slab):
        here = torch.from_numpy(np.ascontiguousarray(points[start : start + slab], np.float32) - shift)
        score = torch.addmm(square, here, to.T, alpha=-2.0)
        if own is not None:
            score[torch.arange(len(here)), torch.from_numpy(own[start : start + slab])] = torch.inf
        index = score.topk(k, largest=False).indices
        distance = torch.stack([(here - to[index[:, j]]).norm(dim=1) for j in range(k)], dim=1)
        distance, order = distance.sort(dim=1)
        distances.append(distance)
        indices.append(index.gather(1, order))
    if not distances:
        return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
    return torch.cat(distances).numpy(), torch.cat(indices).numpy()


def mean_distance(
    points: Float[ndarray, "cell dim"],
    reference: Float[ndarray, "neighbor dim"],
    k: int,
    *,
    own: Int[ndarray, " cell"] | None = None,
) -> Float[ndarray, " cell"]:
    """Mean distance to the `k` nearest reference points, or to all of them where there are fewer."""
    k = min(k, len(reference) - (own is not None))
    distance, _ = nearest(points, reference, k, own=own)
    return distance.mean(axis=1)
