"""Writes are whole or absent, and there is one writer at a time."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from livelatent.atomic import append_bytes, fresh_file, fresh_folder, move_tail, only_writer, write_bytes, write_json
from livelatent.errors import DiskSpaceError, NoPermissionError, StoreBusyError, StoreError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "a", b"one")
    write_bytes(tmp_path / "deep" / "a", b"two")
    assert (tmp_path / "deep" / "a").read_bytes() == b"two" and names(tmp_path / "deep") == {"a"}


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "a.json", "text")  # type: ignore[arg-type]
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1} and names(tmp_path) == {"a.json"}


def test_a_folder_appears_when_its_block_ends_well(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "new") as aside:
        (aside / "x").write_text("1")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "x").read_text() == "1" and names(tmp_path) == {"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("has_old", [True, False])
def test_a_folder_whose_block_fails_vanishes_and_the_old_one_stays(
    tmp_path: Path, error: type[BaseException], has_old: bool
) -> None:
    if has_old:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "old").touch()
    with pytest.raises(error), fresh_folder(tmp_path / "a") as aside:
        (aside / "new").touch()
        raise error
    assert names(tmp_path) == ({"a"} if has_old else set())
    assert not has_old or names(tmp_path / "a") == {"old"}


def test_a_folder_replaces_an_old_one(tmp_path: Path) -> None:
    for k in range(2):
        with fresh_folder(tmp_path / "a") as aside:
            (aside / f"file{k}").touch()
    assert names(tmp_path) == {"a"} and names(tmp_path / "a") == {"file1"}


HOLDER = """
import sys, time
from pathlib import Path
from livelatent.atomic import only_writer
with only_writer(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_against_others_and_goes_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(StoreBusyError, match="the store"), only_writer(lock, "the store"):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with only_writer(lock, "the store"), pytest.raises(StoreBusyError), only_writer(lock, "the store"):
        pass
    with only_writer(lock, "the store"):
        pass


@pytest.mark.parametrize("has_old", [True, False])
def test_a_file_whose_block_fails_vanishes_and_the_old_one_stays(tmp_path: Path, has_old: bool) -> None:
    if has_old:
        (tmp_path / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), fresh_file(tmp_path / "a") as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ({"a"} if has_old else set())
    assert not has_old or (tmp_path / "a").read_text() == "old"


def test_a_line_that_could_not_be_synced_is_cut_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_bytes(tmp_path / "a", b"one\n", end=0)

    def full(handle: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no space"):
        patched.setattr(os, "fsync", full)
        append_bytes(tmp_path / "a", b"two\n", end=4)
    assert (tmp_path / "a").read_bytes() == b"one\n"
    append_bytes(tmp_path / "a", b"three\n", end=4)
    assert (tmp_path / "a").read_bytes() == b"one\nthree\n"


def test_a_tail_moves_to_another_file_as_a_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"whole\nto")
    assert move_tail(tmp_path / "a", 6, tmp_path / "torn") and not move_tail(tmp_path / "a", 6, tmp_path / "torn")
    with open(tmp_path / "a", "ab") as file:
        file.write(b"rn")
    assert move_tail(tmp_path / "a", 6, tmp_path / "torn")
    assert (tmp_path / "a").read_bytes() == b"whole\n" and (tmp_path / "torn").read_bytes() == b"to\nrn\n"


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, DiskSpaceError, "Make room"),
        (errno.EROFS, NoPermissionError, "Read-only file system"),
        (errno.EACCES, NoPermissionError, "ask for permission"),
    ],
)
@pytest.mark.parametrize("writer", [fresh_folder, fresh_file])
def test_what_the_system_refuses_is_named_and_leaves_nothing(tmp_path, writer, number, kind, words):
    with pytest.raises(kind, match=words) as caught, writer(tmp_path / "new") as aside:
        raise OSError(number, os.strerror(number), str(aside))
    assert str(tmp_path / "new") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_outermost_target_is_named(tmp_path):
    with pytest.raises(DiskSpaceError) as caught, fresh_folder(tmp_path / "new") as aside, fresh_file(aside / "part"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "partial" not in str(caught.value) and str(tmp_path / "new") in str(caught.value)


def test_a_folder_never_replaces_a_file(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="File exists"), fresh_folder(tmp_path / "thesis.txt"):
        pass
    with pytest.raises(StoreError, match="Name another path"), only_writer(tmp_path / "thesis.txt" / "x.lock", "it"):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "precious"
