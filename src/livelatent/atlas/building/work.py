"""The folder in which a store is made, beside its target: found again by the next call with the same plan."""

import json
import uuid as uuids
from pathlib import Path
from typing import Any

from livelatent.atlas import manifest
from livelatent.atlas.layout import FORMAT
from livelatent.atomic import put_in_place, remove_tree, write_json


class Work:
    """`.NAME.zarr.ingest/`: the plan, how far it got, scratch files, and the store as it grows."""

    def __init__(self, target: Path, plan: dict[str, Any]) -> None:
        self.target = target
        self.folder = folder_of(target)
        self.store, self.scratch = self.folder / "store", self.folder / "scratch"
        self.uuid = str(plan["uuid"])
        self.state: dict[str, Any] = read_json(self.folder / "state.json")

    @classmethod
    def found(cls, target: Path, asked: dict[str, Any]) -> "Work | None":
        """What a killed call has left, if it was asked for the same.

        Parameters
        ----------
        asked
            Everything that decides what the store will hold (plain JSON): sources and their fingerprints, options,
            seed.
        """
        plan = read_json(folder_of(target) / "plan.json")
        return cls(target, plan) if plan.get("asked") == plain(asked) else None

    @classmethod
    def placed(cls, target: Path, asked: dict[str, Any], *, but: str = "") -> "Work | None":
        """The same if it was killed after its store took its place, with nothing but tidying up to do.

        Parameters
        ----------
        but
            A key of `asked` that is another since the store is in place.
        """
        plan = read_json(folder_of(target) / "plan.json")
        was, now = dict(plan.get("asked", {})), plain(asked)
        if {**was, but: None} != {**now, but: None}:
            return None
        work = cls(target, plan)
        return work if work.is_in_place() else None

    @classmethod
    def begun(cls, target: Path, asked: dict[str, Any], uuid: str | None = None) -> "Work":
        """Work found, or begun anew; what another plan has left is thrown away, since it was never acknowledged.

        Parameters
        ----------
        uuid
            Of the store; None draws one, which is kept with the plan.
        """
        work = cls.found(target, asked)
        if work is None:
            folder = folder_of(target)
            remove_tree(folder)
            folder.mkdir(parents=True)
            plan = {"asked": plain(asked), "uuid": uuid or str(uuids.uuid4())}
            write_json(folder / "plan.json", plan)
            work = cls(target, plan)
        work.scratch.mkdir(exist_ok=True)
        return work

    def save(self, **facts: Any) -> None:
        """Remember how far the work got; what it is about must be on disk already."""
        self.state |= facts
        write_json(self.folder / "state.json", self.state)

    def is_in_place(self) -> bool:
        """Whether the store stands at the target already, and the work was killed just after."""
        return self.target.exists() and self.state.get("placing") == identity(self.target)

    def finish(self) -> None:
        """Put the finished store in its place, whole, and its manifest beside it; remove the work."""
        self.save(placing=identity(self.store))
        with manifest.next_or_none(self.target):
            manifest.write_next(self.target, manifest.describe(self.store, self.uuid, since=self.target))
            put_in_place(self.store, self.target)
        self.settle()

    def settle(self) -> None:
        """After the store took its place: its manifest takes its name, and the work is removed."""
        if manifest.next_path(self.target).exists():
            manifest.settle(self.target)
        self.remove()

    def remove(self) -> None:
        """Throw the work away."""
        remove_tree(self.folder)


def folder_of(target: Path) -> Path:
    """Where the work on a store lies."""
    return target.with_name(f".{target.name}.ingest")


def identity(folder: Path) -> list[int]:
    """What a folder keeps when it is renamed."""
    status = folder.stat()
    return [status.st_dev, status.st_ino]


def plain(asked: dict[str, Any]) -> dict[str, Any]:
    """The plan as it will be read back; a store of another format is another plan."""
    result: dict[str, Any] = json.loads(json.dumps({**asked, "format": FORMAT}))
    return result


def read_json(path: Path) -> dict[str, Any]:
    """What is there, or nothing where it is absent or broken: unacknowledged work is begun anew then."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
