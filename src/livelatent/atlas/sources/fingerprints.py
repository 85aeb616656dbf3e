"""What a source is now, so that a change while it is read, or before an ingest goes on, is noticed."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from livelatent.atlas.sources.source import Fingerprint
from livelatent.atlas.sources.trio import is_matrix, trio_of, trios_in

SAMPLE = 2**20
METADATA = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"})


def is_zarr(path: Path) -> bool:
    """Whether the folder is a Zarr group, of either version."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def fingerprint_of(path: Path) -> Fingerprint:
    """What the source at this path (a `Source.path`) is now.

    Raises
    ------
    OSError, SourceError
        If it is gone, or can't be read.
    """
    if path.is_dir():
        if not is_zarr(path) and len(matrices := trios_in(path)) == 1:
            return fingerprint_of_trio(matrices[0])
        return fingerprint_of_files(sorted(files_below(path)), path)
    if is_matrix(path):
        return fingerprint_of_trio(path)
    return fingerprint_of_files([path], path.parent)


def fingerprint_of_trio(matrix: Path) -> Fingerprint:
    """Of a matrix and the two files that go with it."""
    return fingerprint_of_files(trio_of(matrix).files, matrix.parent)


def fingerprint_of_files(paths: list[Path], folder: Path) -> Fingerprint:
    """One fingerprint of several files below a folder: metadata whole, one file alone by samples, the rest by size."""
    digest = hashlib.sha256()
    size, newest = 0, 0
    for path in paths:
        status = path.stat()
        size, newest = size + status.st_size, max(newest, status.st_mtime_ns)
        digest.update(f"{path.relative_to(folder).as_posix()}\0{status.st_size}\0".encode(errors="surrogateescape"))
        if path.name in METADATA:
            digest.update(path.read_bytes())
        elif len(paths) <= 3:
            with open(path, "rb") as file:
                for start in (0, status.st_size // 2, max(0, status.st_size - SAMPLE)):
                    file.seek(start)
                    digest.update(file.read(SAMPLE))
    return Fingerprint(size=size, mtime_ns=newest, sha256=digest.hexdigest())


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below the folder; links are named, never followed."""
    for root, _, names in os.walk(folder):
        for name in names:
            yield Path(root) / name
