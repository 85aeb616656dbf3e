"""What `info` says of a store: shapes and types as zarr has them, sizes as the file system has them."""

import numpy as np

from livelatent.atlas import Atlas
from livelatent.atlas.inventory import in_words, inventory, journal_state
from serving import http_server


def test_every_byte_of_the_store_is_accounted_for(own_atlas: Atlas) -> None:
    own_atlas.write_obsm("X_latent", np.zeros((607, 5), np.float32))
    found = {one.name: one for one in inventory(own_atlas)}
    on_disk = {path: path.stat().st_size for path in own_atlas.path.rglob("*") if path.is_file()}
    for name, one in found.items():
        mine = [size for path, size in on_disk.items() if own_atlas.path / name in path.parents]
        assert one.stored_bytes == sum(mine) > 0
    # What is left is the metadata of groups above the elements.
    rest = sum(on_disk.values()) - sum(one.stored_bytes for one in found.values())
    groups = ("", "obs", "var", "uns", "obsm", "layers")
    assert rest == sum(on_disk.get(own_atlas.path / group / "zarr.json", 0) for group in groups)
    assert found["X"].shape == (607, 300) and found["X"].dtype == "uint16, indices uint16"
    assert found["X"].compression == "blosc lz4, zstd"
    assert found["obsm/X_latent"].shape == (607, 5) and found["obsm/X_latent"].dtype == "float32"
    assert found["obs/age"].shape == (607,) and found["obs/cell_type"].dtype == "int8"
    assert {name.partition("/")[2] for name in found if name.startswith("obs/")} == {*own_atlas.obs.columns, "_index"}


def test_a_remote_store_is_the_same(tiny_atlas: Atlas) -> None:
    with http_server(tiny_atlas.path.parent) as served:
        remote = Atlas.open(f"{served.url}/tiny.zarr")
        assert inventory(remote) == inventory(tiny_atlas)
        assert journal_state(remote)["folder"] is None and journal_state(remote)["entries"] == 0


def test_the_journals_state_is_said(own_atlas: Atlas) -> None:
    own_atlas.labels.label([1], "a")
    own_atlas.labels.label([2], "b")
    own_atlas.labels.undo()
    state = journal_state(own_atlas)
    assert (state["entries"], state["can_undo"], state["can_redo"]) == (3, 1, 1)
    assert state["last"] == own_atlas.labels.entries[-1].time and len(state["by"]) == 1 and state["torn"] is None


def test_sizes_in_words() -> None:
    assert [in_words(n) for n in (0, 999, 1000, 1_234_567, 5e9, 7.5e13)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "5.0 GB",
        "75.00 TB",
    ]
