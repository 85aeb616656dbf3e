"""Gene sets as GMT files have them: MSigDB's, Enrichr's, or a user's own."""

from pathlib import Path

from livelatent.atlas.text_lines import text_lines
from livelatent.errors import SourceError

__all__ = ["read_gmt"]

LONGEST_LINE = 4 << 20
"""Bytes: a set of every gene of a genome, by Ensembl id, is one."""
MOST_BYTES = 256 << 20
"""Eight times the largest collection of MSigDB."""


def read_gmt(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Genes of each set of a GMT file, in the file's order; a gene named twice in a set counts once.

    Returns
    -------
    Set name → gene symbols. A weight after a comma, as Enrichr writes it (`CD3E,1.0`), is left out.

    Raises
    ------
    SourceError
        If the file can't be read, is no UTF-8 text, larger than 256 MB, holds no set, or names a set twice; or if a
        line is not a name, a description and at least one gene with tabs between.
    """
    path = Path(path)
    sets: dict[str, tuple[str, ...]] = {}
    n_bytes = 0
    for number, line in text_lines(path, kind="a GMT file of gene sets", longest=LONGEST_LINE):
        n_bytes += len(line)
        if n_bytes > MOST_BYTES:
            raise SourceError(
                f"{path} is larger than {MOST_BYTES >> 20} MB: no collection of gene sets is. Keep the sets that you "
                "want in a smaller file."
            )
        name, *fields = (part.strip() for part in line.split("\t"))
        if not name and not any(fields):
            continue
        # The first field is the description.
        genes = dict.fromkeys(gene for part in fields[1:] if (gene := part.split(",")[0].strip()))
        if not name or not genes:
            raise SourceError(
                f"{path}, line {number}: a gene set was wanted (its name, a description, then gene symbols, "
                f"with tabs between them); got {line.strip()[:60]!r}. Is this a GMT file?"
            )
        if name in sets:
            raise SourceError(f"{path}, line {number}: the set {name[:60]!r} is there twice. Rename one of them.")
        sets[name] = tuple(genes)
    if not sets:
        raise SourceError(f"{path} holds no gene set. Name a GMT file, for example one of MSigDB's.")
    return sets
