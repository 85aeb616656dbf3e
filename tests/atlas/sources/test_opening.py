"""What a path is, is told from what is in it; what it is not, is said."""

import gzip
import zipfile

import anndata
import h5py
import numpy as np
import pytest

from livelatent.atlas.sources import open_sources
from livelatent.errors import SourceError


def test_the_name_of_a_file_does_not_matter(tmp_path):
    anndata.AnnData(np.eye(3)).write_h5ad(tmp_path / "a.h5")
    (source,) = open_sources(str(tmp_path / "a.h5"), name="mine")
    assert (source.kind, source.name) == ("h5ad", "mine")


def make(path, kind):
    if kind == "empty folder":
        path.mkdir()
    elif kind == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("x")
    elif kind == "loom":
        with h5py.File(path, "w") as file:
            file["matrix"] = np.eye(3)
            file.create_group("row_attrs"), file.create_group("col_attrs")
    elif kind == "gzip":
        path.write_bytes(gzip.compress(b"x" * 100))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("zarr.json", "{}")
    elif kind == "text":
        path.write_text("gene,cell\n" * 100)
    elif kind == "empty":
        path.touch()
    elif kind == "fifo":
        import os

        os.mkfifo(path)
    elif kind == "truncated":
        anndata.AnnData(np.eye(300)).write_h5ad(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent", "does not exist"),
        ("empty folder", "It has: nothing"),
        ("folder", r"It has: notes\.txt"),
        ("loom", "looks like a loom file"),
        ("gzip", "packed with gzip. Unpack it"),
        ("zip", "packed with zip. Unpack it"),
        ("text", "is no HDF5"),
        ("empty", "is no HDF5"),
        ("fifo", "no plain file"),
        ("truncated", "truncated or damaged"),
    ],
)
def test_what_is_no_source_is_refused_by_name(tmp_path, kind, words):
    make(tmp_path / "thing", kind)
    with pytest.raises(SourceError, match=words) as caught:
        open_sources(tmp_path / "thing")
    assert str(tmp_path / "thing") in str(caught.value)


def test_an_address_is_no_path():
    with pytest.raises(SourceError, match="a path on this machine was wanted"):
        open_sources("s3://bucket/a.zarr")
