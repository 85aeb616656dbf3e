"""Is a store whole? Every file read, every chunk decoded, everything that readers rely on compared."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import zarr

from livelatent.atlas import manifest
from livelatent.atlas.check_arrays import check_arrays, check_matrix, matrices_of
from livelatent.atlas.check_files import check_beside, check_files, check_metadata, leftovers
from livelatent.atlas.check_tables import check_facts, check_journal, check_tables, read_tables
from livelatent.atlas.elements import consolidate
from livelatent.atlas.findings import Finding, damage
from livelatent.atlas.journal_file import open_file
from livelatent.atlas.layout import FORMAT, beside
from livelatent.atlas.write import writer_of
from livelatent.atomic import remove_tree, write_bytes
from livelatent.errors import StoreBusyError, StoreError
from livelatent.paths import is_address, store_path
from livelatent.progress import CellProgress

__all__ = ["Finding", "examine", "mend"]

ROOT = {"encoding-type": "anndata", "encoding-version": "0.1.0"}


def examine(path: str | os.PathLike[str], *, progress: CellProgress | None = None) -> list[Finding]:
    """Look a store over; nothing is changed.

    Parameters
    ----------
    progress
        Called often with what is done, out of what, and what is being done.

    Returns
    -------
    What is not as it should be, damage first; empty where all is well.

    Notes
    -----
    Holds obs, and a few million stored values at a time. Where a manifest with checksums lies beside the store, every
    flipped bit of every file is found; without one, those that a chunk's or shard's own checksum covers.

    Examples
    --------
    >>> examine("blood.zarr")  # doctest: +SKIP
    []
    """
    if not isinstance(path, str | os.PathLike) or is_address(path):
        raise StoreError("a remote store is not examined. Copy it here first: `livelatent copy ADDRESS FOLDER`.")
    store = store_path(path, StoreError)
    found = list(findings_of(store, progress or (lambda done, total, what: None)))
    return sorted(found, key=lambda finding: not finding.is_damage)


def findings_of(store: Path, report: CellProgress) -> Iterator[Finding]:
    """All checks, one after the other."""
    yield from check_beside(store)
    if not store.is_dir():
        yield damage(store.name, "there is no store." if not store.exists() else "it is no folder.")
        return
    uuid = told_uuid(store)
    in_files = list(check_files(store, uuid, report))
    yield from in_files
    yield from check_metadata(store)
    broken = {finding.where for finding in in_files if finding.is_damage}
    try:
        root = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
        facts, obs, var = read_tables(root)
    except Exception as error:
        if "zarr.json" not in broken:
            yield damage("zarr.json", f"the store can't be opened ({type(error).__name__}).")
        return
    if facts is None:
        yield damage("uns/livelatent", "it can't be read, or the store was not written by livelatent.")
    else:
        yield from check_facts(facts)
        if int(facts.get("format", FORMAT)) != FORMAT:
            yield damage(
                "uns/livelatent/format", f"it is {facts['format']}; this livelatent reads {FORMAT}.", "Update it."
            )
    yield from check_arrays(store, root, broken.__contains__, report)
    for name in matrices_of(root):
        yield from check_matrix(store, root, name, obs, broken.__contains__, report)
    if obs is None or var is None:
        yield damage("obs" if obs is None else "var", "the table can't be read.")
    elif facts is not None:
        try:
            yield from check_tables(root, facts, obs, var)
        except Exception as error:  # of elements that the checks above have named
            yield damage("obs", f"the tables can't be compared ({type(error).__name__}: {error}).")
    yield from check_journal(beside(store, "labels"), obs)


def told_uuid(store: Path) -> str:
    """The store's uuid as it says itself, else as its manifest does."""
    try:
        with zarr.config.set({"async.concurrency": 1}):
            group = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
            found = group["uns/livelatent/uuid"]
            if isinstance(found, zarr.Array):
                return str(found[()])
    except Exception:  # a damaged store: what it should be is in its manifest
        pass
    try:
        return str(json.loads(manifest.manifest_path(store).read_bytes())["uuid"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def mend(path: str | os.PathLike[str], *, progress: CellProgress | None = None) -> list[Finding]:
    """Mend what can be mended without losing anything, and examine the store again.

    Leftovers are removed, inlined metadata renewed, a torn line of the journal set aside; and where nothing else is
    damaged, a manifest that is missing, damaged or older than the store is written anew.

    Returns
    -------
    What is left.

    Raises
    ------
    StoreBusyError
        If somebody is writing to the store.
    """
    found = examine(path, progress=progress)
    store = store_path(path, StoreError)
    cures = {finding.cure for finding in found} - {""}
    if not cures or not store.is_dir():
        return found
    with writer_of(store):
        if "leftovers" in cures:
            for one in leftovers(store):
                remove_tree(one) if one.is_dir() else one.unlink(missing_ok=True)
        if "metadata" in cures:
            renew_metadata(store)
        if "journal" in cures:
            journal = open_file(beside(store, "labels"))
            if journal.torn is not None and "is now in" not in journal.torn:
                raise StoreBusyError(f"{journal.path} is being written by another process. Try again later.")
        if cures & {"metadata", "manifest"}:
            left = examine(store, progress=progress)
            if not any(finding.is_damage and not finding.cure for finding in left):
                manifest.write_next(store, manifest.describe(store, told_uuid(store)))
                manifest.settle(store)
    return examine(path, progress=progress)


def renew_metadata(store: Path) -> None:
    """Make the store's own `zarr.json` from the others; where it can't be read, with the attributes that ours have."""
    try:
        described = json.loads((store / "zarr.json").read_bytes())
        is_readable = described["node_type"] == "group" and described["attributes"].items() >= ROOT.items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_readable = False
    if not is_readable:
        bare = {"attributes": ROOT, "zarr_format": 3, "node_type": "group"}
        write_bytes(store / "zarr.json", json.dumps(bare, indent=1).encode())
    consolidate(store)
