"""The genes of S and G2M phase as a user names them: none are shipped."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from livelatent.atlas.gmt import read_gmt
from livelatent.errors import SourceError

__all__ = ["PHASES", "CycleSource", "cycle_lists"]

PHASES = ("S", "G2M")

CycleSource = str | Path | Mapping[str, Sequence[str]] | tuple[Sequence[str], Sequence[str]]
"""A GMT file, sets by name, or the S and the G2M genes."""

NAMES = {"S": "S", "G1S": "S", "SPHASE": "S", "G2M": "G2M", "G2MPHASE": "G2M"}


def cycle_lists(source: CycleSource) -> dict[str, tuple[str, ...]]:
    """The genes of "S" and of "G2M", each name once.

    Parameters
    ----------
    source
        Sets named S (or G1/S) and G2M (or G2/M) among any others, in a GMT file or a mapping; in a file of just two
        sets under other names S comes first. Or the two lists, S first.

    Raises
    ------
    SourceError
        If the file is no GMT file, or a phase is not in it, has no gene, or is there twice.
    """
    sets: Mapping[str, Sequence[str]]
    match source:
        case str() | Path():
            sets, where = read_gmt(source), str(source)
        case Mapping():
            sets, where = source, "the mapping of cell-cycle genes"
        case (first, second):
            sets, where = {"S": first, "G2M": second}, "the lists of cell-cycle genes"
        case _:
            raise _unknown(f"{type(source).__name__} of cell-cycle genes", ())
    found: dict[str, tuple[str, ...]] = {}
    for name, genes in sets.items():
        phase = _phase(str(name))
        if phase is not None and phase in found:
            raise SourceError(f"{where}: the {phase} genes are there twice (again as {name!r}). Leave one set out.")
        if phase is not None:
            found[phase] = _names(genes, f"{where}: {name}")
    if not found and isinstance(source, str | Path) and len(sets) == 2:
        found = {
            phase: _names(genes, f"{where}: {name}") for phase, (name, genes) in zip(PHASES, sets.items(), strict=True)
        }
    if set(found) != set(PHASES):
        raise _unknown(where, tuple(sets))
    return found


def _phase(name: str) -> str | None:
    letters = "".join(letter for letter in name.upper() if letter.isalnum())
    return NAMES.get(letters.removesuffix("GENES").removesuffix("SCORE"))


def _names(genes: Sequence[str], where: str) -> tuple[str, ...]:
    if isinstance(genes, str) or not all(isinstance(gene, str) for gene in genes):
        raise SourceError(f"{where}: a list of gene names was wanted; got {str(genes)[:40]!r}.")
    names = tuple(dict.fromkeys(gene.strip() for gene in genes if gene.strip()))
    if not names:
        raise SourceError(f"{where}: the list has no gene. Name the phase's genes, for example those of Tirosh et al.")
    return names


def _unknown(where: str, names: Sequence[object]) -> SourceError:
    return SourceError(
        f"{where}: gene sets named S (or G1/S) and G2M (or G2/M) are wanted; it has "
        f"{', '.join(str(name)[:40] for name in names[:5]) or 'none'}. A GMT line is: name, description, genes, with "
        "tabs between."
    )
