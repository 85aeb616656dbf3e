"""Corrupted and hostile sources, and a child process that reads them: `hostile.py FOLDER HOW N_RANDOM FIRST:LAST:STEP`.

For each case the child prints one line of JSON: what came of it. A process of its own, so that a crash is seen.
"""

import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import zarr
from scipy import sparse

N_CELLS, N_GENES = 31, 8
PATIENCE_S = 60
Edit = Callable[[Path, random.Random], object]


def adata() -> anndata.AnnData:
    """A bit of everything."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.1, (N_CELLS, N_GENES)).astype(np.float32)
    counts[4], counts[:, 5] = 0, 0
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice(["T", "B", "NK é"], N_CELLS)),
            "age": rng.integers(0, 90, N_CELLS),
            "maybe": pd.array([None, *range(N_CELLS - 1)], dtype="Int64"),
            "note": [f"n{i}" for i in range(N_CELLS)],
        },
        index=pd.Index([f"cell{i}" for i in range(N_CELLS)], dtype=object),
    )
    var = pd.DataFrame({"gene_ids": [f"E{i}" for i in range(N_GENES)]}, index=[f"g{i}" for i in range(N_GENES)])
    found = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)
    found.obsm["X_umap"] = rng.normal(size=(N_CELLS, 2))
    found.layers["spliced"] = sparse.csr_matrix(counts)
    return found


def write_bases(folder: Path) -> None:
    """One sound source of each kind."""
    made = adata()
    made.write_h5ad(folder / "csr.h5ad")
    made.write_h5ad(folder / "gzip.h5ad", compression="gzip")
    other = made.copy()
    other.X = other.X.tocsc()
    other.write_h5ad(folder / "csc.h5ad")
    other.X = other.X.toarray()
    other.write_h5ad(folder / "dense.h5ad")
    for version, is_sharded in ((2, False), (3, False), (3, True)):
        name = f"v{version}{'s' if is_sharded else ''}.zarr"
        with anndata.settings.override(auto_shard_zarr_v3=is_sharded):
            anndata.io.write_elem(zarr.open_group(folder / name, mode="w", zarr_format=version), "/", made)
    csr = sparse.csr_matrix(made.X.astype(np.int32))
    with h5py.File(folder / "tenx.h5", "w") as file:
        group = file.create_group("matrix")
        group["shape"] = np.array([N_GENES, N_CELLS], np.int32)
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(csr, part)
        group["barcodes"] = np.array([name.encode() for name in made.obs_names])
        for name, prefix in (("id", "E"), ("name", "g")):
            group[f"features/{name}"] = np.array([f"{prefix}{i}".encode() for i in range(N_GENES)])
        group["features/feature_type"] = np.array([b"Gene Expression"] * N_GENES)
    for name, packed in (("mtx", False), ("mtxgz", True)):
        where = folder / name
        where.mkdir()
        coo = csr.tocoo()
        lines = ["%%MatrixMarket matrix coordinate integer general", "%", f"{N_GENES} {N_CELLS} {coo.nnz}"]
        lines += [f"{g + 1} {c + 1} {v}" for c, g, v in zip(coo.row, coo.col, coo.data, strict=True)]
        files = {
            "matrix.mtx": "\n".join(lines) + "\n",
            "features.tsv": "".join(f"E{i}\tg{i}\tGene Expression\n" for i in range(N_GENES)),
            "barcodes.tsv": "".join(f"{name}\n" for name in made.obs_names),
        }
        for file_name, text in files.items():
            data = gzip.compress(text.encode(), mtime=0) if packed else text.encode()
            (where / f"{file_name}{'.gz' if packed else ''}").write_bytes(data)


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def flipped(n_bits: int) -> Edit:
    """Flip bits at random places of a random file."""

    def edit(path: Path, rng: random.Random) -> None:
        file = rng.choice([file for file in files_of(path) if file.stat().st_size])
        data = bytearray(file.read_bytes())
        for _ in range(n_bits):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)

    return edit


def truncated(path: Path, rng: random.Random) -> None:
    file = rng.choice([file for file in files_of(path) if file.stat().st_size])
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def overwritten(path: Path, rng: random.Random) -> None:
    """Random bytes over a stretch."""
    file = rng.choice([file for file in files_of(path) if file.stat().st_size])
    data = bytearray(file.read_bytes())
    start = rng.randrange(len(data))
    stretch = rng.randbytes(rng.randrange(1, 200))
    data[start : start + len(stretch)] = stretch
    file.write_bytes(data)


def removed(path: Path, rng: random.Random) -> None:
    rng.choice(files_of(path)).unlink()


ODD: list[Any] = [
    None,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**70,
    1e308,
    True,
    "x" * 1000,
    "../../x",
    [],
    {},
    [1, [2]],
    {"id": "pickle"},
]


def fuzzed_metadata(path: Path, rng: random.Random) -> None:
    """Replace, remove or add something somewhere in the JSON of a Zarr store."""
    names = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
    file = rng.choice([file for file in files_of(path) if file.name in names])
    document = json.loads(file.read_bytes())
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key))
            walk(value)

    walk(document)
    if places:
        node, key = rng.choice(places)
        if rng.random() < 0.2:
            del node[key]
        else:
            node[key] = rng.choice(ODD)
    file.write_text(json.dumps(document))


def fuzzed_lines(path: Path, rng: random.Random) -> None:
    """Change a line of a text file, packed or not."""
    file = rng.choice(files_of(path))
    packed = file.suffix == ".gz"
    lines = (gzip.decompress(file.read_bytes()) if packed else file.read_bytes()).split(b"\n")
    odd = [
        b"",
        b"-1 1 1",
        b"1 1",
        b"a b c",
        b"1 1 nan",
        b"9999999999 1 1",
        b"\x00",
        b"1 1 1 1",
        b"x" * 2_000_000,
        b"\xff\xfe",
    ]
    lines[rng.randrange(len(lines))] = rng.choice(odd)
    data = b"\n".join(lines)
    file.write_bytes(gzip.compress(data) if packed else data)


def fuzzed_attribute(path: Path, rng: random.Random) -> None:
    """Replace or remove an attribute somewhere in an HDF5 file."""
    odd: list[Any] = [-1, 2**40, "x" * 1000, "../../X", [1, 2, 3], np.zeros(0), [2**40, 2**40], "csr_matrix", "array"]
    with h5py.File(path, "r+") as file:
        places: list[tuple[str, str]] = []
        file.visititems(lambda name, item: places.extend((name, key) for key in item.attrs) or None)
        if not places:
            file.attrs["x"] = 1
            return
        name, key = rng.choice(places)
        if rng.random() < 0.3:
            del file[name].attrs[key]
        else:
            file[name].attrs[key] = rng.choice(odd)


def fuzzed_array(path: Path, rng: random.Random) -> None:
    """Replace an array of an HDF5 file by one of another type, length or rank."""
    with h5py.File(path, "r+") as file:
        places: list[str] = []
        file.visititems(lambda name, item: places.append(name) if isinstance(item, h5py.Dataset) else None)
        name = rng.choice(places)
        old = file[name]
        attributes, shape = dict(old.attrs), old.shape
        odd: list[Any] = [
            np.zeros(shape, rng.choice(["f8", "i1", "u8", "S3", "c8", "?", ">i4", "f2"])),
            np.zeros((2, *shape)),
            np.full(shape, rng.choice([-1, 10**6, 2**62]), np.int64),
            np.full(shape, rng.choice([np.nan, np.inf, -1.5, 1e300])),
            np.arange(max(0, (shape[0] if shape else 1) - 1)),
            h5py.Empty("f4"),
            "text",
        ]
        del file[name]
        file[name] = rng.choice(odd)
        for key, value in attributes.items():
            file[name].attrs[key] = value


def h5(change: Callable[[h5py.File], object]) -> Edit:
    """A change by hand to an HDF5 file."""

    def edit(path: Path, rng: random.Random) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return edit


def put(file: h5py.File, name: str, values: Any, **kwargs: Any) -> None:
    attributes = dict(file[name].attrs) if name in file else {}
    if name in file:
        del file[name]
    made = file.create_dataset(name, data=values, **kwargs)
    for key, value in attributes.items():
        made.attrs[key] = value


def set_values(name: str, at: int, value: float) -> Edit:
    def change(file: h5py.File) -> None:
        values = file[name][:].astype("f8")
        values.flat[at] = value
        put(file, name, values)

    return h5(change)


def set_whole(name: str, at: int, value: int) -> Edit:
    def change(file: h5py.File) -> None:
        values = file[name][:].astype("i8")
        values[at] = value
        put(file, name, values)

    return h5(change)


def claims(n_cells: int) -> Edit:
    """A file of some kB that claims to hold so many cells, all of them never written."""

    def change(file: h5py.File) -> None:
        for name in ("obs", "obsm", "layers", "X"):
            del file[name]
        kind = h5py.string_dtype()
        obs = file.create_group("obs")
        obs.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
        obs.attrs["column-order"] = np.array([], dtype=kind)
        names = obs.create_dataset("_index", (n_cells,), kind, chunks=(10**6,))
        names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        matrix = file.create_dataset("X", (n_cells, N_GENES), "f4", chunks=(10**5, N_GENES))
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})

    return h5(change)


def named(where: str, name: str) -> Edit:
    """A column or array of this name."""

    def change(file: h5py.File) -> None:
        if where == "obs":
            file["obs"].attrs["column-order"] = np.array(["age", name], dtype=h5py.string_dtype())
        file[where].create_dataset(name.replace("\0", ""), data=np.ones(N_CELLS if where == "obs" else (N_CELLS, 2)))

    return h5(change)


def linked(link: Callable[[Path], Any], name: str) -> Edit:
    def edit(path: Path, rng: random.Random) -> None:
        other = path.parent / "other.h5"
        shutil.copy(path, other)
        with h5py.File(path, "r+") as file:
            if name in file:
                del file[name]
            file[name] = link(other)

    return edit


def virtual(path: Path, rng: random.Random) -> None:
    shutil.copy(path, path.parent / "other.h5")
    with h5py.File(path, "r+") as file:
        length = file["X/data"].shape
        del file["X/data"]
        layout = h5py.VirtualLayout(length, "f4")
        layout[:] = h5py.VirtualSource(path.parent / "other.h5", "X/data", length)
        file.create_virtual_dataset("X/data", layout)


def bomb(path: Path, rng: random.Random) -> None:
    """64 MB of ones in 64 kB, where a row has room for eight values."""
    with h5py.File(path, "r+") as file:
        n = 16 * 2**20
        for name, kind in (("X/data", "f4"), ("X/indices", "i4")):
            put(file, name, np.ones(n, kind), compression="gzip", chunks=(2**20,))
        put(file, "X/indptr", np.array([0] * N_CELLS + [n]))


HDF5_EDITS: dict[str, Edit] = {
    "negative": set_values("X/data", 3, -1),
    "nan": set_values("X/data", 0, np.nan),
    "infinite": set_values("X/data", 5, np.inf),
    "minus infinite": set_values("X/data", 5, -np.inf),
    "fraction": set_values("X/data", 2, 1.5),
    "too large": set_values("X/data", 2, 2.0**60),
    "largest": set_values("X/data", 2, 2.0**53 - 1),
    "index outside": set_whole("X/indices", 7, N_GENES),
    "index negative": set_whole("X/indices", 7, -1),
    "index huge": set_whole("X/indices", 7, 2**40),
    "index repeated": h5(lambda f: put(f, "X/indices", f["X/indices"][:] * 0)),
    "pointer falls": set_whole("X/indptr", 9, 0),
    "pointer beyond": set_whole("X/indptr", 9, 10**9),
    "pointer negative": set_whole("X/indptr", 9, -5),
    "first pointer": set_whole("X/indptr", 0, 1),
    "last pointer": set_whole("X/indptr", N_CELLS, 2),
    "last pointer beyond": set_whole("X/indptr", N_CELLS, 10**6),
    "pointers as fractions": h5(lambda f: put(f, "X/indptr", f["X/indptr"][:].astype("f8"))),
    "indices as fractions": h5(lambda f: put(f, "X/indices", f["X/indices"][:].astype("f8"))),
    "values as text": h5(lambda f: put(f, "X/data", np.array([b"1"] * f["X/data"].size))),
    "values as truth": h5(lambda f: put(f, "X/data", f["X/data"][:] > 0)),
    "values twice as long": h5(lambda f: put(f, "X/data", np.tile(f["X/data"][:], 2))),
    "no values": h5(lambda f: f["X"].pop("data")),
    "no pointers": h5(lambda f: f["X"].pop("indptr")),
    "empty values": h5(lambda f: put(f, "X/data", h5py.Empty("f4"))),
    "scalar values": h5(lambda f: put(f, "X/data", 3.0)),
    "shape lies in cells": h5(lambda f: f["X"].attrs.__setitem__("shape", [N_CELLS + 1, N_GENES])),
    "shape lies in genes": h5(lambda f: f["X"].attrs.__setitem__("shape", [N_CELLS, 10**9])),
    "shape is huge": h5(lambda f: f["X"].attrs.__setitem__("shape", [2**62, 2**62])),
    "shape is negative": h5(lambda f: f["X"].attrs.__setitem__("shape", [-1, -1])),
    "shape is text": h5(lambda f: f["X"].attrs.__setitem__("shape", "31 x 8")),
    "no shape": h5(lambda f: f["X"].attrs.__delitem__("shape")),
    "no X": h5(lambda f: f.__delitem__("X")),
    "no obs": h5(lambda f: f.__delitem__("obs")),
    "no var": h5(lambda f: f.__delitem__("var")),
    "obs is a number": h5(lambda f: put(f, "obs", 1)),
    "obs without names": h5(lambda f: f["obs"].pop("_index")),
    "names too few": h5(lambda f: (f["obs"].pop("_index"), put(f, "obs/_index", np.array([b"a"] * 30)))),
    "names are numbers": h5(lambda f: (f["obs"].pop("_index"), put(f, "obs/_index", np.arange(N_CELLS)))),
    "names are no UTF-8": h5(lambda f: (f["obs"].pop("_index"), put(f, "obs/_index", np.array([b"\xff"] * N_CELLS)))),
    "a name of 8 MB": h5(
        lambda f: (f["obs"].pop("_index"), put(f, "obs/_index", ["x" * 2**23] + [f"c{i}" for i in range(N_CELLS - 1)]))
    ),
    "a category of 8 MB": h5(lambda f: put(f, "obs/kind/categories", ["x" * 2**23, "b", "c"])),
    "codes outside": h5(lambda f: put(f, "obs/kind/codes", np.full(N_CELLS, 77, "i1"))),
    "codes below": h5(lambda f: put(f, "obs/kind/codes", np.full(N_CELLS, -7, "i1"))),
    "codes as fractions": h5(lambda f: put(f, "obs/kind/codes", np.full(N_CELLS, 0.5))),
    "categories twice": h5(lambda f: put(f, "obs/kind/categories", ["T", "T", "B"])),
    "column of complex": h5(lambda f: put(f, "obs/age", np.ones(N_CELLS, "c8"))),
    "column of rank 2": h5(lambda f: put(f, "obs/age", np.ones((N_CELLS, 2)))),
    "column of references": h5(lambda f: put(f, "obs/age", np.array([f.ref] * N_CELLS, dtype=h5py.ref_dtype))),
    "mask too short": h5(lambda f: put(f, "obs/maybe/mask", np.zeros(3, "?"))),
    "columns that are absent": h5(lambda f: f["obs"].attrs.__setitem__("column-order", ["age", "gone"])),
    "column named twice": h5(lambda f: f["obs"].attrs.__setitem__("column-order", ["age", "age"])),
    "columns as numbers": h5(lambda f: f["obs"].attrs.__setitem__("column-order", [1, 2])),
    "column that leads up": h5(lambda f: f["obs"].attrs.__setitem__("column-order", ["../var/_index"])),
    "column that leads to the root": h5(lambda f: f["obs"].attrs.__setitem__("column-order", ["/X/data"])),
    "index that leads up": h5(lambda f: f["obs"].attrs.__setitem__("_index", "../var/_index")),
    "index that is the group": h5(lambda f: f["obs"].attrs.__setitem__("_index", ".")),
    "genes nameless": h5(lambda f: (f["var"].pop("_index"), put(f, "var/_index", np.array([b""] * N_GENES)))),
    "genes twice": h5(lambda f: (f["var"].pop("_index"), put(f, "var/_index", np.array([b"a"] * N_GENES)))),
    "genes are markup": h5(
        lambda f: (f["var"].pop("_index"), put(f, "var/_index", [f"<script>{i}../\n" for i in range(N_GENES)]))
    ),
    "a name with a slash": named("obs", "a/b"),
    "a name that leads up": named("obs", "../x"),
    "a name with a line end": named("obs", "a\nb"),
    "a name of Zarr's": named("obsm", "zarr.json"),
    "a name with a backslash": named("obsm", "..\\..\\x"),
    "a name of 300 bytes": named("obsm", "x" * 300),
    "obsm of the wrong length": h5(lambda f: put(f, "obsm/X_umap", np.ones((5, 2)))),
    "obsm of text": h5(lambda f: put(f, "obsm/X_umap", np.array([[b"a", b"b"]] * N_CELLS))),
    "obsm of NaN": h5(lambda f: put(f, "obsm/X_umap", np.full((N_CELLS, 2), np.nan))),
    "obsm is an array": h5(lambda f: (f.pop("obsm"), put(f, "obsm", np.ones((N_CELLS, 2))))),
    "layers is an array": h5(lambda f: (f.pop("layers"), put(f, "layers", np.ones((N_CELLS, 2))))),
    "layer with an index outside": set_whole("layers/spliced/indices", 7, N_GENES),
    "uns is an array": h5(lambda f: (f.pop("uns"), put(f, "uns", np.ones(3)))),
    "facts of ours that are none": h5(lambda f: put(f, "uns/livelatent", b"text")),
    "external link": linked(lambda other: h5py.ExternalLink(other, "/X"), "X"),
    "external link in a layer": linked(lambda other: h5py.ExternalLink(other, "/X"), "layers/other"),
    "external link in uns": linked(lambda other: h5py.ExternalLink("/etc/passwd", "/"), "uns/secret"),
    "soft link in a circle": linked(lambda other: h5py.SoftLink("/X"), "X"),
    "soft link to nowhere": linked(lambda other: h5py.SoftLink("/gone"), "obs/age"),
    "soft link to the right place": linked(lambda other: h5py.SoftLink("/layers/spliced"), "X"),
    "virtual values": virtual,
    "group in itself": h5(lambda f: f["uns"].__setitem__("loop", f["uns"])),
    "claims 10^9 cells": claims(10**9),
    "claims 10^13 cells": claims(10**13),
    "bomb": bomb,
}


def text(name: str, content: Callable[[bytes], bytes]) -> Edit:
    """A change by hand to one file of a Matrix Market folder."""

    def edit(path: Path, rng: random.Random) -> None:
        file = next(file for file in path.iterdir() if file.name.startswith(name))
        packed = file.suffix == ".gz"
        data = content(gzip.decompress(file.read_bytes()) if packed else file.read_bytes())
        file.write_bytes(gzip.compress(data, 1) if packed else data)

    return edit


TEXT_EDITS: dict[str, Edit] = {
    "barcodes are a bomb of one line": text("barcodes", lambda data: b"x" * 2**22),
    "barcodes are a bomb of line ends": text("barcodes", lambda data: b"\n" * 2**18),
    "features are a bomb": text("features", lambda data: b"a\ta\tb\n" * 2**18),
    "entries are a bomb of line ends": text("matrix", lambda data: data + b"\n" * 2**18),
    "entries are a bomb of one line": text("matrix", lambda data: data + b"1" * 2**22),
    "entries are a bomb of comments": text("matrix", lambda data: data + b"% \n" * 2**18),
    "claims 10^15 entries": text("matrix", lambda data: data.replace(b"8 31 ", b"8 31 1000000000000", 1)),
    "claims 10^12 cells": text("matrix", lambda data: data.replace(b"8 31 ", b"8 1000000000000 ", 1)),
    "claims a number of 30 digits": text("matrix", lambda data: data.replace(b"8 31 ", b"8 " + b"9" * 30 + b" ", 1)),
    "entries all of one place": text("matrix", lambda d: d[: d.index(b"8 31 ")] + b"8 31 5\n" + b"1 1 1\n" * 5),
    "barcodes twice": text("barcodes", lambda data: b"same\n" * N_CELLS),
    "features without a name": text("features", lambda data: b"E\t\tGene Expression\n" * N_GENES),
    "features of another type": text("features", lambda data: data.replace(b"Gene Expression", b"Peaks")),
    "a feature that leads up": text("features", lambda data: data.replace(b"g3", b"../../g3")),
    "UTF-16": text("matrix", lambda data: data.decode().encode("utf-16")),
}


def cases(n_random: int) -> Iterator[tuple[str, str, Edit]]:
    """(Name, base, edit): those by hand, and each kind of damage at `n_random` places of each base."""
    for name, edit in HDF5_EDITS.items():
        yield name, "csr.h5ad", edit
    for name, edit in TEXT_EDITS.items():
        for base in ("mtx", "mtxgz"):
            yield f"{base}: {name}", base, edit
    everywhere: dict[str, Edit] = {
        "a bit": flipped(1),
        "8 bits": flipped(8),
        "cut": truncated,
        "noise": overwritten,
    }
    own: dict[str, dict[str, Edit]] = {
        "h5ad": {"attribute": fuzzed_attribute, "array": fuzzed_array},
        "zarr": {"metadata": fuzzed_metadata, "gone": removed},
        "h5": {"array": fuzzed_array},
        "mtx": {"line": fuzzed_lines, "gone": removed},
    }
    for base in (
        "csr.h5ad",
        "gzip.h5ad",
        "csc.h5ad",
        "dense.h5ad",
        "v2.zarr",
        "v3.zarr",
        "v3s.zarr",
        "tenx.h5",
        "mtx",
        "mtxgz",
    ):
        for kind, edit in {**everywhere, **own[base.rpartition(".")[2].removesuffix("gz")]}.items():
            for i in range(n_random):
                yield f"{base}: {kind} {i}", base, edit


def made(bases: Path, folder: Path, name: str, base: str, edit: Edit) -> Path:
    """The hostile source, in a folder of its own."""
    folder.mkdir(parents=True)
    path = folder / base
    (shutil.copytree if (bases / base).is_dir() else shutil.copy)(bases / base, path)
    edit(path, random.Random(name))
    return path


def digest(folder: Path) -> str:
    """Everything in a folder: names and bytes."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}\0{path.is_dir()}\0".encode(errors="replace"))
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


Content = tuple[np.ndarray, list[str], dict[str, list[object]]]


def as_read(path: Path, scratch: Path) -> Content:
    """The counts, the names of the cells and obs, as ingest reads them."""
    from livelatent.atlas.building.look_over import looked_over_counts
    from livelatent.atlas.sources import open_sources

    (source,) = open_sources(path)
    n_genes = len(source.genes)
    dense = np.zeros((source.n_cells, n_genes))
    places = np.arange(n_genes, dtype=np.int32)
    for start, rows in source.counts.chunks(50, scratch=scratch):
        total, n_seen = np.zeros(rows.n_rows), np.zeros(rows.n_rows, np.int32)
        rows = looked_over_counts(source, start, rows, places, n_genes, total, n_seen)[0]
        row = np.repeat(np.arange(rows.n_rows), np.diff(rows.indptr)) + start
        np.add.at(dense, (row, rows.indices), rows.data)
    for each in source.obsm.values():
        for _ in each.chunks(100):
            pass
    obs = {name: plain(source.obs.column(name)) for name in source.obs.columns}
    return dense, source.obs.names().tolist(), obs


def as_streamed(path: Path) -> Content:
    """The same as it is streamed without an ingest: any rows, in any order."""
    import livelatent as ll

    atlas = ll.open_foreign(path, progress=False)
    dense = np.zeros((atlas.n_cells, atlas.n_genes))
    for start in random.Random(0).sample(range(0, atlas.n_cells, 7), -(-atlas.n_cells // 7)):
        dense[start : start + 7] = atlas.read_rows(start, start + 7).toarray()
    if not np.array_equal(atlas.total, dense.sum(axis=1)):
        raise AssertionError("totals are no sums")
    for name in atlas.sources[0].obsm:
        atlas.obsm_rows(name).read(3, 20)
    obs = {name: plain(atlas.obs[name]) for name in atlas.sources[0].obs.columns}
    return dense, np.asarray(atlas.obs.index, dtype=object).tolist(), obs


def as_ingested(path: Path, target: Path) -> Content:
    """The same from the store that ingest makes."""
    import livelatent as ll

    atlas = ll.ingest(path, target, progress=False)
    order = np.argsort(atlas.obs["source_row"].to_numpy())
    dense = atlas.read_rows(0, atlas.n_cells).toarray()[order].astype(float)
    names = atlas.obs["barcode"] if "barcode" in atlas.obs.columns else atlas.obs.index
    return dense, np.asarray(names, dtype=object)[order].tolist(), {}


def as_plain(path: Path) -> Content:
    """The same as plain anndata reads it; for text, as three numbers a line."""
    if path.is_dir() and not (path / "zarr.json").exists() and not (path / ".zgroup").exists():
        return as_text(path)
    if path.suffix == ".h5":
        # scanpy makes float32 of the counts, which a flipped bit may make too large for that.
        with h5py.File(path) as file:
            group = file["matrix"]
            kept = group["features/feature_type"][:] == b"Gene Expression"
            shape = (len(group["barcodes"]), kept.size)
            values = sparse.csr_matrix(tuple(group[part][:] for part in ("data", "indices", "indptr")), shape=shape)
            values.check_format()
            return values.toarray()[:, kept].astype(float), plain(pd.Series(group["barcodes"][:])), {}
    root = h5py.File(path) if path.is_file() else zarr.open_group(path, mode="r", use_consolidated=False)
    read = anndata.io.read_elem
    values = read(root["X"])
    dense = values.toarray() if sparse.issparse(values) else np.asarray(values)
    obs = root["obs"]
    index = obs.attrs["_index"]
    columns = {}
    for name in obs.attrs["column-order"]:
        try:
            columns[str(name)] = plain(pd.Series(read(obs[name])))
        except Exception:  # whatever anndata raises on a column that is broken
            continue
    return dense.astype(float), [str(value) for value in plain(pd.Series(read(obs[index])))], columns


def as_text(path: Path) -> Content:
    lines = {}
    for file in path.iterdir():
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        lines[file.name.removesuffix(".gz")] = [line for line in data.decode().split("\n") if line.strip("\r")]
    body = [line for line in lines["matrix.mtx"][1:] if not line.startswith("%")]
    dense = np.zeros((len(lines["barcodes.tsv"]), len(lines["features.tsv"])))
    for line in body[1:]:
        gene, cell, value = line.split("%")[0].split()
        dense[int(cell) - 1, int(gene) - 1] += int(value)
    names = [line.rstrip("\r").split("\t")[0] for line in lines["barcodes.tsv"]]
    kinds = [line.split("\t")[2].rstrip("\r") == "Gene Expression" for line in lines["features.tsv"]]
    return dense[:, kinds], names, {}


def plain(values: pd.Series) -> list[object]:
    """Values as plain objects, bytes as text, missing ones None."""
    found = [None if pd.isna(value) else value for value in values.astype(object)]
    return [value.decode() if isinstance(value, bytes) else value for value in found]


def difference(got: Content, wanted: Content) -> str:
    """What is not the same, or nothing."""
    if got[0].shape != wanted[0].shape or not np.array_equal(got[0], wanted[0]):
        return "counts"
    if got[1] != wanted[1]:
        return "names"
    return ", ".join(name for name, values in got[2].items() if values != wanted[2].get(name))


def outcome(path: Path, how: str) -> dict[str, str]:
    """What comes of a source: refused, the same as plain anndata reads, or something that must not be."""
    from livelatent.errors import LivelatentError

    before, beside = digest(path.parent), path.parent.parent / f"{path.parent.name}_out"
    beside.mkdir()
    try:
        if how == "plain":
            anndata.read_h5ad(path) if path.suffix == ".h5ad" else as_plain(path)
            return {"came": "same", "said": "plain reading ends"}
        if how == "stream":
            got = as_streamed(path)
        else:
            got = as_read(path, beside / "scratch") if how == "read" else as_ingested(path, beside / "t.zarr")
    except LivelatentError as error:
        found = {"came": "refused", "said": str(error)}
        left = [file.name for file in beside.iterdir() if not file.name.endswith(".lock")]
        if how == "ingest" and left:
            found = {"came": "left something", "said": f"{left} after: {error}"}
    except BaseException as error:
        found = {"came": "raised", "said": f"{type(error).__name__}: {error}"[:500]}
    else:
        try:
            with warnings.catch_warnings(action="ignore"):
                differs = difference(got, as_plain(path))
        except Exception as error:
            differs = f"plain reading fails: {type(error).__name__}: {error}"[:500]
        found = {"came": "differs", "said": differs} if differs else {"came": "same", "said": ""}
    if digest(path.parent) != before:
        found = {"came": "wrote", "said": found["said"]}
    shutil.rmtree(beside)
    return found


def main(folder: Path, how: str, n_random: int, numbers: slice) -> None:
    """Run some cases: a line before each, and one after."""
    from livelatent.atlas.sources import probe

    probe.PATIENCE_S = 15.0
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for number, (name, base, edit) in list(enumerate(cases(n_random)))[numbers]:
        where = folder / f"case_{how}_{number}"
        path = made(folder / "bases", where, name, base, edit)
        print(json.dumps({"number": number, "name": name}), file=out, flush=True)
        signal.alarm(PATIENCE_S)  # ends the process, also from within a library
        print(json.dumps({"number": number, "name": name, **outcome(path, how)}), file=out, flush=True)
        shutil.rmtree(where)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    some = slice(*(int(part) if part else None for part in sys.argv[4].split(":")))
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), some)
