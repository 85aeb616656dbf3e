"""A doctor finds every flipped bit and every missing file, says what helps, and mends without losing anything."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
import zarr

from damage import flip
from livelatent.atlas import Atlas, manifest
from livelatent.atlas.check_arrays import row_problems
from livelatent.atlas.doctor import examine, findings_of, mend
from livelatent.atlas.layout import Layout
from livelatent.errors import StoreBusyError, StoreError


def files_of(atlas: Atlas) -> list[Path]:
    """Every file of the store, and what lies beside it."""
    beside = [path for path in atlas.path.parent.glob("tiny.*") if path.suffix != ".zarr"]
    every = [path for folder in (atlas.path, *beside) for path in (folder.rglob("*") if folder.is_dir() else [folder])]
    return [path for path in sorted(every) if path.is_file() and path.name != ".writer.lock"]


def is_found(store: Path) -> bool:
    """Whether anything is found; the first thing will do."""
    return any(True for _ in findings_of(store, lambda done, total, what: None))


@pytest.fixture
def labelled(own_atlas: Atlas) -> Atlas:
    """A store with everything that it and its companions can hold."""
    own_atlas.labels.label([0, 5], "one")
    own_atlas.labels.label([7], "two")
    own_atlas.labels.add_name("zebra")
    own_atlas.write_labels()
    own_atlas.write_obsm("X_latent", np.random.default_rng(0).normal(size=(607, 3)).astype(np.float32))
    own_atlas.labels.close()
    return own_atlas


def test_a_sound_store_has_no_findings(labelled: Atlas, tiny_atlas: Atlas) -> None:
    assert examine(tiny_atlas.path) == [] and examine(labelled.path) == []


def test_a_store_that_was_grown_and_masked_is_sound_and_its_new_cells_are_watched(
    tiny_h5ad: list[Path], tmp_path: Path
) -> None:
    import livelatent as ll

    store = ll.ingest(
        tiny_h5ad[0], tmp_path / "tiny.zarr", label="cell_type", layout=Layout(chunk_cells=16, shard_elements=9_000)
    ).path
    grown = ll.append(store, tiny_h5ad[1])
    ll.qc(grown)
    assert grown.n_cells == 607 and examine(store) == []
    told = json.loads(manifest.manifest_path(store).read_bytes())["files"]
    assert all("crc32" in fact or "sha256" in fact for fact in told.values())
    shards = sorted((store / "X" / "data" / "c").iterdir(), key=lambda path: int(path.name))
    for shard in (shards[0], shards[-1]):
        flip(shard, 50, 2)
        assert any(finding.where == f"X/data/c/{shard.name}" for finding in examine(store))
        flip(shard, 50, 2)


def test_an_ingest_that_can_go_on_is_named_and_left_alone(own_atlas: Atlas) -> None:
    work = own_atlas.path.with_name(".tiny.zarr.ingest")
    work.mkdir()
    (finding,) = mend(own_atlas.path)
    assert finding.where == ".tiny.zarr.ingest" and "Run it again" in finding.remedy and work.exists()


def test_looking_changes_nothing(labelled: Atlas) -> None:
    with open(labelled.labels.path, "ab") as journal:
        journal.write(b'{"torn')
    folder = labelled.path.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert len(examine(labelled.path)) == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("n_bits", [1, pytest.param(40, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_found(labelled: Atlas, n_bits: int) -> None:
    """In every file; journal, vocabulary and manifest too."""
    rng = np.random.default_rng(1)
    escaped, files = [], files_of(labelled)
    assert len(files) > 90 and {path.name for path in files} > {
        "journal.jsonl",
        "vocabulary.json",
        "tiny.manifest.json",
    }
    for path in files:
        whole = path.read_bytes()
        for _ in range(n_bits if whole else 0):
            position, bit = int(rng.integers(len(whole))), int(rng.integers(8))
            flip(path, position, bit)
            if not is_found(labelled.path):
                escaped.append((path.relative_to(labelled.path.parent).as_posix(), position, bit))
            path.write_bytes(whole)
    assert escaped == [] and examine(labelled.path) == []


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_every_missing_and_every_cut_file_is_found(labelled: Atlas, every: int) -> None:
    for path in files_of(labelled)[::every]:
        if path.parent.name == "tiny.labels":
            continue  # a journal may be absent, or end at any line
        whole = path.read_bytes()
        path.unlink()
        assert is_found(labelled.path), path
        path.write_bytes(whole[:-2])  # the manifest's last byte is the end of its line
        assert is_found(labelled.path), path
        path.write_bytes(whole)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_every_missing_file_of_the_store_is_refused_on_opening(labelled: Atlas, every: int) -> None:
    for path in files_of(labelled)[::every]:
        if labelled.path in path.parents:
            whole = path.read_bytes()
            path.unlink()
            with pytest.raises(StoreError):
                Atlas.open(labelled.path)
            path.write_bytes(whole)


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_without_a_manifest_a_flipped_bit_is_found_or_changes_nothing_that_is_read(
    own_atlas: Atlas, every: int
) -> None:
    manifest.manifest_path(own_atlas.path).unlink()
    rng = np.random.default_rng(2)
    values = [path for path in files_of(own_atlas) if path.parent.parent.parent.name == "X"][::every]
    assert len(values) > 3
    sound = anndata.read_zarr(own_atlas.path).X
    n_found = 0
    for path in values:
        whole = path.read_bytes()
        flip(path, int(rng.integers(len(whole))), int(rng.integers(8)))
        is_damaged = any(finding.is_damage for finding in examine(own_atlas.path))
        assert is_damaged or (anndata.read_zarr(own_atlas.path).X != sound).nnz == 0, path
        n_found += is_damaged
        path.write_bytes(whole)
    assert n_found >= len(values) - 1


def written(atlas: Atlas, name: str, change: Callable[[np.ndarray], None]) -> None:
    """Change an array as another program would, with right checksums; and the manifest with it."""
    array = zarr.open_group(atlas.path, mode="r+")[name]
    values = array[:]
    change(values)
    array[:] = values
    manifest.write_next(atlas.path, manifest.describe(atlas.path, atlas.uuid))
    manifest.settle(atlas.path)


def swap(values: np.ndarray) -> None:
    values[[100, 101]] = values[[101, 100]]


def put(place: int, value: object) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[place] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("X/indices", swap, "not in ascending order"),
        ("X/indices", put(50, 299), "not in ascending order"),
        ("X/indices", put(1000, 40_000), "outside 0..299"),
        ("X/data", put(77, 0), "stores a zero"),
        ("X/data", put(77, 60_000), "more than its livelatent_total"),
        ("X/indptr", put(3, 10_000), "row pointers"),
        ("obs/source_row", put(3, 5), "come from a place that another cell"),
        ("obs/store_uuid/categories", put(0, "another"), "name another store"),
        ("obs/livelatent_split/categories", put(1, "test"), "'test', which is no split"),
        ("obs/livelatent_total", put(9, np.nan), "totals that are none"),
        ("obs/_index", put(9, "cell1"), "."),
        ("var/_index", put(9, "GENE8"), "their hash differs"),
    ],
)
def test_what_another_program_broke_is_found(own_atlas: Atlas, name: str, change: Callable, said: str) -> None:
    written(own_atlas, name, change)
    found = [finding for finding in examine(own_atlas.path) if finding.is_damage]
    if name == "obs/_index":
        assert len(found) <= 1  # barcodes of two files may clash; then names are not unique
    else:
        assert any(said in finding.what for finding in found), found


def test_rows_are_compared_with_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        lengths = rng.integers(0, 4, 6)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        genes, values = rng.integers(-1, 6, indptr[-1]), rng.choice([0, 1, 2, 3.5, np.nan, -1], indptr[-1])
        oracle = set()
        for cell in range(6):
            mine, own = genes[indptr[cell] : indptr[cell + 1]], values[indptr[cell] : indptr[cell + 1]]
            oracle |= {("outside", cell)} if ((mine < 0) | (mine >= 5)).any() else set()
            oracle |= {("ascending", cell)} if list(mine) != sorted(set(mine.tolist())) else set()
            oracle |= {("zero", cell)} if (own == 0).any() else set()
            oracle |= {("no count", cell)} if (~(own >= 0) | np.isinf(own)).any() else set()
        first = {kind: min(cell for k, cell in oracle if k == kind) for kind, _ in oracle}
        words = ("outside", "ascending", "zero", "no count")
        got = {
            next(word for word in words if word in what): cell for cell, what in row_problems(indptr, genes, values, 5)
        }
        assert got == first


def test_layers_are_examined_like_the_matrix(own_atlas: Atlas) -> None:
    shutil.copytree(own_atlas.path / "X", own_atlas.path / "layers" / "spliced")
    if not (own_atlas.path / "layers" / "zarr.json").exists():
        zarr.open_group(own_atlas.path, mode="r+").create_group("layers")
    mend(own_atlas.path)
    assert examine(own_atlas.path) == []
    manifest.manifest_path(own_atlas.path).unlink()
    flip(own_atlas.path / "layers" / "spliced" / "data" / "c" / "2", 300, 4)
    assert any("layers/spliced" in finding.where for finding in examine(own_atlas.path) if finding.is_damage)


def test_arrays_of_another_length_are_found(own_atlas: Atlas) -> None:
    from livelatent.atlas.elements import write_element

    root = zarr.open_group(own_atlas.path, mode="r+", use_consolidated=False)
    write_element(root["obsm"], "short", np.zeros((606, 2)))
    assert any("606 rows" in finding.what for finding in examine(own_atlas.path))


# Mending


def damage_of(store: Path) -> list[str]:
    return [finding.where for finding in examine(store) if finding.is_damage]


def test_leftovers_are_removed_and_nothing_else(labelled: Atlas) -> None:
    folder = labelled.path.parent
    for name in (".tiny.zarr.0123abcd.partial", ".tiny.zarr.0123abcd.old", ".tiny.zarr.obsm.x1_y.partial"):
        (folder / name / "deep").mkdir(parents=True)
    (folder / ".tiny.manifest.json.0123abcd.partial").write_text("{")
    for name in (".tiny.zarr.mine", ".tiny2.zarr.0123abcd.partial", "tiny.zarr.partial"):
        (folder / name).mkdir()
    assert [finding.cure for finding in examine(labelled.path)] == ["leftovers"] * 4
    assert mend(labelled.path) == []
    assert {path.name for path in folder.iterdir()} >= {".tiny.zarr.mine", ".tiny2.zarr.0123abcd.partial"}
    assert not [path for path in folder.iterdir() if path.name.startswith(".tiny.zarr.0")]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        pytest.param(b"{}", marks=pytest.mark.slow),
        pytest.param(b"\x00" * 100, marks=pytest.mark.slow),
        b'{"consolidated_metadata": 5}',
    ],
    ids=range(4),
)
def test_the_stores_own_metadata_are_made_anew(labelled: Atlas, text: bytes) -> None:
    (labelled.path / "zarr.json").write_bytes(text)
    assert damage_of(labelled.path)
    assert mend(labelled.path) == []
    assert (anndata.read_zarr(labelled.path).X != labelled.to_anndata().X).nnz == 0
    assert Atlas.open(labelled.path).uuid == labelled.uuid


def test_a_manifest_is_written_anew_where_nothing_else_is_wrong(labelled: Atlas) -> None:
    path = manifest.manifest_path(labelled.path)
    whole = json.loads(path.read_bytes())
    for text in (None, "[]", path.read_text().replace("size", "sizd", 1)):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        assert mend(labelled.path) == []
        assert json.loads(path.read_bytes()) == whole


def test_a_manifest_is_not_written_anew_over_damage(labelled: Atlas) -> None:
    manifest.manifest_path(labelled.path).unlink()
    flip(labelled.path / "X" / "data" / "c" / "2", 200, 3)
    assert any(finding.is_damage for finding in mend(labelled.path))
    assert not manifest.manifest_path(labelled.path).exists()


def test_a_write_that_was_cut_off_is_settled(labelled: Atlas) -> None:
    announced = {"format": 1, "uuid": labelled.uuid, "files": {}, "open": True}
    manifest.write_next(labelled.path, announced)
    shutil.rmtree(labelled.path / "obsm" / "X_latent")
    assert {finding.cure for finding in examine(labelled.path)} == {"manifest", "metadata"}
    assert mend(labelled.path) == []
    assert list(Atlas.open(labelled.path).to_anndata([3]).obsm) == []
    assert not manifest.next_path(labelled.path).exists()


def test_a_torn_line_is_set_aside(labelled: Atlas) -> None:
    with open(labelled.labels.path, "ab") as journal:
        journal.write(b'{"torn')
    (finding,) = examine(labelled.path)
    assert finding.cure == "journal" and not finding.is_damage
    (left,) = mend(labelled.path)
    assert left.where == "tiny.labels/journal.torn"
    assert len(Atlas.open(labelled.path).labels.entries) == 2


def test_a_store_in_use_is_not_mended(labelled: Atlas) -> None:
    from livelatent.atomic import only_writer

    (labelled.path / "zarr.json").write_bytes(b"")
    with only_writer(labelled.path.with_name(".tiny.zarr.lock"), "the store"):
        assert any("writes to the store now" in finding.what for finding in examine(labelled.path))
        with pytest.raises(StoreBusyError):
            mend(labelled.path)
    assert (labelled.path / "zarr.json").read_bytes() == b""


# What lies beside


def test_companions_without_their_store_are_found(labelled: Atlas) -> None:
    folder = labelled.path.parent
    shutil.copytree(folder / "tiny.labels", folder / "gone.labels")
    (folder / "gone.runs" / "1").mkdir(parents=True)
    (folder / "gone.runs" / "1" / "config.json").write_text("{}")
    (folder / "my.labels").mkdir()
    assert [finding.where for finding in examine(labelled.path)] == ["gone.labels", "gone.runs"]
    shutil.move(labelled.path, folder / "away.zarr")
    assert "there is no store." in [finding.what for finding in examine(labelled.path)]


def test_a_journal_of_another_store_is_told(labelled: Atlas) -> None:
    path = labelled.labels.path
    from test_labels import forged

    path.write_bytes(forged(path.read_bytes().splitlines()[0], cells={"other.h5ad": "eJxjYIAAAAAIAAE="}))
    (finding,) = examine(labelled.path)
    assert "names 1 cells that the store does not hold" in finding.what


def test_an_address_is_sent_the_other_way_without_being_shown() -> None:
    with pytest.raises(StoreError, match="livelatent copy") as caught:
        examine("https://x.org/blood.zarr?token=SECRET")
    assert "SECRET" not in str(caught.value)


def test_many_faults_of_a_kind_are_said_briefly(own_atlas: Atlas) -> None:
    for file in sorted((own_atlas.path / "X").rglob("c/*")):
        file.unlink()
    assert 20 < len(examine(own_atlas.path)) < 40
