"""The files of a store and what lies beside it: against the manifest, and against a tidy folder."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livelatent.atlas import manifest
from livelatent.atlas.elements import files_of, metadata_files, sha256
from livelatent.atlas.findings import COPY, Finding, at_most, damage, untidy
from livelatent.atlas.layout import beside
from livelatent.atlas.opening import sizes_of
from livelatent.atomic import only_writer
from livelatent.errors import LivelatentError
from livelatent.progress import CellProgress


def check_files(store: Path, uuid: str, report: CellProgress) -> Iterator[Finding]:
    """Every file against the manifest: there, as long and of the contents that were written, none besides."""
    is_there, found = manifest.found_beside(store, uuid)
    path = manifest.manifest_path(store)
    if is_there and not any(not one.get("open") for one in found):
        yield damage(path.name, "the manifest is damaged, or of another store.", *renewal())
        return
    if not found:
        yield untidy(path.name, "there is no manifest, so a missing file can't be told from zeros.", *renewal())
        return
    if len(found) > 1 or found[0].get("open"):
        yield untidy(
            manifest.next_path(store).name, "a write to the store was cut off; what it wrote may be lost.", *renewal()
        )
    known = manifest.to_compare(found)
    wanted = best_of(store, known)
    names = sorted(wanted)
    sizes = sizes_of(store, names)
    total, done = sum(sizes.values()), 0
    wrong: list[Finding] = []
    for name in names:
        facts = [one["files"][name] for one in known if name in one["files"]]
        if name not in sizes:
            wrong.append(damage(name, "the file is missing. Zarr would read it as zeros."))
        elif all(fact["size"] != sizes[name] for fact in facts):
            what = f"the file has {sizes[name]} bytes, {facts[0]['size']} were written."
            wrong.append(damage(name, what, *way_out(name, path)))
        elif not any(is_as_written(store / name, fact) for fact in facts):
            what = "the file is not as it was written (its checksum differs)."
            wrong.append(damage(name, what, *way_out(name, path)))
        done += sizes.get(name, 0)
        report(done, total, "files")
    yield from at_most(wrong)
    if len(known) == len(found):
        # During a cut-off write only a part of the files is known.
        extra = [name for name in files_of(store) if all(name not in one["files"] for one in known)]
        yield from at_most(
            [untidy(name, "the file is not in the manifest: nothing of ours wrote it.", *renewal()) for name in extra]
        )


def way_out(name: str, path: Path) -> tuple[Any, ...]:
    """What helps where a file is another than was written: by damage, or by a program that knows no manifest."""
    if name == "zarr.json":
        return "It can be made anew from the others.", "metadata"
    if name.endswith("zarr.json"):
        return (f"{COPY[:-1]}; or, if it was changed on purpose, delete {path.name} and mend.",)
    return ()


def renewal() -> tuple[str, Any]:
    """How a manifest is mended."""
    return "It can be written anew from the files as they are, if nothing else is damaged.", "manifest"


def best_of(store: Path, known: list[manifest.Manifest]) -> dict[str, Any]:
    """The files of the manifest that the store is nearer to: a write may have been cut off on either side of it."""
    held: list[tuple[int, dict[str, Any]]] = [
        (len(sizes_of(store, one["files"])) - len(one["files"]), one["files"]) for one in known
    ]
    return max(held, key=lambda pair: pair[0])[1]


def is_as_written(path: Path, fact: dict[str, Any]) -> bool:
    """Whether a file has the checksums that are known of it; one without any (an old manifest) passes."""
    if "sha256" in fact:
        return sha256(path) == str(fact["sha256"])
    return "crc32" not in fact or manifest.crc32(path) == str(fact["crc32"])


def check_metadata(store: Path) -> Iterator[Finding]:
    """Every `zarr.json` is readable, and the store's own repeats the others as they are."""
    told: dict[str, Any] = {}
    try:
        root = json.loads((store / "zarr.json").read_bytes())
        told = root["consolidated_metadata"]["metadata"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        yield damage("zarr.json", "it can't be read.", "It can be made anew from the others.", "metadata")
        return
    found: dict[str, Any] = {}
    try:
        for name in metadata_files(store):
            found[name.removesuffix("/zarr.json")] = json.loads((store / name).read_bytes())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield damage("zarr.json", f"the metadata below it can't be read ({type(error).__name__}).")
        return
    differing = sorted({name for name in told.keys() | found.keys() if told.get(name) != found.get(name)})
    if differing:
        yield untidy(
            "zarr.json",
            f"it does not repeat the metadata below it ({differing[0]}), so plain anndata sees an older store.",
            "It can be renewed.",
            "metadata",
        )


def check_beside(store: Path) -> Iterator[Finding]:
    """What writes that were cut off have left, who writes now, and companions of stores that are gone."""
    for path in leftovers(store):
        yield untidy(path.name, "a write that was cut off has left it.", "It can be removed.", "leftovers")
    work = store.with_name(f".{store.name}.ingest")
    if work.is_dir():
        yield untidy(
            work.name,
            "an ingest or append that was cut off has left its work.",
            "Run it again as it was, and it goes on from there; or remove the folder.",
        )
    lock = store.with_name(f".{store.name}.lock")
    if lock.exists():
        try:
            with only_writer(lock, str(store)):
                pass
        except LivelatentError:
            yield untidy(lock.name, "somebody writes to the store now.", "Examine it again when that is done.")
    if store.parent.is_dir():
        for path in sorted(store.parent.iterdir()):
            yield from orphaned(path)


def leftovers(store: Path) -> list[Path]:
    """Files and folders beside the store that only a killed writer can have left."""
    if not store.parent.is_dir():
        return []
    name, short = re.escape(store.name), re.escape(manifest.beside_name(store))
    ours = re.compile(
        rf"\.{name}\.(?:[0-9a-f]{{8}}|(?:obs|var|obsm|layers)\.\w+)\.(?:old|partial)(?:\.buckets\.partial)?"
        rf"|\.{short}\.manifest\.json(?:\.next)?\.[0-9a-f]{{8}}\.partial"
    )
    found = [path for path in sorted(store.parent.iterdir()) if ours.fullmatch(path.name)]
    # Where no store stands, the older one set aside is all that is left of it: the next ingest puts it back.
    found = [path for path in found if store.exists() or not path.name.endswith(".old")]
    journal = beside(store, "labels")
    inside = sorted(journal.iterdir()) if journal.is_dir() else []
    found += [path for path in inside if re.fullmatch(r"\.vocabulary\.json\.[0-9a-f]{8}\.partial", path.name)]
    return found + [path for path in map(store.joinpath, files_of(store)) if is_half_metadata(path.name)]


def is_half_metadata(name: str) -> bool:
    """Whether a file is a `zarr.json` that was never finished."""
    return re.fullmatch(r"\.zarr\.json\.[0-9a-f]{8}\.partial", name) is not None


def orphaned(path: Path) -> Iterator[Finding]:
    """A companion without its store."""
    signs = {".labels": "journal.jsonl", ".runs": None, ".manifest.json": None}
    for end, sign in signs.items():
        name = path.name.removesuffix(end)
        if name == path.name or not name or name.startswith("."):
            continue
        if (path.parent / f"{name}.zarr").exists() or (path.parent / name).exists():
            continue
        is_ours = (path / sign).is_file() if sign else path.is_file() or any(path.glob("*/config.json"))
        if is_ours:
            yield untidy(path.name, f"its store {name}.zarr is gone.", "Put the store back, or move this away.")
