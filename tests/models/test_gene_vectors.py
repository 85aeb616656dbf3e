import numpy as np
import pytest

from livelatent.errors import GeneMismatchError, SourceError
from livelatent.models import gene_vectors
from livelatent.models.gene_vectors import read_gene_vectors

VECTORS = np.random.default_rng(3).normal(size=(4, 5)).astype(np.float32)
NAMES = ["CD3E", "TP53", "HLA-A", "1"]


def table(separator, header=""):
    lines = [
        f"{name}{separator}{' '.join(str(value) for value in row)}" for name, row in zip(NAMES, VECTORS, strict=True)
    ]
    return header + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text", [table("\t"), table(" ", "4 5\n"), table(" ").replace("\n", " \r\n"), "\ufeff" + table(" ")]
)
def test_both_published_forms_give_the_vectors_of_the_genes_wanted(tmp_path, text):
    (tmp_path / "g2v.txt").write_bytes(text.encode())
    at, vectors = read_gene_vectors(tmp_path / "g2v.txt", ["ABSENT", "HLA-A", "1", "CD3E"])
    assert at.tolist() == [1, 2, 3]
    assert np.array_equal(vectors, VECTORS[[2, 3, 0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no gene vector"),
        ("4 200\n", "holds no gene vector"),
        ("CD3E 1 2 3\nTP53 1 2\n", r"line 2 \(TP53\): 3 finite numbers were wanted after the symbol; got 2 of 2"),
        ("CD3E 1 2 3\nTP53 1 nan 3\n", "line 2"),
        ("CD3E 1 2 inf\n", "line 1"),
        ("CD3E 1 2 3\nTP53 1 b 3\n", r"line 2 \(TP53\): numbers were wanted"),
        ("CD3E 1 2 3\nTP53 1 2 3\nCD3E 1 2 4\n", "line 3: CD3E is there twice"),
        ("CD3E\nTP53\n", "line 1"),
        ("<!DOCTYPE html>\n<html>", "web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "line 1"),
        (b"\x80\x04\x95\xff\xfe", "no UTF-8 text"),
        ("CD3E " + "1 " * 600_000, "longer than"),
    ],
)
def test_rubbish_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "a.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceError, match=message) as caught:
        read_gene_vectors(tmp_path / "a.txt", ["CD3E", "TP53"])
    assert str(tmp_path / "a.txt") in str(caught.value)


def test_a_vector_written_twice_alike_is_one(tmp_path):
    (tmp_path / "a.txt").write_text("CD3E 1 2\nCD3E 1.0 2\n")
    at, vectors = read_gene_vectors(tmp_path / "a.txt", ["CD3E"])
    assert (at.tolist(), vectors.tolist()) == ([0], [[1, 2]])


def test_genes_of_another_species_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("CD3E 1 2\n")
    with pytest.raises(GeneMismatchError, match="Cd3e"):
        read_gene_vectors(tmp_path / "a.txt", ["Cd3e", "Cd8a"])
    with pytest.raises(SourceError, match="can't be read"):
        read_gene_vectors(tmp_path / "none.txt", ["CD3E"])


def test_a_file_without_line_ends_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(gene_vectors, "LONGEST_LINE", 100)
    (tmp_path / "a.txt").write_text("CD3E " + "1 " * 100)
    with pytest.raises(SourceError, match="line 1 is longer than 100 bytes"):
        read_gene_vectors(tmp_path / "a.txt", ["CD3E"])
