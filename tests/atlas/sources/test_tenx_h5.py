"""10x `.h5` of both versions: what scanpy reads is what is read, the genes of it."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scanpy
from scipy import sparse

import reading
from livelatent.atlas.sources import open_sources
from livelatent.errors import CountsError, GeneMismatchError, SourceError

KINDS = ["Gene Expression"] * 4 + ["Antibody Capture"] * 2 + ["Gene Expression"]


def matrix(seed: int = 0) -> sparse.csr_matrix:
    found = sparse.csr_matrix(np.random.default_rng(seed).poisson(0.6, (13, 7)).astype(np.int32))
    return found


def put_matrix(group: h5py.Group, csr: sparse.csr_matrix) -> None:
    group["shape"] = np.array(csr.shape[::-1], np.int32)
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(csr, part), chunks=True, compression="gzip")
    group["barcodes"] = np.array([f"AAAC-{i}".encode() for i in range(csr.shape[0])])


def version_3(path: Path, kinds: list[str] = KINDS, names: list[str] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        put_matrix(group, matrix())
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{i}".encode() for i in range(7)])
        features["name"] = np.array([name.encode() for name in names or [f"g{i}" for i in range(7)]])
        features["feature_type"] = np.array([kind.encode() for kind in kinds])
        features["genome"] = np.array([b"GRCh38"] * 7)
        features["_all_tag_keys"] = np.array([b"genome"])
    return path


def version_2(path: Path, genomes: tuple[str, ...]) -> Path:
    with h5py.File(path, "w") as file:
        for seed, genome in enumerate(genomes):
            group = file.create_group(genome)
            put_matrix(group, matrix(seed))
            group["genes"] = np.array([f"ENSG{i}".encode() for i in range(7)])
            group["gene_names"] = np.array([f"g{i}".encode() for i in range(7)])
    return path


@pytest.mark.parametrize("max_elements", [1, 9, 1000])
def test_version_3_holds_the_genes_that_scanpy_reads_and_names_the_rest(tmp_path, max_elements):
    path = version_3(tmp_path / "a.h5")
    (source,) = open_sources(path)
    wanted = scanpy.read_10x_h5(path)
    assert (reading.whole(source.counts, 5, tmp_path / "s", max_elements).toarray() == wanted.X.toarray()).all()
    assert (reading.whole(source.counts, 5, tmp_path / "s", max_elements, 6).toarray() == wanted.X.toarray()[6:]).all()
    assert source.genes == tuple(wanted.var_names) and source.obs.names().tolist() == wanted.obs_names.tolist()
    assert source.var["gene_ids"].tolist() == wanted.var["gene_ids"].tolist()
    assert source.var["genome"].tolist() == ["GRCh38"] * 5
    assert (source.kind, source.left) == ("10x h5", ("2 features of the type Antibody Capture",))


def test_version_2_has_a_matrix_for_each_genome(tmp_path):
    path = version_2(tmp_path / "one.h5", ("GRCh38",))
    (source,) = open_sources(path)
    wanted = scanpy.read_10x_h5(path)
    assert (reading.whole(source.counts, 7, tmp_path / "s").toarray() == wanted.X.toarray()).all()
    assert source.genes == tuple(wanted.var_names)
    two = version_2(tmp_path / "two.h5", ("GRCh38", "mm10"))
    with pytest.raises(SourceError, match=r"two\.h5 .*'GRCh38', 'mm10': set `counts`"):
        open_sources(two)
    (mouse,) = open_sources(two, counts="mm10")
    assert (reading.whole(mouse.counts, 7, tmp_path / "s").toarray() == matrix(1).toarray()).all()
    assert mouse.left == ("GRCh38",) and mouse.elsewhere == '"GRCh38"'


def test_genes_of_one_symbol_keep_their_ids(tmp_path):
    path = version_3(tmp_path / "a.h5", names=["A", "B", "B", "C", "x", "y", "D"])
    assert open_sources(path)[0].genes == ("A", "B", "B", "C", "D")
    assert open_sources(path, gene_names="gene_ids")[0].genes == ("ENSG0", "ENSG1", "ENSG2", "ENSG3", "ENSG6")
    with pytest.raises(GeneMismatchError, match="It has: gene_ids, genome, feature_types"):
        open_sources(path, gene_names="symbol")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda g: g["shape"].write_direct(np.array([7, 12], np.int32)),
            SourceError,
            "for 12 cells it has",
        ),
        (
            lambda g: g["shape"].write_direct(np.array([8, 13], np.int32)),
            SourceError,
            "8 x 13, but there are 7",
        ),
        (lambda g: g["indices"].write_direct(np.full(g["indices"].shape, 7, np.int32)), SourceError, "outside 0..6"),
        (lambda g: g["indptr"].write_direct(np.full(14, 3, np.int32)), SourceError, "pointers of `matrix` are damaged"),
        (lambda g: g["features"].pop("name"), SourceError, "a.h5: `matrix`"),
        (lambda g: (g.pop("data"), g.create_dataset("data", data=np.ones(3, complex))), CountsError, "complex128"),
        (lambda g: (g.pop("barcodes"), g.create_dataset("barcodes", data=[b"A"] * 12)), SourceError, "12 barcodes"),
    ],
)
def test_what_is_damaged_is_refused_by_name(tmp_path, change, error, words):
    path = version_3(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        change(file["matrix"])
    with pytest.raises(error, match=words) as caught:
        (source,) = open_sources(path)
        reading.whole(source.counts, 5, tmp_path / "s")
    assert str(path) in str(caught.value)


def test_a_file_without_genes_is_refused(tmp_path):
    path = version_3(tmp_path / "a.h5", kinds=["Peaks"] * 7)
    with pytest.raises(SourceError, match=r"0 features of the type 'Gene Expression' among 7 \(types: Peaks\)"):
        open_sources(path)
