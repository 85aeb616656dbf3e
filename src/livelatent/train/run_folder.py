"""What a run keeps in its folder beside its state: config, rows, and where its store is."""

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from livelatent import atomic
from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.foreign import open_foreign
from livelatent.atlas.layout import beside
from livelatent.errors import LivelatentError, ResumeError, StoreError
from livelatent.paths import is_address
from livelatent.stream.plan import StreamConfig
from livelatent.stream.position import hash_rows

__all__ = ["Kept", "fresh_folder", "holds_run", "read_kept", "write_kept"]

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a run was made of, its model apart."""

    atlas: Atlas
    epochs: int | None
    stream: StreamConfig
    device: str
    rows: Rows | None


def fresh_folder(atlas: Atlas) -> Path:
    """A folder beside the store that nothing uses yet.

    Raises
    ------
    StoreError
        If the store is remote.
    """
    if not isinstance(atlas.path, Path):
        raise StoreError(
            f"{atlas.path} is remote, so no run is kept beside it. Name a folder on this machine: "
            'Run(model, atlas, folder="my-run").'
        )
    return beside(atlas.path, "runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def holds_run(folder: Path) -> bool:
    """Whether a run is kept there."""
    return (folder / "config.json").exists()


def write_kept(
    folder: Path, atlas: Atlas, epochs: int | None, stream: StreamConfig, device: torch.device, rows: Rows | None
) -> None:
    """Write what `read_kept` reads; `config.json` says that a run is here, so it comes last."""
    from livelatent import __version__

    if rows is not None:
        atomic.write_bytes(folder / "rows.i64", rows.astype("<i8").tobytes())
    config = {
        "format": FORMAT,
        "version": __version__,
        "atlas": str(atlas.path),
        "atlas_uuid": atlas.uuid,
        "atlas_asked": atlas.asked,
        "epochs": epochs,
        "device": str(device),
        "stream": stream.to_dict(),
        "rows_sha256": None if rows is None else hash_rows(rows),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    atomic.write_json(folder / "config.json", config)


def read_kept(folder: Path) -> Kept:
    """What a run of this folder was made of.

    Raises
    ------
    ResumeError
        If the folder holds no run, it is damaged, or the store is gone or another.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ResumeError(
                f"{folder}: a run of format {config['format']!r}; this version of livelatent reads format {FORMAT}. "
                "Resume with the version that wrote it."
            )
        stream = StreamConfig.from_dict(config["stream"])
        epochs, uuid_then, device = config["epochs"], str(config["atlas_uuid"]), str(config["device"])
        rows = None
        if config["rows_sha256"] is not None:
            rows = np.frombuffer((folder / "rows.i64").read_bytes(), dtype="<i8").astype(np.int64)
            if hash_rows(rows) != config["rows_sha256"]:
                raise ResumeError(f"{folder}: rows.i64 does not match its sha256; it is damaged. Start a new run.")
    except FileNotFoundError as error:
        raise ResumeError(
            f"{folder} holds no run that was saved: there is no {Path(error.filename).name}. Name the folder that "
            "`run.folder` gave, or start a new run."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, LivelatentError):
            raise
        raise ResumeError(f"{folder}: config.json can't be read ({error!r}). Start a new run.") from error
    atlas = _open_atlas(folder, str(config["atlas"]), uuid_then, config.get("atlas_asked"))
    if device.startswith("cuda"):
        device = "auto"  # another machine may have none
    return Kept(atlas=atlas, epochs=epochs, stream=stream, device=device, rows=rows)


def _open_atlas(folder: Path, named: str, uuid_then: str, asked: dict[str, Any] | None) -> Atlas:
    if is_address(named):
        atlas = Atlas.open(named)
        if atlas.uuid == uuid_then:
            return atlas
    path = Path(named)
    # The store may have moved together with its runs: NAME.runs/ID lies beside it.
    for candidate in (path, folder.absolute().parent.parent / path.name):
        if candidate.exists():
            atlas = Atlas.open(candidate) if asked is None else open_foreign(candidate, **asked)
            if atlas.uuid == uuid_then:
                return atlas
    raise ResumeError(
        f"{folder}: the store that the run trains on ({named}, uuid {uuid_then}) is not there any more, or another "
        "stands in its place. Put it back, or start a new run."
    )
