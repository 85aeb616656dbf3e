"""The gene2vec table in its published text format."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.atlas.text_lines import text_lines
from livelatent.errors import GeneMismatchError, SourceError

__all__ = ["VECTOR_SIZE", "read_gene_vectors"]

VECTOR_SIZE = 200
"""Numbers per gene in the published table."""

LONGEST_LINE = 1 << 20
"""Bytes: a published line has some 4,000. A longer one is no table, and is not read to its end."""


def read_gene_vectors(
    path: str | Path, genes: Sequence[str]
) -> tuple[Int[ndarray, " known"], Float[ndarray, "known dim"]]:
    """Vectors of those of `genes` that the table knows.

    Parameters
    ----------
    path
        A line per gene: its symbol, then its numbers, with spaces or tabs between them. Both published forms are
        read: with the first line of word2vec (number of genes, length of vectors) and without it.
    genes
        Symbols wanted, all different.

    Returns
    -------
    Places in `genes`, ascending, and their vectors as float32.

    Raises
    ------
    SourceError
        If a line is not a symbol and as many finite numbers as the first, or a gene has two different vectors.
    GeneMismatchError
        If none of `genes` is in the table.

    Notes
    -----
    Du et al. 2019, "Gene2vec: distributed representation of genes based on co-expression", publish
    `gene2vec_dim_200_iter_9.txt` and `..._w2v.txt`. The file is read line by line, and only the genes wanted are kept.
    """
    path = Path(path)
    place = {gene: number for number, gene in enumerate(genes)}
    found: dict[int, Float[ndarray, " dim"]] = {}
    size = 0
    for number, line in text_lines(path, kind="a table of gene vectors", longest=LONGEST_LINE):
        symbol, *fields = line.split() or [""]
        if not symbol or (number == 1 and len(fields) == 1 and symbol.isdecimal() and fields[0].isdecimal()):
            continue
        size = size or len(fields)
        vector = _vector(symbol, fields, size, path, number)
        at = place.get(symbol)
        if at is None:
            continue
        if at in found and not np.array_equal(found[at], vector):
            raise SourceError(f"{path}, line {number}: {symbol} is there twice, with different vectors.")
        found[at] = vector
    if not size:
        raise SourceError(f"{path} holds no gene vector. A line per gene was wanted: its symbol, then its numbers.")
    if not found:
        raise GeneMismatchError(
            f"{path}: none of the model's {len(place)} genes (first: {', '.join(genes[:3])}) has a vector there. The "
            "published table names human genes by their symbols; without a table the vectors are learned."
        )
    known = sorted(found)
    return np.array(known, np.int64), np.stack([found[at] for at in known])


def _vector(symbol: str, fields: list[str], size: int, path: Path, number: int) -> Float[ndarray, " dim"]:
    try:
        vector = np.array(fields, np.float32)
    except ValueError as error:
        raise SourceError(
            f"{path}, line {number} ({symbol[:40]}): numbers were wanted after the gene's symbol ({error})."
        ) from error
    if len(vector) != size or size < 2 or not np.isfinite(vector).all():
        raise SourceError(
            f"{path}, line {number} ({symbol[:40]}): {max(size, 2)} finite numbers were wanted after the symbol; got "
            f"{int(np.isfinite(vector).sum())} of {len(vector)}. Was the file cut short? Download it again."
        )
    return vector
