"""Colours that an AnnData brings for a column: scanpy's `uns["<column>_colors"]`, in the order of its categories."""

import functools
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["plain_colour", "uns_colours"]

LONGEST = 40
"""Characters: the longest name that matplotlib knows has 26."""


def uns_colours(adata: Any, column: str) -> dict[str, str]:
    """`#rrggbb` of each category's name; empty where there are no colours, too few, or one of them is no colour.

    All or none: of a palette that is half somebody's and half ours, two colours may be one.
    """
    held = adata.uns.get(f"{column}_colors")
    kind = adata.obs[column].dtype if column in adata.obs.columns else None
    if not isinstance(held, list | tuple | np.ndarray) or (isinstance(held, np.ndarray) and held.ndim == 0):
        return {}
    if not isinstance(kind, pd.CategoricalDtype) or len(held) < len(kind.categories):
        return {}
    names = [str(name) for name in kind.categories]
    colours = [plain_colour(colour) for colour in held[: len(names)]]
    return {name: colour for name, colour in zip(names, colours, strict=True) if colour} if all(colours) else {}


def plain_colour(colour: object) -> str | None:
    """`#rrggbb` of what matplotlib takes as a colour: a name, hex digits, or 3 or 4 numbers; None of anything else."""
    if isinstance(colour, str):
        return _hex(str(colour)) if len(colour) <= LONGEST else None
    try:
        parts = np.ravel(colour)[:5]  # type: ignore[call-overload]
        numbers = () if np.iscomplexobj(parts) else tuple(float(one) for one in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    return _hex(numbers) if np.isfinite(numbers).all() else None


@functools.lru_cache(4096)
def _hex(colour: str | tuple[float, ...]) -> str | None:
    from matplotlib.colors import to_rgba

    try:
        red, green, blue, alpha = to_rgba(colour)  # type: ignore[arg-type]
    except ValueError:
        return None
    # "none" is a colour to matplotlib, and no cell would be seen in it.
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}" if alpha > 0 else None
