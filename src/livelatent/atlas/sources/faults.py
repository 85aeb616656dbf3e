"""Faults of a source in words: whatever breaks while it is read names the file, and what to do."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from livelatent.atlas.elements import is_storable
from livelatent.errors import CountsError, LivelatentError, NoPermissionError, SourceError

WAY_OUT = "Open it in anndata and write it again (`adata.write_h5ad(...)`)."


class Unfit(Exception):
    """A part of a source can't be carried, with the reason: an error where it was asked for, else it is left behind."""

    def __init__(self, reason: str, error: type[LivelatentError] = SourceError) -> None:
        super().__init__(reason)
        self.error = error


@contextlib.contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """Whatever a library raises on what it reads inside the block becomes an error of ours that names the path."""
    try:
        yield
    except (LivelatentError, Unfit):
        raise
    except MemoryError as error:
        raise SourceError(
            f"{path} asks for more memory than there is ({brief(error)}). It is damaged, or too large for this machine."
        ) from error
    except (
        BaseException
    ) as error:  # they raise whatever a broken file leads them to, and Rust's panics are no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if not path.exists():
            raise SourceError(f"{path} is gone: it was changed while it was read.") from error
        if isinstance(error, PermissionError) or not os.access(path, os.R_OK):
            raise NoPermissionError(
                f"{path} can't be read: no permission. Ask its owner for it, or copy it."
            ) from error
        raise SourceError(f"{path} is truncated or damaged ({brief(error)}). Download or copy it again.") from error


def brief(error: BaseException) -> str:
    """The start of what a library said, on one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 300 else f"{said[:300]}..."


def check_names(path: Path, where: str, names: Iterable[Any]) -> None:
    """Raise for a column or array that a store could not hold under its name."""
    for name in names:
        if not isinstance(name, str) or not is_storable(name) or not name.isprintable() or "\\" in name:
            raise SourceError(
                f"{path}: `{where}` has an element named {str(name)[:80]!r}, which a store can't hold (text without "
                "slashes or control characters, at most 255 bytes, none of Zarr's own names). Rename it and write the "
                "file again."
            )


def check_numbers(dtype: "np.dtype[Any]") -> None:
    """Raise where a matrix holds text, complex numbers, references, or more than 64 bits."""
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise Unfit(f"holds {dtype}, counts are numbers of at most 64 bits", CountsError)
