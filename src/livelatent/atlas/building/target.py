"""The place where a store is to be written: free, tidy, large enough."""

import os
import re
import shutil
from pathlib import Path

from livelatent.atlas.labels import has_entries
from livelatent.atlas.layout import beside
from livelatent.errors import StoreExistsError


def refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Raise where something stands that may not be replaced, or a neighbour has the same companions."""
    twin = target.with_name(target.name.removesuffix(".zarr") if target.suffix == ".zarr" else f"{target.name}.zarr")
    if (twin / "zarr.json").is_file():
        raise StoreExistsError(
            f"{target} would share {beside(target, 'manifest.json').name} and the labels of {twin}, a store beside it. "
            "Name another target."
        )
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise StoreExistsError(f"{target} exists. Pass overwrite=True to replace it, or name another target.")
    journal = beside(target, "labels")
    if has_entries(journal):
        raise StoreExistsError(
            f"{target} has labels given by hand in {journal}, whose cells would be lost. Name another target, or "
            "move that folder away first."
        )
    if not target.is_dir() or (any(target.iterdir()) and not (target / "zarr.json").is_file()):
        raise StoreExistsError(f"{target} is no Zarr store; it is not replaced. Name another target.")


def remove_leftovers(target: Path) -> None:
    """Tidy up after an ingest that was killed; the lock says that nobody is at it.

    If it died between its two renames, the store that stood at `target` is put back.
    """
    if not target.parent.is_dir():
        return
    # Not a glob: a name may hold a `*`, and `.blood.*` is the neighbour `blood.zarr` too.
    ours = re.compile(
        rf"\.{re.escape(target.name)}\.(?:[0-9a-f]{{8}}|(?:obs|obsm)\.\w+)\.(old|partial)(?:\.buckets\.partial)?"
    )
    for path in sorted(target.parent.iterdir()):
        found = ours.fullmatch(path.name)
        if found is not None and found[1] == "old" and not target.exists():
            os.rename(path, target)
        elif found is not None:
            shutil.rmtree(path, ignore_errors=True)
