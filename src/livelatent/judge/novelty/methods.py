"""Ways to score novelty, by name: which scores each of them adds up."""

from typing import Literal, get_args

__all__ = ["METHODS", "SCORES", "Method", "ScoreName", "checked_method", "reads_latent"]

Method = Literal["combined", "knn", "mahalanobis", "synthetic", "expression", "query_aware", "thesis"]
METHODS: tuple[Method, ...] = get_args(Method)

ScoreName = Literal["knn", "mahalanobis", "synthetic", "knn_pcs"]
SCORES: dict[Method, tuple[ScoreName, ...]] = {
    "combined": ("knn", "mahalanobis", "synthetic"),
    "knn": ("knn",),
    "mahalanobis": ("mahalanobis",),
    "synthetic": ("synthetic",),
    "expression": ("knn_pcs", "mahalanobis", "synthetic"),
    # And a fourth, which only the query can give.
    "query_aware": ("knn", "mahalanobis", "synthetic"),
    "thesis": (),
}


def checked_method(method: str) -> Method:
    """The method of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}.")
    return method


def reads_latent(method: Method) -> bool:
    """Whether a network's latent is read: what reads none works with weights that were never trained."""
    return method not in ("expression", "mahalanobis", "synthetic")
