import gzip

import pytest

from livelatent.atlas import gmt
from livelatent.atlas.gmt import read_gmt
from livelatent.errors import SourceError


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_gmt_file_gives_its_sets_in_order(tmp_path):
    path = written(
        tmp_path / "a.gmt", "\ufeffB_SET\thttp://x\tCD3E\tCD8A\tCD3E\t\r\n\nA set (GO:1)\t\tMS4A1,1.0\tCD79A,0.5\n"
    )
    sets = read_gmt(path)
    assert list(sets.items()) == [("B_SET", ("CD3E", "CD8A")), ("A set (GO:1)", ("MS4A1", "CD79A"))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no gene set"),
        ("\n\n", "holds no gene set"),
        ("A\tdescription\tCD3E\nB\tdescription\n", "line 2: a gene set was wanted"),
        ("CD3E CD8A MS4A1\n", "line 1: a gene set was wanted"),
        ("\tdescription\tCD3E\n", "line 1: a gene set was wanted"),
        ("A\t\tCD3E\nB\t\tCD3E\nA\t\tCD8A\n", "line 3: the set 'A' is there twice"),
        (b"\x89HDF\r\n\x1a\n\x00\xff\xfe", "line 1: this is no UTF-8 text"),
        ("A\t\tCD3E\n".encode("utf-16"), "no UTF-8 text"),
        ("A\t\tCD3E\n".encode("utf-16-le"), "zero bytes between the letters"),
        ("A\t\tCD3\u00c9\n".encode("latin-1"), "line 1: this is no UTF-8 text"),
        (gzip.compress(b"A\t\tCD3E\n", mtime=0), r"compressed \(gzip\); a GMT file of gene sets was wanted"),
        ("\ufeff \n<!DOCTYPE html>\n", "gene set was wanted"),
        ("<!DOCTYPE html>\n", "web page"),
    ],
)
def test_rubbish_is_refused_by_line(tmp_path, text, message):
    with pytest.raises(SourceError, match=message) as caught:
        read_gmt(written(tmp_path / "a.gmt", text))
    assert str(tmp_path / "a.gmt") in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="can't be read"):
        read_gmt(tmp_path / "none.gmt")


def test_what_is_too_large_is_not_read_to_its_end(tmp_path, monkeypatch):
    path = written(tmp_path / "a.gmt", "A\t\tCD3E\nB\t\t" + "CD8A\t" * 40 + "\n" + "C\t\tMS4A1\n" * 9)
    monkeypatch.setattr(gmt, "LONGEST_LINE", 100)
    with pytest.raises(SourceError, match="line 2 is longer than 100 bytes: this is not a GMT file"):
        read_gmt(path)
    monkeypatch.undo()
    monkeypatch.setattr(gmt, "MOST_BYTES", 150)
    with pytest.raises(SourceError, match="larger than 0 MB: no collection of gene sets is"):
        read_gmt(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_lines_end_as_any_system_ends_them(tmp_path, end):
    # Unicode's own line ends are no ends: a name may hold one.
    path = written(tmp_path / "a.gmt", "A\u2028B\td\tCD3E" + (end or "\n") + "C\td\tCD8A\tMS4A1" + end)
    assert read_gmt(path) == {"A\u2028B": ("CD3E",), "C": ("CD8A", "MS4A1")}


def test_real_gmt_files_are_read_whole(shared_data):
    sizes = {path.name: len(read_gmt(path)) for path in (shared_data.parent / "genesets").glob("*.gmt")}
    lines = {path.name: len(path.read_text().splitlines()) for path in (shared_data.parent / "genesets").glob("*.gmt")}
    assert len(sizes) >= 4
    assert sizes == lines
