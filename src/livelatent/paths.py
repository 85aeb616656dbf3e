"""Paths and addresses as people write them."""

import os
import re
from pathlib import Path

from livelatent.errors import LivelatentError

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""One slash is enough: `Path` has already made one of two where the caller passed one."""


def is_address(path: object) -> bool:
    """Whether this names something on another machine (`s3://...`) rather than a path."""
    return isinstance(path, str | os.PathLike) and SCHEME.match(os.fspath(path)) is not None


def shown(url: str) -> str:
    """An address as it may be shown: no `user:password@`, no query (a signed one is a credential), no fragment."""
    found = re.match(r"(?i)([a-z][a-z0-9+.-]*):/+", url)
    if found is None:
        return url
    rest = re.split(r"[?#]", url[found.end() :], maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    return f"{found[1].lower()}://{host.rpartition('@')[2]}{slash}{path}"


def local_path(path: str | os.PathLike[str], error: type[LivelatentError]) -> Path:
    """The path with `~` written out.

    Raises
    ------
    error
        If it is an address (`s3://...`): taken for a path, it would become a folder named `s3:`. The message leaves
        the address out, since a signed one is a credential.
    """
    scheme = SCHEME.match(os.fspath(path))
    if scheme is not None:
        raise error(
            f"a path on this machine was wanted; got a {scheme[1]}:// address. Copy it here first, or mount it, and "
            "name that path."
        )
    return Path(path).expanduser()


def store_path(path: str | os.PathLike[str], error: type[LivelatentError]) -> Path:
    """The one name of a store, links followed: its journal and its manifest lie beside it, under that name."""
    return local_path(path, error).resolve()
