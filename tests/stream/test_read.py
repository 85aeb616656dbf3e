import dataclasses
import itertools
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import anndata
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from livelatent.atlas import Atlas
from livelatent.atlas.foreign import open_foreign
from livelatent.errors import StoreError
from livelatent.stream.read import MERGED_BLOCKS, GroupReader, group_spec, read_group
from livelatent.stream.slots import Slots
from livelatent.stream.stream import Stream
from livelatent.stream.together import Together
from streamed import SMALL, bits, dense, held, stream_threads

subsets = st.builds(
    lambda seed, keep: np.flatnonzero(np.random.default_rng(seed).random(301) < keep),
    st.integers(0, 10**6),
    st.sampled_from([0.02, 0.3, 0.8, 0.97, 1.0]),
)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def pair(uneven, other):
    return uneven("uint16"), other


def of_both(together, rows):
    return together.rows([rows[rows < 211], rows[rows >= 211] - 211])


def dense_group(group, together):
    """Counts of a group's cells, the slow way: gene number of each atlas by itself, unstored values 0."""
    out = np.zeros((len(group.rows), 40))
    for k, (start, stop) in enumerate(zip(group.start, group.stop, strict=True)):
        part = group.parts[0 if group.part is None else group.part[k]]
        assert part.atlas == together.atlas_of(group.rows[k : k + 1])[0]
        out[k, part.indices[start:stop]] = part.data[start:stop]
    return out


@settings(deadline=None, max_examples=100)
@given(subsets, st.integers(1, 50))
def test_stretches_read_every_row_once_and_none_beyond_its_block(pair, rows, block_cells):
    together = Together(pair, block_cells)
    spec = group_spec(of_both(together, rows), block_cells, together)
    assert [row + together.first[part.atlas] for part in spec.parts for row in part.rows] == spec.rows.tolist()
    for part in spec.parts:
        read = [row for a, b in part.stretches for row in range(a, b)]
        assert len(set(read)) == len(read) and set(part.rows.tolist()) <= set(read)
        assert part.stretches == tuple(sorted(part.stretches))
        for a, b in part.stretches:
            assert {a, b - 1} <= set(part.rows.tolist())
            blocks = set((np.arange(a, b) // block_cells).tolist())
            # Several blocks are read at once only where every row of them is wanted.
            assert len(blocks) == 1 or set(range(a, b)) <= set(part.rows.tolist())
            assert b - a <= MERGED_BLOCKS * block_cells


@settings(deadline=None, max_examples=40)
@given(subsets, st.integers(1, 50), st.booleans())
def test_a_group_holds_the_counts_of_its_rows(pair, pool, rows, block_cells, has_room):
    together = Together(pair, block_cells)
    rows = of_both(together, rows)
    slots = Slots(10**6 if has_room else 0, 1)
    group = read_group(group_spec(rows, block_cells, together), together, slots, pool, ["X_ref"])
    atlas, local = together.atlas_of(rows), rows - together.first[together.atlas_of(rows)]
    wanted, vectors = np.zeros((len(rows), 40)), np.zeros((len(rows), 3))
    for number, one in enumerate(pair):
        wanted[atlas == number, : one.n_genes] = held(one).x(local[atlas == number], values="counts")
        vectors[atlas == number] = held(one).obsm["X_ref"][local[atlas == number]]
    assert group.rows.tolist() == rows.tolist()
    np.testing.assert_array_equal(dense_group(group, together), wanted)
    np.testing.assert_array_equal(group.obsm["X_ref"], vectors)


def test_scattered_cells_are_kept_without_their_neighbours(uneven, pool):
    atlas = uneven("uint16")
    together = Together([atlas], 40)
    for step, is_kept_whole in ((1, True), (20, False)):
        rows = np.arange(0, 211, step)
        (part,) = read_group(group_spec(rows, 40, together), together, Slots(0, 0), pool).parts
        n_wanted = int(np.diff(atlas.matrix().indptr)[rows].sum())
        assert (part.data.size == n_wanted) and is_kept_whole == (n_wanted == atlas.matrix().indptr[-1])


def test_columns_in_any_order_come_ascending(tmp_path):
    # A file that we did not write: ours are in order.
    random = np.random.default_rng(2)
    counts = random.poisson(0.6, (90, 30)).astype(np.float32)
    csr = sparse.csr_matrix(counts)
    for first, last in itertools.pairwise(csr.indptr):
        order = random.permutation(last - first) + first
        csr.indices[first:last], csr.data[first:last] = csr.indices[order], csr.data[order]
    csr.has_sorted_indices = False
    anndata.AnnData(csr).write_h5ad(tmp_path / "any.h5ad")
    atlas = open_foreign(tmp_path / "any.h5ad")
    for genes, columns in ((None, slice(None)), (["29", "3", "17", "4"], [29, 3, 17, 4])):
        with Stream(atlas, None, SMALL, genes=genes, values="counts", sparse=True) as stream:
            for m in stream.minibatches(0):
                np.testing.assert_array_equal(dense(m), counts[m.cell][:, columns])


# Where a reader fails


def last_shard(atlas, part):
    return max((atlas.path / "X" / part / "c").iterdir(), key=lambda path: int(path.name))


def cut_in_half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_the_middle(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)


DAMAGE = {"removed": lambda file: file.unlink(), "cut short": cut_in_half, "flipped": flip_the_middle}


@pytest.mark.parametrize("part", ["data", "indices"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("groups_ahead", [0, 1, 3])
def test_damage_reaches_the_consumer_with_file_and_rows_and_stops_every_thread(
    uneven, copied, groups_ahead, damage, part
):
    atlas = copied(uneven("uint16"))
    config = dataclasses.replace(SMALL, groups_ahead=groups_ahead)
    file = last_shard(atlas, part)
    whole = file.with_suffix(".whole")
    with Stream(atlas, None, config) as stream:
        wanted = [bits(m) for m in stream.minibatches(0)]
        shutil.copy(file, whole)
        DAMAGE[damage](file)
        rows_of_shard = f"X/{part}/c/{file.name}"
        # What is held of the shards' indices is from before: so a new stream too.
        for broken in (stream, Stream(Atlas.open(atlas.path) if damage == "flipped" else atlas, None, config)):
            n_came = 0
            with pytest.raises(StoreError) as found:
                for m in broken.minibatches(0):
                    assert bits(m) == wanted[n_came]
                    n_came += 1
            assert n_came < len(wanted)
            first, last = map(int, _rows_of(str(found.value)))
            assert f"{atlas.path}" in str(found.value) and rows_of_shard in str(found.value)
            values = atlas.matrix().indptr[[first, last + 1]]
            size = atlas.csr().data.shards[0]
            assert values[0] // size <= int(file.name) <= (values[1] - 1) // size
            assert stream_threads() == []
            with pytest.raises(StopIteration):
                next(broken.minibatches(0, broken.n_steps))
        shutil.copy(whole, file)
        assert [bits(m) for m in stream.minibatches(0)] == wanted


def _rows_of(message):
    found = re.search(r"rows (\d+) to (\d+)", message)
    assert found, message
    return found.groups()


def test_rows_that_fit_one_buffer_are_read_again_after_damage(uneven, copied):
    atlas = copied(uneven("uint16"))
    file = last_shard(atlas, "data")
    content = file.read_bytes()
    with Stream(atlas, None, dataclasses.replace(SMALL, buffer_cells=1000)) as stream:
        file.unlink()
        for _ in range(2):
            with pytest.raises(StoreError, match="rows 128 to 159"):
                list(stream.minibatches(0))
        file.write_bytes(content)
        wanted = [bits(m) for m in stream.minibatches(0)]
        # Read, and kept: the file is not needed any more.
        file.unlink()
        assert [bits(m) for m in stream.minibatches(0)] == wanted


def test_a_group_is_not_read_before_it_is_within_reach(pair):
    together = Together(pair, 8)
    rows = together.rows(None)
    taken = []

    def specs():
        for first in range(0, 200, 8):
            taken.append(first)
            yield group_spec(rows[first : first + 8], 8, together)

    for groups_ahead in (0, 1, 3):
        taken.clear()
        with GroupReader(together, Slots(10**5, 2), groups_ahead) as reader:
            for number, future in enumerate(reader.groups(specs())):
                assert len(taken) == min(number + 1 + groups_ahead, 25)
                assert future.result().rows.tolist() == rows[8 * number : 8 * number + 8].tolist()


def test_closing_lets_nobody_wait(pair):
    together = Together(pair, 8)
    rows = together.rows(None)
    specs = (group_spec(rows[first : first + 8], 8, together) for first in range(0, 300, 8))
    reader = GroupReader(together, Slots(10**5, 2), 3)
    futures = list(reader.groups(specs))
    waiting = [threading.Thread(target=lambda future=future: _ends(future)) for future in futures]
    for thread in waiting:
        thread.start()
    reader.close()
    for thread in waiting:
        thread.join(20)
        assert not thread.is_alive()
    assert stream_threads() == []


def _ends(future):
    try:
        future.result()
    except BaseException:
        return
