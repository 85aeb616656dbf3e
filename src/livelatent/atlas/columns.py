"""Columns of obs as text and codes."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int32, Shaped
from numpy import ndarray

from livelatent.atlas.layout import places


def text_or_none(column: "pd.Series[Any]") -> Shaped[ndarray, " cell"]:
    """Values as text; missing and empty ones None."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        kinds = np.array([*(str(kind) or None for kind in column.cat.categories), None], dtype=object)
        return np.asarray(kinds[np.asarray(column.cat.codes)])
    missing = np.asarray(column.isna())
    return np.array(
        [None if gone else (str(value) or None) for value, gone in zip(column, missing, strict=True)], dtype=object
    )


def codes_of(values: Shaped[ndarray, " cell"], names: tuple[str, ...]) -> Int32[ndarray, " cell"]:
    """The place of each value among the names, -1 where it is not one of them."""
    return places(values, names).astype(np.int32)


def is_none(values: Shaped[ndarray, " cell"]) -> Bool[ndarray, " cell"]:
    """Which values are None."""
    return np.array([value is None for value in values], dtype=bool)
