"""AnnData in Zarr, v2 or v3: everything its metadata could make Zarr do is looked at before Zarr sees it."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from livelatent.atlas.sources.anndata_group import anndata_source
from livelatent.atlas.sources.faults import faults_named
from livelatent.atlas.sources.fingerprints import METADATA, fingerprint_of_files
from livelatent.atlas.sources.source import Source
from livelatent.errors import SourceError

V3_CODECS = frozenset(
    {"bytes", "endian", "transpose", "sharding_indexed", "crc32c", "blosc", "zstd", "gzip", "vlen-utf8", "vlen-bytes"}
    | {"numcodecs.blosc", "numcodecs.zstd", "numcodecs.lz4", "numcodecs.gzip", "numcodecs.zlib"}
)
V2_CODECS = frozenset({"blosc", "zstd", "lz4", "gzip", "zlib", "crc32c", "vlen-utf8", "vlen-bytes"})
"""Whatever is not here is refused: numcodecs' registry also holds pickle, and any package may add to it."""
LARGEST_METADATA = 2**28
MOST_ABSENT_CHUNKS = 1_000_000


@dataclass(frozen=True)
class ZarrFolder:
    """A Zarr group in a folder; `check_safe` has been through it."""

    path: Path
    zarr_format: Any

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """Its root group; whatever breaks inside the block names the path."""
        with faults_named(self.path):
            # The metadata of each array, not the copies at the root: the files that were looked at are those used.
            yield zarr.open_group(self.path, mode="r", zarr_format=self.zarr_format, use_consolidated=False)


def open_zarr(path: Path, *, counts: str, gene_names: str | None, name: str, kind: str = "zarr") -> list[Source]:
    """The one source that an AnnData's Zarr folder is."""
    path = path.resolve()
    with faults_named(path):
        files = check_safe(path)
        fingerprint = fingerprint_of_files(files, path)
    container = ZarrFolder(path, 3 if (path / "zarr.json").is_file() else 2)
    with container.opened() as root:
        return [
            anndata_source(
                container,
                root,
                name=name,
                kind=kind,
                counts=counts,
                gene_names=gene_names,
                fingerprint=fingerprint,
            )
        ]


def root_attributes(path: Path) -> dict[str, Any]:
    """Attributes of the folder's root group, read without Zarr; none where they are no JSON."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if (path / "zarr.json").is_file():
            found = json.loads((path / "zarr.json").read_bytes())["attributes"]
        else:
            found = json.loads((path / ".zattrs").read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def check_safe(path: Path) -> list[Path]:
    """Every file below the folder, sorted, once all of them are known to be harmless.

    Raises
    ------
    SourceError
        For a link or another thing that is no plain file, for metadata that is no JSON, and for a codec off the list.
    """
    files, sizes = [], {}
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                files.append(Path(entry.path))
            else:
                what = "a link" if entry.is_symlink() else "no plain file"
                raise SourceError(
                    f"{path}: `{Path(entry.path).relative_to(path)}` is {what}, which is not followed. Copy the store "
                    "with what its links lead to (`cp -rL`), and name the copy."
                )
    for file in files:
        if file.name in METADATA:
            sizes[file] = check_metadata(path, file)
    n_chunks = sum(sizes.values())
    if n_chunks > MOST_ABSENT_CHUNKS + 1000 * len(files):
        raise SourceError(
            f"{path}: its arrays say that they have {n_chunks} chunks, but there are {len(files)} files. The store is "
            "damaged; get it again."
        )
    return sorted(files)


def check_metadata(path: Path, file: Path) -> int:
    """Check one file of metadata; how many chunks its array says it has."""
    where = file.relative_to(path)
    if file.stat().st_size > LARGEST_METADATA:
        raise SourceError(f"{path}: `{where}` is larger than {LARGEST_METADATA >> 20} MiB, which no metadata is.")
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: `{where}` is no JSON ({error}). The store is damaged; get it again.") from error
    if file.name == ".zattrs":
        return 0
    try:
        return check_document(document, document.get("zarr_format") == 2 or file.name == ".zmetadata")
    except Refused as error:
        raise SourceError(f"{path}: `{where}` {error}.") from error
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, RecursionError) as error:
        raise SourceError(
            f"{path}: `{where}` is no metadata of Zarr ({error}). The store is damaged; get it again."
        ) from error


class Refused(Exception):
    """Metadata asks for what is off the list."""


def check_document(document: dict[str, Any], is_v2: bool) -> int:
    """Codecs of an array's metadata, of inlined ones too; the chunks of the array itself."""
    inlined = document.get("metadata") if is_v2 else (document.get("consolidated_metadata") or {}).get("metadata")
    for inner in (inlined or {}).values():
        if isinstance(inner, dict):
            check_document(inner, is_v2)
    if is_v2:
        for codec in (document.get("compressor"), *(document.get("filters") or ())):
            if codec is not None and codec["id"] not in V2_CODECS:
                raise Refused(refusal(codec["id"], V2_CODECS))
        return n_chunks(document["shape"], document["chunks"]) if "chunks" in document else 0
    check_codecs(document.get("codecs") or ())
    if document.get("storage_transformers"):
        raise Refused("asks for a storage transformer, which is not supported: write the store again with anndata")
    if document.get("node_type") != "array":
        return 0
    grid = document["chunk_grid"]
    if grid["name"] != "regular":
        raise Refused(f"has chunks of the kind {str(grid['name'])[:50]!r}, regular ones were wanted")
    return n_chunks(document["shape"], grid["configuration"]["chunk_shape"])


def check_codecs(codecs: Any) -> None:
    """The codecs of a v3 array, and those within its shards."""
    for codec in codecs:
        named = codec if isinstance(codec, str) else codec["name"]
        if named not in V3_CODECS:
            raise Refused(refusal(named, V3_CODECS))
        if not isinstance(codec, str) and named == "sharding_indexed":
            check_codecs(codec["configuration"]["codecs"])
            check_codecs(codec["configuration"].get("index_codecs") or ())


def refusal(codec: object, known: frozenset[str]) -> str:
    """A codec off the list, in words."""
    return (
        f"asks for the codec {str(codec)[:50]!r}, which is not on the list ({', '.join(sorted(known))}) and may run "
        "code: write the store again with anndata"
    )


def n_chunks(shape: list[int], chunks: list[int]) -> int:
    """How many chunks a regular grid has."""
    total = 1
    for length, chunk in zip(shape, chunks, strict=True):
        if not (type(length) is int and type(chunk) is int and 0 <= length < 2**62 and 0 < chunk < 2**62):
            raise Refused(f"has the shape {str(shape)[:80]} in chunks of {str(chunks)[:80]}")
        total *= -(-length // chunk)
    return total
