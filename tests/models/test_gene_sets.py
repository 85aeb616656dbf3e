import numpy as np
import pytest

from livelatent.errors import GeneMismatchError, SourceError
from livelatent.models.gene_sets import read_gmt, select_gene_sets

GENES = [f"G{i}" for i in range(40)]


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
        (b"\x89HDF\r\n\x1a\n\x00\xff\xfe", "no text file"),
    ],
)
def test_rubbish_is_refused_by_line(tmp_path, text, message):
    with pytest.raises(SourceError, match=message) as caught:
        read_gmt(written(tmp_path / "a.gmt", text))
    assert str(tmp_path / "a.gmt") in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="can't be read"):
        read_gmt(tmp_path / "none.gmt")


def test_sets_are_chosen_by_their_share_of_the_models_genes():
    # Equation 2.6 on a toy: of 40 genes read, sets of 11 to 30 of them and some others.
    sets = {
        "half": [*GENES[:20], *(f"x{i}" for i in range(20))],  # Q = 20 / 40
        "most": [*GENES[10:22], "x1", "x2", "x3"],  # 12 / 15
        "few": GENES[:10],  # all, but 10 are not more than 10
        "eleven": [*GENES[29:40], *GENES[29:40], *(f"y{i}" for i in range(3))],  # 11 / 14, each twice
        "huge": [*GENES, *(f"z{i}" for i in range(260))],  # 300 genes in all are not fewer than 300
        "large": [*GENES, *(f"z{i}" for i in range(259))],  # 40 / 299
    }
    chosen = select_gene_sets(sets, GENES)
    assert chosen.names == ("most", "eleven", "half", "large")
    assert chosen.share.tolist() == [12 / 15, 11 / 14, 20 / 40, 40 / 299]
    for name, mask in zip(chosen.names, chosen.masks, strict=True):
        assert {GENES[at] for at in np.flatnonzero(mask)} == set(sets[name]) & set(GENES)
    assert select_gene_sets(sets, GENES, n_sets=2).names == ("most", "eleven")


def test_sets_of_another_species_say_so():
    with pytest.raises(GeneMismatchError, match=r"model's begin with G0, G1, G2, the first set with Cd3e, Cd8a"):
        select_gene_sets({"T": ["Cd3e", "Cd8a"]}, GENES)


def test_real_gmt_files_are_read_whole(shared_data):
    sizes = {path.name: len(read_gmt(path)) for path in (shared_data.parent / "genesets").glob("*.gmt")}
    lines = {path.name: len(path.read_text().splitlines()) for path in (shared_data.parent / "genesets").glob("*.gmt")}
    assert len(sizes) >= 4
    assert sizes == lines
