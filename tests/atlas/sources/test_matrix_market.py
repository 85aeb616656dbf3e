"""10x Matrix Market folders: what scanpy reads is what is read, whatever the order of the lines."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import scanpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reading
from livelatent.atlas.sources import fingerprint_of, open_sources, text
from livelatent.errors import SourceError

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(path: Path, content: str) -> None:
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())


def folder_of(
    folder: Path,
    counts: np.ndarray,
    *,
    prefix: str = "",
    packed: bool = False,
    version: int = 3,
    order: np.ndarray | None = None,
    field: str = "integer",
    turned: bool = False,
    end: str = "\n",
) -> Path:
    """Write cells x genes as Cell Ranger does; `order` are the lines."""
    folder.mkdir(exist_ok=True)
    cell, gene = np.nonzero(counts)
    value = counts[cell, gene]
    if order is not None:
        cell, gene, value = cell[order], gene[order], value[order]
    n_cells, n_genes = counts.shape
    head = [f"%%MatrixMarket matrix coordinate {field} general", "%metadata_json: {}"]
    shown = value if field == "integer" else [f"{v:.3e}" for v in value]
    first, second, sizes = (cell, gene, (n_cells, n_genes)) if turned else (gene, cell, (n_genes, n_cells))
    lines = [*head, f"{sizes[0]} {sizes[1]} {value.size}"]
    lines += [f"{a + 1} {b + 1} {v}" for a, b, v in zip(first, second, shown, strict=True)]
    gz = ".gz" if packed else ""
    put(folder / f"{prefix}matrix.mtx{gz}", end.join(lines) + end)
    kinds = ["Gene Expression"] * (n_genes - 1) + ["Antibody Capture"]
    rows = [f"ENSG{i}\tg{i}" + (f"\t{kinds[i]}" if version == 3 else "") for i in range(n_genes)]
    put(folder / f"{prefix}{'features' if version == 3 else 'genes'}.tsv{gz}", "\n".join(rows) + "\n")
    put(folder / f"{prefix}barcodes.tsv{gz}", "\n".join(f"AAAC-{i}" for i in range(n_cells)) + "\n")
    return folder


def counts_of(n_cells: int = 11, n_genes: int = 6, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).poisson(0.8, (n_cells, n_genes))
    found[n_cells // 2], found[:, 1] = 0, 0
    found[0, 0] = 3
    return found


@pytest.mark.parametrize(("version", "packed", "prefix"), [(3, True, ""), (2, False, ""), (3, True, "GSM1_donor_")])
def test_a_folder_holds_the_genes_that_scanpy_reads(tmp_path, version, packed, prefix):
    folder = folder_of(tmp_path / "10x", counts_of(), version=version, packed=packed, prefix=prefix)
    (source,) = open_sources(folder)
    wanted = scanpy.read_10x_mtx(folder, prefix=prefix or None)
    if version == 3:
        wanted = wanted[:, wanted.var["feature_types"] == "Gene Expression"].copy()
        assert source.left == ("1 features of the type Antibody Capture",)
    got = reading.whole(source.counts, len(source.genes), tmp_path / "s")
    assert (got.toarray() == wanted.X.toarray()).all() and got.dtype == np.int64
    assert source.genes == tuple(wanted.var_names) and source.obs.names().tolist() == wanted.obs_names.tolist()
    assert source.var["gene_ids"].tolist() == wanted.var["gene_ids"].tolist()
    assert (source.kind, source.path, source.name) == ("matrix market", folder, "10x")
    assert fingerprint_of(source.path) == source.fingerprint
    assert open_sources(folder, gene_names="gene_ids")[0].genes[2] == "ENSG2"


@FEW
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(2, 9)),
    max_elements=st.integers(1, 40),
    first=st.integers(0, 19),
    field=st.sampled_from(["integer", "real"]),
    is_shuffled=st.booleans(),
    turned=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([20, 64, 2**20]),
    seed=st.integers(0, 50),
)
def test_lines_may_come_in_any_order_and_blocks_of_any_size(
    tmp_path_factory, shape, max_elements, first, field, is_shuffled, turned, end, block, seed
):
    counts = counts_of(*shape, seed=seed)
    order = np.random.default_rng(seed).permutation(np.count_nonzero(counts)) if is_shuffled else None
    folder = folder_of(
        tmp_path_factory.mktemp("m"), counts, field=field, order=order, end=end, turned=turned and shape[0] != shape[1]
    )
    first = min(first, shape[0] - 1)
    (source,) = open_sources(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        got = reading.whole(source.counts, shape[1] - 1, folder / "s", max_elements, first)
    assert (got.toarray() == counts[first:, :-1]).all()
    assert not (folder / "s").exists()


def test_files_that_an_earlier_call_left_are_used_only_if_they_are_whole(tmp_path):
    folder = folder_of(tmp_path / "10x", counts_of())
    (source,) = open_sources(folder)
    scratch = tmp_path / "s"
    next(iter(source.counts.chunks(5, scratch=scratch)))  # all is thrown, one chunk was read
    thrown = {path.name: path.stat().st_mtime_ns for path in scratch.iterdir()}
    next(iter(source.counts.chunks(5, first_row=3, scratch=scratch)))
    assert {path.name: path.stat().st_mtime_ns for path in scratch.iterdir()} == thrown
    (scratch / "done.json").unlink()
    (scratch / "0").write_bytes(b"half a reco")
    assert (reading.whole(source.counts, 5, scratch, 5).toarray() == counts_of()[:, :-1]).all()
    next(iter(source.counts.chunks(5, scratch=scratch)))
    folder_of(folder, counts_of(seed=1))
    (other,) = open_sources(folder)
    assert (reading.whole(other.counts, 5, scratch, 5).toarray() == counts_of(seed=1)[:, :-1]).all()


def test_a_folder_with_several_prefixes_is_several_sources(tmp_path):
    for i, prefix in enumerate(("GSM1_a_", "GSM2_b_", "")):
        folder_of(tmp_path / "geo", counts_of(seed=i), prefix=prefix, packed=i == 1)
    sources = open_sources(tmp_path / "geo")
    assert [source.name for source in sources] == ["geo/GSM1_a", "geo/GSM2_b", "geo/matrix"]
    for i, source in enumerate(sources):
        assert (reading.whole(source.counts, 5, tmp_path / "s").toarray() == counts_of(seed=i)[:, :-1]).all()
        assert fingerprint_of(source.path) == source.fingerprint
    assert open_sources(sources[1].path)[0].obs.names().tolist() == sources[1].obs.names().tolist()


def replaced(old: str, new: str):
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced("%%MatrixMarket", "%MatrixMarket"), "begins with"),
        (replaced("coordinate", "array"), "begins with"),
        (replaced("integer general", "pattern general"), "pattern general"),
        (replaced("integer general", "integer symmetric"), "integer symmetric"),
        (replaced("integer general", "complex general"), "complex general"),
        (replaced("6 11", "6 12"), r"6 x 12, but features\.tsv.* has 6 features and barcodes\.tsv.* 11 barcodes"),
        (replaced("6 11", "-6 11"), "line 3"),
        (replaced("6 11", "6 11 9"), "line 3"),
        (lambda text: text[: len(text) // 2].rsplit("\n", 1)[0], "its header says"),
        (lambda text: text + "1 1 1\n", "its header says"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n7 1 1\n", "row 7 lies outside 1..6"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n0 1 1\n", "row 0 lies outside"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 -4 1\n", "column -4 lies outside"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 1 x\n", "can't be read"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 1 1.5\n", "can't be read"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 1\n", "can't be read"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 1 1 1\n", "three fields"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 1 1 1 1\n", "can't be read"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 1 99999999999999999999\n", "can't be read"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n1 1 1\x00\n", "can't be read"),
        (lambda text: "", "ends before its sizes|no HDF5|is empty"),
        (lambda text: text.split("\n", 1)[0], "ends before its sizes"),
        (lambda text: text + "1" * (2**20 + 2**10), "line of more than|its header says|can't be read"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_damaged_is_refused_by_name(tmp_path, change, words, packed):
    folder = folder_of(tmp_path / "10x", counts_of(), packed=packed)
    path = folder / f"matrix.mtx{'.gz' if packed else ''}"
    put(path, change((gzip.decompress if packed else bytes)(path.read_bytes()).decode()))
    with pytest.raises(SourceError, match=words) as caught:
        (source,) = open_sources(folder)
        reading.whole(source.counts, 5, tmp_path / "s")
    assert "10x" in str(caught.value)


def test_a_truncated_gzip_is_refused_by_name(tmp_path):
    folder = folder_of(tmp_path / "10x", counts_of(300, 60), packed=True)
    path = folder / "matrix.mtx.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match=r"matrix\.mtx\.gz is truncated or damaged"):
        (source,) = open_sources(folder)
        reading.whole(source.counts, 59, tmp_path / "s")


def test_a_matrix_without_its_companions_is_refused(tmp_path):
    folder = folder_of(tmp_path / "10x", counts_of())
    (folder / "barcodes.tsv").unlink()
    with pytest.raises(SourceError, match=r"beside it barcodes\.tsv or barcodes\.tsv\.gz was wanted"):
        open_sources(folder)
    with pytest.raises(SourceError, match="leave `counts` out"):
        open_sources(folder, counts="raw")


def test_the_sum_of_an_entry_given_twice_is_for_who_reads(tmp_path):
    folder = folder_of(tmp_path / "10x", np.array([[1, 0], [0, 2]]))
    put(folder / "matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 3\n1 1 4\n1 2 1\n1 1 5\n")
    (source,) = open_sources(folder)
    assert reading.whole(source.counts, 1, tmp_path / "s").toarray().tolist() == [[9], [1]]
