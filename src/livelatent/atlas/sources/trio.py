"""The three files of a 10x Matrix Market folder: which belong together, by their names."""

import re
from dataclasses import dataclass
from pathlib import Path

from livelatent.atlas.sources.text import opened_text
from livelatent.errors import SourceError

MATRIX = re.compile(r"(.*)matrix\.mtx(\.gz)?")


@dataclass(frozen=True)
class Trio:
    """The files of one 10x matrix."""

    matrix: Path
    features: Path
    barcodes: Path

    @property
    def files(self) -> list[Path]:
        """All three."""
        return sorted([self.matrix, self.features, self.barcodes])

    @property
    def prefix(self) -> str:
        """What stands before `matrix.mtx`, such as GEO's accession."""
        match = MATRIX.fullmatch(self.matrix.name)
        return match[1] if match else ""


def trios_in(folder: Path) -> list[Path]:
    """The matrices of a folder."""
    return sorted(path for path in folder.iterdir() if MATRIX.fullmatch(path.name) and path.is_file())


def is_matrix(path: Path) -> bool:
    """Whether a file begins as Matrix Market does, packed or not."""
    with opened_text(path) as file:
        return file.read(14) == b"%%MatrixMarket"


def trio_of(matrix: Path) -> Trio:
    """A matrix and the two files that go with it."""
    match = MATRIX.fullmatch(matrix.name)
    prefix = match[1] if match else ""
    found = []
    for names in (("features.tsv", "genes.tsv"), ("barcodes.tsv",)):
        places = [matrix.with_name(f"{prefix}{name}{end}") for name in names for end in ("", ".gz")]
        there = [place for place in places if place.is_file()]
        if not there:
            raise SourceError(
                f"{matrix} lies alone: beside it {' or '.join(place.name for place in places)} was wanted. Put it "
                "there, or export the folder again."
            )
        found.append(there[0])
    return Trio(matrix, *found)
