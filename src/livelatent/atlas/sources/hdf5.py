"""HDF5 files: opened for each read, checked once for links and filters that lead outside."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from livelatent.atlas.sources.faults import WAY_OUT, faults_named
from livelatent.errors import SourceError

FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""deflate, shuffle, fletcher32, szip, nbit, scaleoffset; lzf, which h5py brings. All others are plugins."""
MOST_OBJECTS = 100_000


@dataclass(frozen=True)
class Hdf5File:
    """One HDF5 file, or a group in it."""

    path: Path

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """Its root group; whatever breaks inside the block names the path."""
        with faults_named(self.path):
            try:
                file = h5py.File(self.path, "r")
            except OSError as error:
                if isinstance(error, PermissionError) or not self.path.exists() or h5py.is_hdf5(self.path):
                    raise
                raise SourceError(
                    f"{self.path} is no HDF5 (.h5ad, .h5) file, or its start is damaged. {WAY_OUT}"
                ) from error
            with file:
                yield file


def check_safe(path: Path, root: Any) -> None:
    """Raise for whatever would make HDF5 open another file, or code that is none of its own.

    External and virtual data could show a file of another's in the store; a filter that HDF5 does not bring is
    compiled code from wherever its plugins lie.
    """
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise SourceError(
                    f"{path}: `{place(group, name)}` is a link into another file, which is not followed. Copy it in: "
                    "read the file in anndata and write it again."
                )
            if not isinstance(link, h5py.HardLink):
                continue  # a soft link leads to another object of this file
            item = group[name]
            address = int(h5py.h5o.get_info(item.id).addr)
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MOST_OBJECTS:
                raise SourceError(f"{path} has more than {MOST_OBJECTS} groups and arrays; an AnnData has some dozens.")
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                check_dataset(path, item)


def place(group: Any, name: str) -> str:
    """The path within the file, for messages."""
    return f"{group.name}/{name}".lstrip("/")[:200]


def check_dataset(path: Path, dataset: Any) -> None:
    """Raise where its values lie in another file, or need a plugin."""
    where = dataset.name.lstrip("/")[:200]
    if dataset.is_virtual or dataset.external:
        raise SourceError(
            f"{path}: the values of `{where}` lie in another file, which is not followed. Read the file in anndata "
            "and write it again."
        )
    layout = dataset.id.get_create_plist()
    for i in range(layout.get_nfilters()):
        number, _, _, name = layout.get_filter(i)
        if number not in FILTERS:
            raise SourceError(
                f"{path}: `{where}` is compressed with filter {number} ({name.decode(errors='replace')[:50]}), which "
                'needs a plugin. Write the file again with compression="gzip".'
            )
