"""What a selection referred to, kept beside the journal so that it can be replayed: positions, scores, flags."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy import ndarray

from livelatent import atomic
from livelatent.errors import StoreError

__all__ = ["Arrays", "evidence_sha256", "load_evidence", "save_evidence"]

Arrays = Mapping[str, ndarray]

FOLDER = "evidence"


def evidence_sha256(arrays: Arrays) -> str:
    """Sha256 of arrays by name, kind and shape: what a selector calls them."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_evidence(journal: Path, sha256: str, arrays: Arrays) -> None:
    """Write arrays to `evidence/SHA.npz` in a journal's folder, once: many labels may refer to one layout."""
    path = journal / FOLDER / f"{sha256}.npz"
    if path.exists():
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    atomic.write_bytes(path, buffer.getvalue())


def load_evidence(journal: Path, sha256: str) -> dict[str, ndarray]:
    """What `save_evidence` wrote.

    Raises
    ------
    StoreError
        If it is gone, or not what the selector names.
    """
    path = journal / FOLDER / f"{Path(sha256).name}.npz"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(
            f"{path}: what the label was chosen by can't be read ({error}). The label itself stands in the journal, "
            "with its cells."
        ) from error
    if evidence_sha256(arrays) != sha256:
        raise StoreError(f"{path}: it is not what its name says, so it was changed or damaged. The label stands.")
    return arrays
