"""Are these values counts? Checked per chunk, before anything is written from them."""

import numpy as np
from scipy import sparse

from livelatent.atlas.sources import Source
from livelatent.errors import CountsError

LOG_CEILING = 25.0
"""log1p of the largest total anyone has measured stays below this."""
LARGEST = 2**53


def checked_counts(source: Source, start: int, chunk: sparse.csr_matrix) -> sparse.csr_matrix:
    """The chunk with one entry per cell and gene, sorted, no stored zeros; its values are counts.

    Raises
    ------
    CountsError
        If a value is negative, NaN, infinite or broken; logarithms are recognised and the message says so.
    """
    values = chunk.data
    if values.dtype.kind == "b":
        chunk = chunk.astype(np.uint8)
        values = chunk.data
    if values.size and values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            refuse(source, start, chunk, ~finite, "NaN or infinite", "Replace these values")
    if values.size and values.dtype.kind != "u" and values.min() < 0:
        refuse(source, start, chunk, values < 0, "negative", "Counts can't be; perhaps the matrix was scaled")
    if values.size and values.dtype.kind == "f":
        broken = values != np.floor(values)
        if broken.any():
            logs = float(values.max()) < LOG_CEILING
            what = "no whole numbers and look log-normalised" if logs else "no whole numbers"
            refuse(source, start, chunk, broken, what, "Counts are needed")
    if values.size and values.max() > LARGEST:
        refuse(source, start, chunk, values > LARGEST, "too large", "No float64 tells counts above 2**53 apart")
    chunk.sum_duplicates()
    chunk.eliminate_zeros()
    return chunk


def refuse(source: Source, start: int, chunk: sparse.csr_matrix, bad: np.ndarray, what: str, reason: str) -> None:
    """Raise for the first bad value: where it is, and where counts might be instead."""
    first = int(np.flatnonzero(bad)[0])
    row = int(np.searchsorted(chunk.indptr, first, side="right")) - 1
    gene = source.genes[int(chunk.indices[first])]
    elsewhere = (
        f"This file also has {source.elsewhere}: pass the one with the counts as `counts`."
        if source.elsewhere
        else 'It has no other matrix; with the counts in `raw` or a layer you would pass counts="raw" or its name.'
    )
    raise CountsError(
        f"{source.path}: values of `{source.counts}` are {what} (cell {source.obs.index[start + row]}, gene {gene}: "
        f"{chunk.data[first]:g}; {int(bad.sum())} such values in rows {start}..{start + chunk.shape[0] - 1}). "
        f"{reason}. {elsewhere}"
    )
