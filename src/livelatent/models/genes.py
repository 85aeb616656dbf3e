"""Which genes a model reads."""

from livelatent.arrays import Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.errors import CountsError


def genes_to_read(atlas: Atlas, n_genes: int, rows: Rows) -> Int[ndarray, " gene"]:
    """The most variable genes among `rows`, or all that QC keeps where more are asked for.

    Raises
    ------
    CountsError
        If no gene differs between the cells, or there are fewer than two.
    """
    kept = atlas.kept_genes.nonzero()[0]
    if len(rows) < 2:
        genes = kept[:0]
    else:
        genes = kept if n_genes >= len(kept) else highly_variable_genes(atlas, n_genes, rows)
    if not len(genes):
        raise CountsError(
            f"{atlas.path}: no gene differs between the {len(rows)} training cells, so there is nothing to learn from. "
            "Look at the counts, at what QC keeps, or at `rows`."
        )
    return genes
