"""Writes that are whole or absent, and one writer at a time.

Every write to disk goes through here: written aside, synced, renamed, and the folder synced.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from livelatent.errors import DiskSpaceError, StoreBusyError


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable (a rename is not, until its folder is synced)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below `folder` durable."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            handle = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, or leave it as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8, or leave it as it was."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON; NaN and infinity are refused, since other readers refuse them."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


@contextlib.contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """A folder written aside that becomes `target` when the block ends well, and vanishes when it does not.

    What stood at `target` is replaced only then; between the two renames nothing is deleted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    aside.mkdir()
    try:
        yield aside
        sync_tree(aside)
        if target.exists():
            old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
            os.rename(target, old)
            try:
                os.rename(aside, target)
            except BaseException:
                os.rename(old, target)
                raise
            sync_folder(target.parent)
            shutil.rmtree(old)
        else:
            os.rename(aside, target)
            sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


@contextlib.contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Hold the writer's lock at `path`; the system gives it back when its holder dies, `kill -9` included.

    Raises
    ------
    StoreBusyError
        If another process (or another part of this one) holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreBusyError(
            f"{what} is being written by another process (it holds {path}). Wait until it has finished, "
            "or stop it; the lock goes with its process."
        ) from error
    try:
        yield
    finally:
        lock.release()


def need_space(target: Path, n_bytes: int, what: str) -> None:
    """Check the target's file system for room before a long write starts.

    Raises
    ------
    DiskSpaceError
        If fewer than `n_bytes` are free there.
    """
    folder = target
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise DiskSpaceError(
            f"{what} needs about {n_bytes / 1e9:.2f} GB on the file system of {folder}, which has "
            f"{free / 1e9:.2f} GB free. Make room there, or write to another disk."
        )
