"""Columns of obs and arrays of obsm that come along with the cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.atlas.columns import translated
from livelatent.errors import ColumnError
from livelatent.stream.together import Together


@dataclass(frozen=True)
class Columns:
    """What comes along: columns of obs, read once and held; the names of arrays of obsm, read with their cells."""

    values: dict[str, list[ndarray]]
    """Per column and atlas: int32 codes, or float32 numbers."""
    names: dict[str, tuple[str, ...] | None]
    """What the codes of a column mean; None for numbers."""
    obsm: tuple[str, ...]
    n_numbers: int
    """Of obs and obsm together, per cell."""


def columns_of(together: Together, obs: Sequence[str], obsm: Sequence[str]) -> Columns:
    """Read the columns of every atlas; text of all shares one set of names.

    Raises
    ------
    ColumnError
        If an atlas has no such column or array, or another kind of it than the first.
    """
    values: dict[str, list[ndarray]] = {}
    names: dict[str, tuple[str, ...] | None] = {}
    for name in obs:
        values[name], names[name] = _column(together, name)
    n_dims = 0
    for name in obsm:
        widths = {atlas.obsm_rows(name).n_dims for atlas in together.atlases}
        if len(widths) > 1:
            raise ColumnError(
                f'obsm "{name}" has {" and ".join(map(str, sorted(widths)))} columns in different atlases.'
            )
        n_dims += widths.pop()
    return Columns(values, names, tuple(obsm), len(values) + n_dims)


def _column(together: Together, name: str) -> tuple[list[ndarray], tuple[str, ...] | None]:
    columns = [atlas.obs_column(name) for atlas in together.atlases]
    if len({column.names is None for column in columns}) > 1:
        kinds = [
            f"{atlas.path.name}: {'numbers' if column.names is None else 'text'}"
            for atlas, column in zip(together.atlases, columns, strict=True)
        ]
        raise ColumnError(f'obs "{name}" is text in one atlas and numbers in another ({", ".join(kinds)}).')
    if columns[0].names is None:
        return [np.asarray(column.values, np.float32) for column in columns], None
    # In the first's own order, which may mean something (stages, doses); what others have besides comes behind.
    names = tuple(dict.fromkeys(kind for column in columns for kind in column.names or ()))
    return [translated(column.values, column.names or (), names, np.int32) for column in columns], names
