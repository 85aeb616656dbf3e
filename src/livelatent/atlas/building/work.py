"""The folder in which a store is made, beside its target: found again by the next call with the same plan."""

import json
import uuid as uuids
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from livelatent.atlas import manifest
from livelatent.atlas.layout import FORMAT
from livelatent.atlas.opening import array_in, check_shards, damage_named
from livelatent.atomic import put_in_place, remove_tree, write_json
from livelatent.errors import StoreError


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
        plan = plan_in(folder_of(target))
        if plan is None or plan["asked"] != plain(asked):
            return None
        work = cls(target, plan)
        # Once the exchange was announced, what lies in the folder may be the store that stood at the target.
        if "placing" in work.state and not work.is_still_here():
            return None
        # Zarr writes a file aside and renames it; one that it was killed over would lie in the store for good.
        for file in work.store.rglob("zarr.*.partial"):
            file.unlink()
        return work

    @classmethod
    def placed(cls, target: Path, asked: dict[str, Any], *, but: str = "") -> "Work | None":
        """The same if it was killed after its store took its place, with nothing but tidying up to do.

        Parameters
        ----------
        but
            A key of `asked` that is another since the store is in place.
        """
        plan = plan_in(folder_of(target))
        if plan is None or {**plan["asked"], but: None} != {**plain(asked), but: None}:
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

    def is_still_here(self) -> bool:
        """Whether the store that was finished has not taken its place yet."""
        return self.store.exists() and self.state["placing"] == identity(self.store)

    def finish(self) -> None:
        """Put the finished store in its place, whole, and its manifest beside it; remove the work."""
        check_whole(self.store, self.state["finished"])
        self.save(placing=identity(self.store))
        manifest.settle_what_stands(self.target)
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


def check_whole(store: Path, matrices: Sequence[str]) -> None:
    """Raise if a finished store lacks a matrix, a shard or a row: it must not replace one that is whole.

    Raises
    ------
    StoreError
        The work is of a call that was killed, and lost a file since.
    """
    root = zarr.open_group(store, mode="r", zarr_format=3)
    with damage_named(store, lambda: "the work that a killed call left"):
        n_cells = array_in(root, "obs/_index").shape[0]
        for name in matrices:
            check_shards(store, root, name)
            indptr = array_in(root, f"{name}/indptr")
            if indptr.shape != (n_cells + 1,) or int(np.asarray(indptr[-1])) != array_in(root, f"{name}/data").shape[0]:
                raise StoreError(f"{store}: {name} is not whole. It is thrown away; the same call begins anew.")


def plain(asked: dict[str, Any]) -> dict[str, Any]:
    """The plan as it will be read back; of another format, or where an order may be drawn otherwise, another plan."""
    made_by = {"format": FORMAT, "version": version("livelatent"), "numpy": np.__version__}
    result: dict[str, Any] = json.loads(json.dumps({**asked, **made_by}))
    return result


def plan_in(folder: Path) -> dict[str, Any] | None:
    """The plan that lies there, or None where there is none that can be followed."""
    plan = read_json(folder / "plan.json")
    return plan if isinstance(plan.get("asked"), dict) and isinstance(plan.get("uuid"), str) else None


def read_json(path: Path) -> dict[str, Any]:
    """What is there, or nothing where it is absent or broken: unacknowledged work is begun anew then."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
