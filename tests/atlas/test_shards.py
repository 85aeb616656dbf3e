import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.atlas import Atlas, chunk_run
from livelatent.atlas.layout import matrix_codecs
from livelatent.atlas.shards import ShardError, Shards, is_readable

N_VALUES, CHUNK, SHARD = 2_345, 50, 350


def written(folder: Path, kind: str = "uint16", **options) -> "tuple[Shards, zarr.Array, np.ndarray]":
    """An array coded as ours are: seven shards, the last part full, one whole chunk and a bit of fill value."""
    values = np.random.default_rng(0).integers(1, 60_000, N_VALUES).astype(kind)
    values[400:455] = 0
    settings = {"chunks": (CHUNK,), "shards": (SHARD,), "compressors": matrix_codecs(np.dtype(kind)), "fill_value": 0}
    array = zarr.create_array(folder / "a", shape=(N_VALUES,), dtype=kind, **{**settings, **options})
    array[:] = values
    return Shards(folder / "a", array), array, values


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory):
    return written(tmp_path_factory.mktemp("shards"))


@settings(deadline=None, max_examples=200)
@given(first=st.integers(0, N_VALUES + 60), length=st.integers(0, N_VALUES + 60))
def test_any_stretch_is_what_zarr_reads(stored, first: int, length: int) -> None:
    shards, array, values = stored
    got = shards.read(first, first + length)
    assert got.dtype == array.dtype and (got == values[first : first + length]).all()
    assert got.size == values[first : first + length].size


@pytest.mark.parametrize("kind", ["uint16", "uint32", "float32", "float64", "int32"])
@pytest.mark.parametrize("compression", ["local", "cloud"])
def test_every_type_and_compression_of_ours_is_read(tmp_path: Path, kind: str, compression: str) -> None:
    shards, array, values = written(tmp_path, kind, compressors=matrix_codecs(np.dtype(kind), compression))
    assert (
        is_readable(array)
        and (shards.read(0, N_VALUES) == values).all()
        and (shards.read(49, 951) == values[49:951]).all()
    )


BLOSC, ZSTD, CRC = zarr.codecs.BloscCodec(cname="lz4"), zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()


@pytest.mark.parametrize(
    "codecs",
    [
        None,
        [BLOSC],
        [ZSTD],
        [CRC],
        [BLOSC, CRC],
        [ZSTD, CRC],
        [zarr.codecs.BloscCodec(cname="blosclz", shuffle="bitshuffle")],
        [zarr.codecs.BloscCodec(cname="zstd", shuffle="noshuffle"), CRC, ZSTD],
        [zarr.codecs.ZstdCodec(level=9, checksum=True), ZSTD],
    ],
)
@pytest.mark.parametrize("kind", ["float32", "uint16"])
def test_others_codecs_are_read_too(tmp_path: Path, kind: str, codecs) -> None:
    shards, array, values = written(tmp_path, kind, compressors=codecs)
    assert is_readable(array)
    for first, last in ((0, N_VALUES), (49, 951), (400, 455), (2_299, N_VALUES), (7, 7)):
        assert (shards.read(first, last) == values[first:last]).all()


@pytest.mark.parametrize("codecs", [None, [ZSTD], [BLOSC]])
def test_a_chunk_that_holds_less_or_more_is_an_error(tmp_path: Path, codecs) -> None:
    _, array, _ = written(tmp_path, compressors=codecs)
    for n_values in (CHUNK - 1, CHUNK + 1):
        other = zarr.create_array(tmp_path / f"b{n_values}", shape=(7 * n_values,), dtype="uint16", chunks=(n_values,),
                                  shards=(7 * n_values,), compressors=codecs, fill_value=0)  # fmt: skip
        other[:] = np.random.default_rng(1).integers(1, 9, 7 * n_values)
        (tmp_path / "a/c/1").write_bytes((tmp_path / f"b{n_values}/c/0").read_bytes())
        with pytest.raises(ShardError, match=r"c/1: chunk 0: .* belong there"):
            Shards(tmp_path / "a", array).read(SHARD, SHARD + CHUNK)


@pytest.mark.parametrize("codecs", [[BLOSC], [ZSTD], matrix_codecs(np.dtype("uint16"))])
def test_without_the_libraries_own_functions_the_same_is_read(tmp_path: Path, codecs, monkeypatch) -> None:
    fast, array, values = written(tmp_path, compressors=codecs)
    monkeypatch.setattr(chunk_run, "functions_of_libraries", lambda: None)
    slow = Shards(tmp_path / "a", array)
    assert fast._runs is not None and slow._runs is None
    for first, last in ((0, N_VALUES), (49, 951), (60, 61), (2_299, N_VALUES)):
        assert (fast.read(first, last) == values[first:last]).all() and (
            slow.read(first, last) == values[first:last]
        ).all()


def test_a_slot_of_another_size_or_type_is_refused(stored) -> None:
    shards, _, _ = stored
    for out in (np.empty(9, "uint16"), np.empty(10, "int32"), np.empty((2, 5), "uint16")):
        with pytest.raises(ValueError, match="do not fit"):
            shards.read_into(5, 15, out)


def test_chunks_that_lie_in_no_order_are_read_too(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(1, 9, 64 * 400).astype("uint16")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):  # threads, as stores had them before
        array = zarr.create_array(
            tmp_path / "a",
            shape=values.shape,
            dtype="uint16",
            chunks=(64,),
            shards=values.shape,
            compressors=matrix_codecs(np.dtype("uint16")),
            fill_value=0,
        )
        array[:] = values
    shards = Shards(tmp_path / "a", array)
    assert (shards.read(0, values.size) == values).all() and (shards.read(100, 7_000) == values[100:7_000]).all()


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": zarr.codecs.GzipCodec()},
        {"shards": None},
        {"dtype": ">u2"},
        {"dtype": "bool"},
        {"filters": zarr.codecs.numcodecs.Delta(dtype="<u2")},
    ],
)
def test_what_is_coded_otherwise_is_left_to_zarr(tmp_path: Path, options) -> None:
    shape = {
        "chunks": (CHUNK,),
        "shards": (SHARD,),
        "dtype": "uint16",
        "compressors": matrix_codecs(np.dtype("uint16")),
    }
    assert not is_readable(zarr.create_array(tmp_path / "a", shape=(N_VALUES,), **{**shape, **options}))


def test_every_flipped_bit_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    _, array, values = written(tmp_path)
    path = tmp_path / "a" / "c" / "3"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    n_found = 0
    for place in rng.integers(0, 8 * len(whole), 300):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        fresh = Shards(tmp_path / "a", array)
        try:
            assert (fresh.read(3 * SHARD, 4 * SHARD) == values[3 * SHARD : 4 * SHARD]).all()
        except ShardError as error:
            assert "c/3" in str(error)
            n_found += 1
    assert n_found > 290
    path.write_bytes(whole)


@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "index beyond"])
def test_a_shard_that_is_not_whole_is_named(tmp_path: Path, damage: str) -> None:
    import google_crc32c

    _, array, _ = written(tmp_path)
    path = tmp_path / "a" / "c" / "2"
    whole = path.read_bytes()
    index = bytearray(whole[-(7 * 16 + 4) : -4])
    index[8:16] = (10**6).to_bytes(8, "little")
    beyond = whole[: -len(index) - 4] + bytes(index) + google_crc32c.value(bytes(index)).to_bytes(4, "little")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-9], "empty": b"", "index beyond": beyond}[damage])
    with pytest.raises(ShardError, match="c/2"):
        Shards(tmp_path / "a", array).read(0, N_VALUES)


def test_a_chunk_of_another_length_is_never_written_past_its_place(tmp_path: Path) -> None:
    from numcodecs import blosc, zstd

    _, array, _ = written(tmp_path)
    path = tmp_path / "a" / "c" / "0"
    index = np.frombuffer(path.read_bytes()[-(7 * 16 + 4) : -4], "<u8").reshape(-1, 2)
    offset, length = (int(n) for n in index[0])
    for n_values in (CHUNK - 1, CHUNK + 1, 10_000):
        frame = zstd.compress(blosc.compress(np.zeros(n_values, "uint16"), b"lz4", 3, 1), -100, True)
        data = bytearray(path.read_bytes())
        if len(frame) <= length:
            data[offset : offset + len(frame)] = frame
        path.write_bytes(data)
        with pytest.raises(ShardError, match="c/0: chunk 0"):
            Shards(tmp_path / "a", array).read(0, CHUNK)


def test_a_stores_own_arrays_are_read_so(tiny_atlas: Atlas) -> None:
    assert is_readable(tiny_atlas.csr().data) and is_readable(tiny_atlas.csr().indices)


@pytest.mark.parametrize("compression", ["local", "cloud"])
def test_chunks_of_several_zstandard_blocks_are_read_and_checked(tmp_path: Path, compression: str) -> None:
    # A block holds 128 KiB at most, and numbers without a pattern are not made smaller.
    values = np.random.default_rng(3).random(130_000)
    array = zarr.create_array(
        tmp_path / "a", shape=values.shape, dtype="float64", chunks=(60_000,), shards=(180_000,),
        compressors=matrix_codecs(values.dtype, compression), fill_value=0,
    )  # fmt: skip
    array[:] = values
    assert (Shards(tmp_path / "a", array).read(17, 129_990) == values[17:129_990]).all()
    path = tmp_path / "a/c/0"
    damaged = bytearray(path.read_bytes())
    damaged[300_000] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(ShardError, match="c/0: chunk 0"):
        Shards(tmp_path / "a", array).read(0, 1_000)


def test_threads_that_come_together_first_read_the_same(tmp_path: Path) -> None:
    # In a process of its own: only the first call of all compiles.
    written(tmp_path)
    code = f"""
import threading, zarr
import subprocess
import sys
from pathlib import Path
from livelatent.atlas.shards import Shards
folder = Path({str(tmp_path / "a")!r})
shards, start, found = Shards(folder, zarr.open_array(folder)), threading.Barrier(6), []
def read():
    start.wait()
    found.append(int(shards.read(0, {N_VALUES}).sum()))
threads = [threading.Thread(target=read) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(found)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    total = int(written(tmp_path / "again")[2].sum())
    assert (done.stdout.strip(), done.stderr) == (str([total] * 6), "")
