"""Writes that are whole or absent, and one writer at a time.

Every write to disk goes through here: written aside, synced, renamed, and the folder synced.
"""

import contextlib
import csv
import ctypes
import errno
import io
import json
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from livelatent.errors import DiskSpaceError, LivelatentError, NoPermissionError, StoreBusyError, StoreError

AT_FDCWD, RENAME_EXCHANGE, RENAME_SWAP = -100, 2, 2
"""Of Linux's renameat2(2) and macOS's renamex_np(2)."""


@contextlib.contextmanager
def refusals_named(target: Path) -> Iterator[None]:
    """Turn what the system raises while `target` is written (no room, no permission) into an error with a way out.

    Raises
    ------
    DiskSpaceError, NoPermissionError, StoreError
        Whatever was to be written was not; what stood there stands.
    """
    try:
        yield
    except (OSError, RuntimeError) as raised:
        # A writer inside this one has named its own file, which is gone with all that was written aside.
        inner = raised.__cause__ if isinstance(raised, (DiskSpaceError, NoPermissionError)) else None
        error = inner if isinstance(inner, (OSError, RuntimeError)) else raised
        number = error_number(error)
        if isinstance(error, LivelatentError) or number is None:
            raise
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskSpaceError(
                f"the file system of {folder} became full (or your share of it) while {target} was written; nothing "
                "was changed there. Make room, or write to another disk."
            ) from error
        reason = f"{os.strerror(number)} ({getattr(error, 'filename', None) or folder})"
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NoPermissionError(
                f"{target} can't be written: {reason}. Name a place where you may write, or ask for permission."
            ) from error
        if number in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
            raise StoreError(f"{target} can't be written: {reason}. Name another path.") from error
        raise


def error_number(error: Exception) -> int | None:
    """What the system's error was; zarrs gives it in words, such as "File too large (os error 27)"."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return None if found is None else int(found[1])


def sync_file(path: Path) -> None:
    """Make what was written to a file durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable (a rename is not, until its folder is synced)."""
    sync_file(folder)


def durable_folder(folder: Path) -> None:
    """Make a folder where there is none, and its parent's entry of it durable: else a power cut takes all in it."""
    if folder.is_dir():
        return
    durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below `folder` durable."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(root) / name)
        sync_folder(Path(root))


@contextlib.contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` when the block ends well, and vanishes when it does not."""
    with refusals_named(target):
        durable_folder(target.parent)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            yield aside
            sync_file(aside)
            os.replace(aside, target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, or leave it as it was."""
    with fresh_file(path) as aside:
        aside.write_bytes(data)


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file of any size piece by piece. For one in a folder that is itself written aside."""
    with refusals_named(path), open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8, or leave it as it was."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON; NaN and infinity are refused, since other readers refuse them."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table for spreadsheets; text that a spreadsheet would run as a formula gets a quote before it."""

    def safe(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([safe(name) for name in header])
    writer.writerows([safe(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def append_bytes(path: Path, data: bytes, *, end: int) -> None:
    """Append to a file of `end` bytes, durable when this returns; a write that fails is cut off again.

    A full disk must not leave half a line. The file is made where there is none.
    """
    with refusals_named(path):
        is_new = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            try:
                written = 0
                while written < len(data):
                    written += os.write(handle, data[written:])
                os.fsync(handle)
            except BaseException:
                os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)
        if is_new:
            sync_folder(path.parent)


def move_tail(path: Path, end: int, to: Path) -> bool:
    """Cut `path` off after `end` bytes once the rest is the last line of `to`; False where there is no rest."""
    with open(path, "r+b") as file:
        file.seek(end)
        rest = file.read()
        if not rest:
            return False
        append_bytes(to, rest + b"\n", end=to.stat().st_size if to.exists() else 0)
        file.truncate(end)
        file.flush()
        os.fsync(file.fileno())
    return True


@contextlib.contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """A folder written aside that becomes `target` when the block ends well, and vanishes when it does not.

    What stood at `target` is replaced only then; between the two renames nothing is deleted.
    """
    with refusals_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
        aside.mkdir()
        try:
            yield aside
            sync_tree(aside)
            if target.exists():
                old = _renamed_over(aside, target)
                sync_folder(target.parent)
                remove_tree(old)
            else:
                os.rename(aside, target)
                sync_folder(target.parent)
        except BaseException:
            remove_tree(aside)
            raise


def exchange(one: Path, other: Path) -> bool:
    """Let two folders take each other's name in one step; False where the system can't, and nothing was done.

    Two renames would leave a moment in which neither stands under the name that everyone looks for.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = libc.renamex_np(os.fsencode(one), os.fsencode(other), RENAME_SWAP)
        else:
            here = ctypes.c_int(AT_FDCWD)
            failed = libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE)
    except (OSError, AttributeError, TypeError):  # no such library, or no such call in it
        return False
    return bool(failed == 0)


def _renamed_over(aside: Path, target: Path) -> Path:
    """Make `aside` the folder at `target`; where the one that stood there lies now. Fails with nothing moved."""
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    os.rename(target, old)
    try:
        os.rename(aside, target)
    except BaseException:
        os.rename(old, target)
        raise
    return old


def put_in_place(aside: Path, target: Path) -> None:
    """Make the finished folder `aside` the one at `target`; what stood there lies at `aside` then, or nowhere."""
    with refusals_named(target):
        sync_tree(aside)
        if not target.exists():
            os.rename(aside, target)
        elif not exchange(aside, target):
            os.rename(_renamed_over(aside, target), aside)
        sync_folder(target.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all below it; what can't be removed stays."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        # Zarr's own threads may still be writing into a folder whose writer has failed.
        time.sleep(0.01)


@contextlib.contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Hold the writer's lock at `path`; the system gives it back when its holder dies, `kill -9` included.

    Raises
    ------
    StoreBusyError
        If another process (or another part of this one) holds it.
    """
    lock = FileLock(path)
    with refusals_named(path):
        durable_folder(path.parent)
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
