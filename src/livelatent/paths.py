"""Paths as people write them."""

import os
import re
from pathlib import Path

from livelatent.errors import LivelatentError


def local_path(path: str | os.PathLike[str], error: type[LivelatentError]) -> Path:
    """The path with `~` written out.

    Raises
    ------
    error
        If it is an address (`s3://...`): taken for a path, it would become a folder named `s3:`. The message leaves
        the address out, since a signed one is a credential.
    """
    # `Path` has already made one slash of two where the caller passed one.
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", os.fspath(path))
    if scheme is not None:
        raise error(
            f"a path on this machine was wanted; got a {scheme[1]}:// address. Copy it here first, or mount it, and "
            "name that path."
        )
    return Path(path).expanduser()


def store_path(path: str | os.PathLike[str], error: type[LivelatentError]) -> Path:
    """The one name of a store, links followed: its journal and its manifest lie beside it, under that name."""
    return local_path(path, error).resolve()
