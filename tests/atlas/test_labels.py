"""The journal: no acknowledged label is lost, nothing torn is believed, one writer at a time."""

import base64
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from livelatent.atlas import Atlas
from livelatent.atlas.entries import as_json, checked_name, pack_rows, unpack_rows
from livelatent.atlas.labels import LabelJournal
from livelatent.errors import LabelError, StoreError

SOURCE = np.array(["b.h5ad", "a.h5ad", "b.h5ad", "a.h5ad", "b.h5ad", "a.h5ad"], dtype=object)
SOURCE_ROW = np.array([7, 2, 0, 900, 3, 1])
WRITTEN = np.array(["T", None, "T", "B", None, "B"], dtype=object)


def open_journal(folder: Path) -> LabelJournal:
    return LabelJournal(folder, SOURCE, SOURCE_ROW, WRITTEN)


@pytest.fixture
def journal(tmp_path: Path) -> LabelJournal:
    return open_journal(tmp_path / "x.labels")


def test_opening_a_journal_writes_nothing(journal: LabelJournal) -> None:
    assert not journal.folder.exists()
    assert journal.entries == () and journal.current().tolist() == [None] * 6
    assert journal.undo() is None and journal.redo() is None


def test_a_label_is_on_disk_when_it_is_acknowledged(journal: LabelJournal) -> None:
    entry = journal.label([4, 0, 3], " plasma? ", how={"flag": 1}, model="ab")
    (line,) = journal.path.read_text().splitlines()
    fields = json.loads(line)
    crc = fields.pop("crc")
    assert crc == f"{zlib.crc32(json.dumps(fields, sort_keys=True, separators=(',', ':')).encode()):08x}"
    assert fields["seq"] == 0 and fields["new"] == "plasma?" and fields["n_cells"] == 3
    assert fields["old"] == {"T": 1, "B": 1, "": 1} and fields["how"] == {"flag": 1} and fields["model"] == "ab"
    assert {name: unpack_rows(rows, 10_000).tolist() for name, rows in fields["cells"].items()} == {
        "a.h5ad": [900],
        "b.h5ad": [3, 7],
    }
    assert journal.rows_of(entry).tolist() == [0, 3, 4]
    assert open_journal(journal.folder).current().tolist() == ["plasma?", None, None, "plasma?", "plasma?", None]


def test_undo_and_redo_append_and_survive_reopening(journal: LabelJournal) -> None:
    journal.label([0, 1], "one")
    journal.label([1, 2], "two")
    taken = journal.undo()
    assert taken is not None and taken.undoes == 1 and taken.seq == 2
    assert journal.current().tolist() == ["one", "one", None, None, None, None]
    assert (journal.n_undo, journal.n_redo) == (1, 1)
    journal.close()
    again = open_journal(journal.folder)
    assert (again.n_undo, again.n_redo) == (1, 1)
    assert again.redo() is not None
    assert again.current().tolist() == ["one", "two", "two", None, None, None]
    again.undo()
    again.undo()
    assert again.current().tolist() == [None] * 6 and again.undo() is None
    again.label([5], "three")
    assert again.redo() is None and again.n_redo == 0
    assert [entry.event for entry in again.entries] == ["label", "label", "undo", "redo", "undo", "undo", "label"]


def test_none_takes_a_label_away_and_undo_brings_it_back(journal: LabelJournal) -> None:
    journal.label([0, 1], "one")
    journal.label([1], None)
    assert journal.current()[:2].tolist() == ["one", None]
    journal.undo()
    assert journal.current()[:2].tolist() == ["one", "one"]


def test_labels_follow_the_cells_into_a_store_of_another_order(journal: LabelJournal) -> None:
    journal.label([0, 3], "here")
    order = np.array([3, 5, 1, 0])
    other = LabelJournal(journal.folder, SOURCE[order], SOURCE_ROW[order], WRITTEN[order])
    assert other.current().tolist() == ["here", None, None, "here"]


@pytest.mark.parametrize("bad", ["", "  \t ", "a\nb", "x" * 121, "bell\x07", "\u202ereversed"])
def test_a_name_that_is_none_is_refused(journal: LabelJournal, bad: str) -> None:
    with pytest.raises(LabelError):
        journal.label([0], bad)
    with pytest.raises(LabelError):
        journal.add_name(bad)
    assert not journal.path.exists()


def test_html_and_any_script_are_legal_names() -> None:
    assert checked_name("<script>alert(1)</script>") == "<script>alert(1)</script>"
    assert checked_name(" лимфоцит 細胞 ") == "лимфоцит 細胞"


@pytest.mark.parametrize("rows", [[], np.zeros(6, bool)])
def test_labelling_no_cell_is_refused(journal: LabelJournal, rows: object) -> None:
    with pytest.raises(LabelError, match="no cell"):
        journal.label(rows, "x")


def test_the_vocabulary_holds_names_without_cells(journal: LabelJournal) -> None:
    journal.add_name("zebra")
    journal.label([0], "apple")
    assert open_journal(journal.folder).vocabulary == ("apple", "zebra")


OTHER = """
import sys, numpy as np
from pathlib import Path
from livelatent.atlas.labels import LabelJournal
from livelatent.errors import StoreBusyError
journal = LabelJournal(Path(sys.argv[1]), np.repeat(["a.h5ad"], 3), np.arange(3), np.full(3, None, dtype=object))
try:
    print("seq", journal.label([2], "yours").seq)
except StoreBusyError:
    print("busy")
"""


def other_process(folder: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", OTHER, str(folder)], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_another_process_is_refused_until_all_journals_of_this_one_have_closed(journal: LabelJournal) -> None:
    journal.label([0], "mine")
    second = open_journal(journal.folder)
    second.label([2], "mine too")
    assert other_process(journal.folder) == "busy"
    journal.close()
    assert other_process(journal.folder) == "busy"
    second.close()
    assert other_process(journal.folder) == "seq 2"
    assert journal.label([5], "after").seq == 3
    assert second.current().tolist() == ["mine", "yours", "mine too", None, None, "after"]


def test_journals_of_one_folder_are_one_writer_in_one_process(tmp_path: Path, journal: LabelJournal) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "x.labels")
    journal.label([0], "one")
    second = open_journal(tmp_path / "link")
    second.label([0, 1], "two")
    assert journal.current()[:2].tolist() == ["two", "two"] and len(journal.entries) == 2
    journal.undo()
    assert second.current()[:2].tolist() == ["one", None] and second.n_redo == 1


def test_a_journal_that_is_gone_gives_the_lock_back(journal: LabelJournal) -> None:
    folder = journal.folder
    second = open_journal(folder)
    second.label([0], "mine")
    del second
    journal.close()
    assert other_process(folder) == "seq 1"


def test_a_folder_that_was_moved_away_is_begun_anew(tmp_path: Path, journal: LabelJournal) -> None:
    journal.label([0], "old")
    (tmp_path / "x.labels").rename(tmp_path / "away")
    assert open_journal(journal.folder).entries == ()
    assert journal.label([1], "new").seq == 0
    assert len(open_journal(tmp_path / "away").entries) == 1


@pytest.mark.parametrize("how", [{"p": float("nan")}, {"rows": np.arange(3)}, {"of": object()}])
def test_what_json_cannot_hold_is_refused_and_writes_nothing(journal: LabelJournal, how: dict) -> None:
    journal.label([0], "kept")
    with pytest.raises(LabelError, match="how the cells were chosen"):
        journal.label([1], "lost", how=how)
    assert len(open_journal(journal.folder).entries) == 1


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder where not even root may write")
def test_where_nothing_can_be_written_a_folder_is_asked_for(tmp_path: Path) -> None:
    journal = open_journal(Path("/sys/livelatent.labels"))
    assert journal.current().tolist() == [None] * 6
    with pytest.raises(LabelError, match=r'Name a folder of your own: Atlas\.open\(store, journal="my-labels"\)'):
        journal.label([0], "x")


def test_threads_append_one_after_the_other(journal: LabelJournal) -> None:
    from concurrent.futures import ThreadPoolExecutor

    second = open_journal(journal.folder)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: (journal, second)[k % 2].label([k % 6], f"n{k}"), range(40)))
    journal.close()
    second.close()
    assert [entry.seq for entry in open_journal(journal.folder).entries] == list(range(40))


def test_a_vocabulary_is_believed_only_whole(journal: LabelJournal) -> None:
    journal.add_name("zebra")
    path = journal.folder / "vocabulary.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1
        path.write_bytes(bytes(data))
        try:
            assert journal.vocabulary == ("zebra",)  # in the white space, or in the format's number
        except StoreError as error:
            assert "damaged" in str(error)
    path.write_text('{"format": 1, "names": ["from before the checksum"]}')
    assert journal.vocabulary == ("from before the checksum",)


def test_a_last_line_cut_at_any_byte_is_set_aside(tmp_path: Path) -> None:
    whole = open_journal(tmp_path / "whole")
    for k in range(3):
        whole.label([k, k + 1], f"name {k}")
    data = whole.path.read_bytes()
    start = data[:-1].rindex(b"\n") + 1
    for cut in range(start, len(data)):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(data[:cut])
        journal = open_journal(folder)
        assert [entry.new for entry in journal.entries] == ["name 0", "name 1"]
        assert (journal.torn is None) == (cut == start)
        assert journal.path.read_bytes() == data[:start]
        if cut > start:
            assert (folder / "journal.torn").read_bytes() == data[start:cut] + b"\n"
        assert journal.label([5], "after").seq == 2
        journal.close()
        assert len(open_journal(folder).entries) == 3


def test_a_flipped_bit_in_the_last_line_is_set_aside_and_in_another_line_is_an_error(journal: LabelJournal) -> None:
    for k in range(3):
        journal.label([k], f"name {k}")
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[:2]) + lines[2].replace(b"name 2", b"nome 2"))
    assert len(open_journal(journal.folder).entries) == 2
    journal.path.write_bytes(lines[0] + lines[1].replace(b"name 1", b"nome 1") + lines[2])
    before = journal.path.read_bytes()
    with pytest.raises(StoreError, match="line 2"):
        open_journal(journal.folder)
    assert journal.path.read_bytes() == before


def test_rows_pack_and_unpack() -> None:
    for rows in ([0], [5], [0, 1, 2, 10**12], list(range(1000))):
        assert unpack_rows(pack_rows(np.array(rows, np.int64)), len(rows)).tolist() == rows


WRITER = """
import sys, numpy as np
from pathlib import Path
from livelatent.atlas.labels import LabelJournal
journal = LabelJournal(Path(sys.argv[1]), np.repeat(["s"], 50), np.arange(50), np.full(50, None, dtype=object))
k = 0
while True:
    entry = journal.label(np.arange(50)[k % 49 :], f"name {k}")
    print(entry.seq, entry.new, flush=True)
    k += 1
"""


def kill_after(folder: Path, n_lines: int) -> list[str]:
    """Start a process that labels without end, kill it after some acknowledgements; those that it gave."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(n_lines)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.stdout.close()
    process.wait()
    return acknowledged


@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_no_acknowledged_label_is_lost_to_kill_9(tmp_path: Path, rounds: int) -> None:
    acknowledged: list[str] = []
    for round_ in range(rounds):
        acknowledged += kill_after(tmp_path, 3 + 7 * round_ % 20)
        everything = np.full(50, None, dtype=object)
        journal = LabelJournal(tmp_path, np.repeat(["s"], 50), np.arange(50), everything)
        kept = [f"{entry.seq} {entry.new}" for entry in journal.entries]
        assert set(acknowledged) <= set(kept)
        assert [entry.seq for entry in journal.entries] == list(range(len(kept)))
        journal.label([0], "the lock went with its process")
        journal.close()


def forged(line: bytes, **changes: object) -> bytes:
    """The line as somebody else might have written it: its checksum is right."""
    fields = {**json.loads(line), **changes}
    fields.pop("crc")
    return (as_json({**fields, "crc": f"{zlib.crc32(as_json(fields).encode()):08x}"}) + "\n").encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "undo"},
        {"event": "redo"},
        {"event": "erase"},
        {"new": 5},
        {"cells": [1]},
        {"cells": {"one.h5ad": 1}},
        {"seq": "0"},
        {"old": None},
        {"cells": {"one.h5ad": "!!!!"}},
        {"cells": {"one.h5ad": "AAAA"}},
        {"cells": {"one.h5ad": base64.b64encode(zlib.compress(b"abc")).decode()}},
    ],
)
def test_a_line_that_makes_no_sense_is_refused_and_kept(own_atlas: Atlas, changes: dict[str, object]) -> None:
    journal = own_atlas.labels
    for row in range(2):
        journal.label([row], "T cell")
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    bad = forged(lines[0], **changes) + lines[1]
    journal.path.write_bytes(bad)
    with pytest.raises(StoreError, match=r"line 1 .*Nothing was changed"):
        Atlas.open(own_atlas.path).labels.current()
    assert journal.path.read_bytes() == bad


def test_a_journal_nested_beyond_reading_is_set_aside(own_atlas: Atlas) -> None:
    own_atlas.labels.label([0], "T cell")
    own_atlas.labels.close()
    with open(own_atlas.labels.path, "ab") as file:
        file.write(b"[" * 200_000 + b"\n")
    again = Atlas.open(own_atlas.path).labels
    assert len(again.entries) == 1 and again.torn is not None


def test_a_few_bytes_never_unpack_to_more_rows_than_the_line_says():
    packed = pack_rows(np.arange(1_000_000, dtype=np.int64))
    assert len(packed) < 50_000
    with pytest.raises(ValueError, match="more than 10 cells"):
        unpack_rows(packed, 10)
