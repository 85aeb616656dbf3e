"""The obs table of a store, joined from its sources."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int32, Shaped
from numpy import ndarray

from livelatent.atlas.layout import LABEL, N_GENES, RESERVED, SPLIT, TOTAL, places
from livelatent.atlas.sources import Source
from livelatent.errors import ColumnError


def joined_obs(sources: Sequence[Source]) -> pd.DataFrame:
    """All cells in source order: every column of every source, `source`, `source_row`, `barcode`, unique names.

    A column that some sources lack is missing there. A source's own column with a name that livelatent needs is
    kept as `NAME_original`; a source that is an export of a store of ours keeps its cells' identity.
    """
    frames = []
    for source in sources:
        obs = source.obs
        keeps_identity = source.livelatent is not None and {"source", "source_row"} <= set(obs.columns)
        if keeps_identity:
            identity = obs[["source", "source_row"]]
            obs = obs.drop(columns=[c for c in RESERVED if c in obs.columns and c != LABEL])
        obs = obs.rename(columns=dict(zip(obs.columns, kept_names([str(c) for c in obs.columns]), strict=True)))
        obs = obs.copy()
        obs["source"] = np.asarray(identity["source"].astype(str)) if keeps_identity else source.name
        obs["source_row"] = (
            np.asarray(identity["source_row"], dtype=np.int64) if keeps_identity else np.arange(len(obs))
        )
        frames.append(obs)
    joined = frames[0] if len(frames) == 1 else concatenated(frames)
    return named_cells(joined)


def kept_names(columns: Sequence[str]) -> list[str]:
    """Column names, those that livelatent needs changed to `NAME_original` (`NAME_original_2`, ...)."""
    taken, names = set(columns), []
    for column in columns:
        name = column
        if column in RESERVED:
            name, n = f"{column}_original", 2
            while name in taken:
                name, n = f"{column}_original_{n}", n + 1
            taken.add(name)
        names.append(name)
    return names


def concatenated(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of all, columns of any; categories are united, other mixed types become text."""
    columns: dict[str, pd.Series[Any]] = {}
    for name in dict.fromkeys(str(column) for frame in frames for column in frame.columns):
        parts = [
            frame[name] if name in frame.columns else pd.Series(pd.NA, index=frame.index, dtype=object)
            for frame in frames
        ]
        present = [part for frame, part in zip(frames, parts, strict=True) if name in frame.columns]
        if all(pd.api.types.is_bool_dtype(part.dtype) for part in present):
            kind = "bool" if len(present) == len(parts) else "boolean"
        elif all(pd.api.types.is_numeric_dtype(part.dtype) for part in present):
            whole = all(pd.api.types.is_integer_dtype(part.dtype) for part in present)
            kind = "int64" if whole and len(present) == len(parts) else "Int64" if whole else "float64"
        else:
            kind = "object"
            parts = [
                part.astype(object).where(part.notna(), None).map(lambda v: v if v is None else str(v))
                for part in parts
            ]
        if kind == "float64":
            parts = [pd.to_numeric(part, errors="coerce") for part in parts]
        columns[name] = pd.concat([part.astype(pd.api.types.pandas_dtype(kind)) for part in parts])
    return pd.DataFrame(columns)


def named_cells(obs: pd.DataFrame) -> pd.DataFrame:
    """Obs with unique names: `source:barcode` where they clash, then with the row added; originals in `barcode`."""
    barcode = pd.Index([str(name) for name in obs.index], dtype=object)
    obs = obs.copy()
    if barcode.is_unique:
        obs.index = barcode
        return obs
    clash = barcode.duplicated(keep=False)
    source, row = obs["source"].astype(str).to_numpy(), obs["source_row"].to_numpy()
    names = barcode.to_numpy().copy()
    names[clash] = [f"{s}:{b}" for s, b in zip(source[clash], names[clash], strict=True)]
    still = pd.Index(names, dtype=object).duplicated(keep=False)
    names[still] = [f"{n}:{r}" for n, r in zip(names[still], row[still], strict=True)]
    if "barcode" not in obs.columns:
        obs["barcode"] = barcode.to_numpy()
    obs.index = pd.Index(names, dtype=object)
    if not obs.index.is_unique:
        obs.index = pd.Index([f"{n}:{i}" for i, n in enumerate(names)], dtype=object)
    return obs


def resolved_column(sources: Sequence[Source], obs: pd.DataFrame, column: str | None, role: str) -> str:
    """The store's name of a label or batch column; "" where none was named.

    Raises
    ------
    ColumnError
        If a source has no such column, or nothing is in it.
    """
    if column is None:
        return ""
    if column == "source" and not all("source" in source.obs.columns for source in sources):
        return column
    for source in sources:
        if column not in source.obs.columns:
            raise ColumnError(
                f'{source.path}: obs has no column "{column}" ({role}="{column}"). It has: '
                f"{', '.join(map(str, source.obs.columns)) or 'none'}."
            )
    name = f"{column}_original" if column in (*RESERVED,) and f"{column}_original" in obs.columns else column
    values = obs[name]
    if bool((values.isna() | (values.astype(object).map(str) == "")).all()):
        files = ", ".join(str(source.path) for source in sources)
        raise ColumnError(f'{files}: every value of obs column "{column}" is missing; name another as `{role}`.')
    return name


def finished_obs(
    obs: pd.DataFrame, uuid: str, total: np.ndarray, n_seen: np.ndarray, split: np.ndarray
) -> pd.DataFrame:
    """Obs in the store's order, with the columns that livelatent adds."""
    obs = obs.copy()
    obs["store_uuid"] = uuid
    obs[SPLIT], obs[TOTAL], obs[N_GENES] = split, total, n_seen
    return obs


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
