import dataclasses
import gc
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import anndata
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from livelatent.atlas.foreign import open_foreign
from livelatent.errors import MemoryLimitError, ResumeError
from livelatent.simulated import simulate
from livelatent.stream.balance import Balance
from livelatent.stream.balanced_epoch import balanced_epoch
from livelatent.stream.carry import carry, in_order
from livelatent.stream.memory import needs_of, portions_at_once
from livelatent.stream.plan import StreamConfig, plan_epoch
from livelatent.stream.read import DENSE_ENOUGH, group_spec, read_group
from livelatent.stream.slots import Slots, room_for
from livelatent.stream.stream import Stream
from livelatent.stream.together import Together
from peak import needs_proc, peak_bytes
from streamed import SMALL, uneven_atlas

SPARSE_KINDS = (np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.int32))


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """60 and 40 cells of 0 to 2,000 values, so that the 128 bytes that each block is reckoned more hide nothing."""
    return [
        uneven_atlas(tmp_path_factory.mktemp(kind), kind, n_cells=n_cells, n_genes=2000, seed=2)
        for kind, n_cells in (("uint16", 60), ("float32", 40))
    ]


def bytes_of(group):
    """What a group's arrays take in a slot."""
    return room_for(*((array.dtype, array.size) for part in group.parts for array in (part.data, part.indices)))


def is_lent(group):
    """Whether its arrays lie in a slot, which so was large enough."""
    bases = [part.data for part in group.parts]
    while any(isinstance(base, np.ndarray) for base in bases):
        bases = [base.base if isinstance(base, np.ndarray) else base for base in bases]
    # Memory of numpy's own has nothing behind it.
    return None not in bases


subsets = st.one_of(
    st.builds(lambda step, first: np.arange(first, 100, step), st.sampled_from([1, 2, 3, 5, 20]), st.integers(0, 19)),
    st.builds(
        lambda seed, keep: np.flatnonzero(np.random.default_rng(seed).random(100) < keep),
        st.integers(0, 10**6),
        st.sampled_from([0.03, 0.3, 0.7, 0.9]),
    ),
    # Blocks with holes of every size.
    st.builds(
        lambda seed, hole: np.flatnonzero(
            np.arange(100) // hole % np.random.default_rng(seed).integers(1, 4, 100) == 0
        ),
        st.integers(0, 10**6),
        st.integers(1, 12),
    ),
)


def of_both(pair, rows):
    return [rows[rows < 60], rows[rows >= 60] - 60]


@settings(deadline=None, max_examples=60)
@given(subsets, st.integers(1, 40), st.integers(0, 70), st.integers(0, 10**6), st.integers(1, 3))
def test_no_group_of_any_epoch_is_larger_than_was_reckoned(pair, pool, rows, block, extra, seed, world):
    together = Together(pair, block)
    rows = together.rows(of_both(pair, rows))
    config = StreamConfig(block_cells=block, buffer_cells=block + extra, seed=seed)
    world = min(world, max(len(rows), 1))
    reckoned = needs_of(together, rows, block, world=world).group(config.buffer_cells)
    slots = Slots(reckoned, 1)
    for epoch in range(3):
        for rank in range(world):
            for group in plan_epoch(rows, config, epoch, rank, world):
                read = read_group(group_spec(group.rows(rows), block, together), together, slots, pool)
                assert bytes_of(read) <= reckoned
                assert is_lent(read)


def atlas_of(folder, lengths):
    """Cells of so many values, in that order."""
    counts = sparse.csr_matrix(np.arange(max(lengths)) < np.array(lengths)[:, None], dtype=np.float32)
    anndata.AnnData(counts).write_h5ad(folder / "made.h5ad")
    return open_foreign(folder / "made.h5ad")


def test_blocks_of_unequal_numbers_of_cells_are_reckoned(tmp_path, pool):
    # By bytes per cell the first is the heaviest, and no second has room beside it; but the others have together.
    atlas, rows = atlas_of(tmp_path, [1000] * 6 + [990] * 6 + [500] * 6), np.arange(16)
    together = Together([atlas], 6)
    config = StreamConfig(block_cells=6, buffer_cells=10, shuffle=False)
    one, two = plan_epoch(rows, config, 0)
    assert (one.n_cells, two.n_cells) == (6, 10)
    read = read_group(group_spec(two.rows(rows), 6, together), together, Slots(0, 0), pool)
    assert 6 * 1000 < read.parts[0].data.size
    assert bytes_of(read) <= needs_of(together, rows, 6).group(10)


def test_parts_of_blocks_that_ranks_share_are_reckoned(tmp_path, pool):
    # The seventh cell is as heavy as seven of those behind it, of which each is a block by itself.
    lengths = np.zeros(63, int)
    lengths[6], lengths[7::7] = 4000, 580
    atlas, rows = atlas_of(tmp_path, lengths), np.append(np.arange(7), np.arange(7, 63, 7))
    together = Together([atlas], 7)
    config = StreamConfig(block_cells=7, buffer_cells=7, shuffle=False)
    (group,) = plan_epoch(rows, config, 0, rank=2, world=5)
    assert group.rows(rows).tolist() == [6, 7, 14]
    read = read_group(group_spec(group.rows(rows), 7, together), together, Slots(0, 0), pool)
    alone, shared = (needs_of(together, rows, 7, world=world).group(7) for world in (1, 5))
    assert alone < bytes_of(read) <= shared


@settings(deadline=None, max_examples=20)
@given(subsets, st.integers(1, 60), st.booleans())
def test_no_minibatch_is_larger_than_was_reckoned(pair, rows, minibatch_cells, has_own_genes):
    config = StreamConfig(minibatch_cells=minibatch_cells, block_cells=8, buffer_cells=64)
    genes = None if has_own_genes else [f"GENE{g}" for g in range(1900, 5, -1)]
    with Stream(pair, of_both(pair, rows), config, genes=genes, sparse=True) as stream:
        needs = needs_of(stream._together, stream.rows, 8, n_genes=stream.n_genes, is_sparse=True)
        reckoned = needs.portion_bytes(dataclasses.replace(config, groups_ahead=0))
        for m in stream.minibatches(0):
            lengths = (m.x.values().numel(), m.x.col_indices().numel(), m.x.crow_indices().numel())
            assert room_for(*zip(SPARSE_KINDS, lengths, strict=True)) <= reckoned


def test_what_is_reckoned_is_not_far_above_what_is_needed(uneven):
    atlas = uneven("uint16")
    together, rows = Together([atlas], 8), np.arange(211)
    needs = needs_of(together, rows, 8)
    n_values = int(atlas.matrix().indptr[-1])
    # All cells: four bytes a value, and 128 for each of 27 blocks.
    assert needs.group(1000) == 4 * n_values + 27 * 128
    lengths = np.sort(np.diff(atlas.matrix().indptr))[::-1]
    assert needs.cells(50) == lengths[:50].sum()
    sparse = needs_of(together, rows, 8, n_genes=37, is_sparse=True)
    every_cell = StreamConfig(minibatch_cells=1000, groups_ahead=0)
    assert sparse.portion_bytes(every_cell) == room_for(*zip(SPARSE_KINDS, (n_values, n_values, 212), strict=True))
    dense = dataclasses.replace(sparse, is_sparse=False)
    few = StreamConfig(minibatch_cells=23, groups_ahead=0)
    assert dense.portion_bytes(few) == room_for((np.dtype(np.float32), 23 * 37))
    # Made ahead, as many at a time as the buffer holds: here 4 of 5 MB hold many more.
    several = dataclasses.replace(few, groups_ahead=1, buffer_cells=97, block_cells=8)
    assert dense.portion(several) == 4 and dense.portion_bytes(several) == room_for((np.dtype(np.float32), 92 * 37))
    # Every twentieth cell: they alone are kept, not their neighbours.
    scattered = needs_of(together, rows[::20], 8)
    assert scattered.group(1000) <= 4 * lengths.sum() / 0.75 * 0.25


@settings(deadline=None, max_examples=25)
@given(subsets, st.integers(1, 40), st.integers(3, 30), st.integers(0, 10**6))
def test_what_is_carried_fits_whether_copied_or_read_again(pair, pool, rows, block, ring_cells, seed):
    together = Together(pair, block)
    rows = together.rows(of_both(pair, rows))
    label, batch = (together.per_cell(rows, codes) for codes in (together.label, together.batch))
    rows, label, batch = (values[label >= 0] for values in (rows, label, batch))
    if not len(rows):
        return
    balance = Balance(types=2, ring_cells=ring_cells)
    config = StreamConfig(minibatch_cells=6, block_cells=block, buffer_cells=block + 9, seed=seed, balance=balance)
    reckoned = needs_of(together, rows, block, n_labels=len(together.label_names)).carried(config)
    slots = Slots(reckoned, 2)
    group = carried = None
    for epoch in range(2):
        for part in balanced_epoch(rows, label, batch, config, epoch):
            candidates = part.candidates
            wanted = rows[candidates.carried]
            again = read_group(group_spec(np.sort(wanted), block, together), together, slots, pool)
            if group is not None and candidates.came_from is not None:
                carried = carry(group, carried, candidates.came_from, slots)
                assert is_lent(carried)
            else:
                carried = in_order(again, wanted)
            assert bytes_of(again) <= reckoned / DENSE_ENOUGH
            assert carried.rows.tolist() == wanted.tolist()
            group = read_group(
                group_spec(candidates.group.rows(rows), block, together), together, Slots(10**6, 0), pool
            )


@pytest.fixture
def lent(monkeypatch):
    """How many pieces of each `Slots` live, and the most there were."""
    lock, now, most = threading.Lock(), {}, {}
    take, give_back = Slots.take, Slots._give_back

    def counted_take(slots):
        with lock:
            now[slots] = now.get(slots, 0) + 1
            most[slots] = max(most.get(slots, 0), now[slots])
        return take(slots)

    def counted_back(slots, memory):
        with lock:
            now[slots] -= 1
        give_back(slots, memory)

    monkeypatch.setattr(Slots, "take", counted_take)
    monkeypatch.setattr(Slots, "_give_back", counted_back)
    gc.disable()
    yield now, most
    gc.enable()


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("is_balanced", [False, True], ids=["natural", "balanced"])
@pytest.mark.parametrize("groups_ahead", [0, 1, 2])
def test_no_more_pieces_live_than_were_reckoned(uneven, lent, groups_ahead, is_balanced, is_sparse):
    atlas, pause = uneven("uint16"), threading.Event()
    now, most = lent
    balance = Balance(types=2, ring_cells=12) if is_balanced else None
    for rows, buffer_cells in ((None, 8), (None, 24), (np.arange(0, 211, 2), 24), (None, 64), (None, 128)):
        config = StreamConfig(
            minibatch_cells=24, block_cells=8, buffer_cells=buffer_cells, groups_ahead=groups_ahead, balance=balance
        )
        with Stream(atlas, rows, config, sparse=is_sparse) as stream:
            for epoch in range(2):
                for _ in stream.minibatches(epoch):
                    pause.wait(0.001)  # all that is done ahead gets done
                del _
            needs = needs_of(stream._together, stream.rows, 8, n_genes=37, is_sparse=is_sparse)
            assert most[stream._group_slots] <= needs.groups_at_once(config)
            assert most[stream._assembly._slots] <= portions_at_once(config)
            assert most.get(stream._carried_slots, 0) <= needs.carried_at_once(config)
        slots = [stream._group_slots, stream._assembly._slots, stream._carried_slots]
        # What was dropped is free at once, without a search for circles.
        del stream
        assert [now.get(one, 0) for one in slots] == [0, 0, 0]


def test_the_buffer_stands_in_the_config_and_shrinks_with_the_limit(uneven):
    atlas = uneven("uint16")
    with pytest.raises(MemoryLimitError) as found:
        Stream(atlas, None, SMALL, memory="1MB")
    (least_mb,) = map(int, re.findall(r"at least (\d+) MB", str(found.value)))
    resolved = [Stream(atlas, None, SMALL, memory=limit).config for limit in ("8GB", "1GB", f"{least_mb} MB")]
    # The whole atlas in whole blocks is as much as a buffer can be.
    assert resolved[0].buffer_cells == resolved[1].buffer_cells == 216
    for config in resolved:
        same = {"buffer_cells": SMALL.buffer_cells, "groups_ahead": SMALL.groups_ahead}
        assert dataclasses.replace(config, **same) == SMALL
        assert config.buffer_cells % 8 == 0


def sizes(atlas, config, limits, **settings):
    """Buffer and groups ahead that limits buy, 0 where they are refused."""
    found = []
    for limit in limits:
        try:
            resolved = Stream(atlas, None, config, memory=limit, **settings).config
            found.append((resolved.groups_ahead, resolved.buffer_cells))
        except MemoryLimitError:
            found.append((-1, 0))
    return found


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("is_balanced", [False, True], ids=["natural", "balanced"])
def test_a_limit_buys_the_most_that_is_within_it_and_a_byte_less_than_the_least_nothing(uneven, is_balanced, is_sparse):
    atlas = uneven("uint16")
    # Rings as small as they can be: larger ones are halved before groups ahead are given up.
    balance = Balance(types=2, ring_cells=SMALL.minibatch_cells // 2) if is_balanced else None
    config = dataclasses.replace(SMALL, groups_ahead=2, balance=balance)
    stream = Stream(atlas, None, config, sparse=is_sparse)
    needs = needs_of(stream._together, stream.rows, 8, n_genes=37, is_sparse=is_sparse, n_labels=3)
    total = {
        (groups_ahead, buffer_cells): needs.total(
            dataclasses.replace(config, buffer_cells=buffer_cells, groups_ahead=groups_ahead)
        )
        for groups_ahead in range(3)
        for buffer_cells in range(24, len(stream.rows) + 8, 8)
    }
    least = min(total.values())
    limits = [least - 1, *np.linspace(least, max(total.values()), 60, dtype=int).tolist()]
    got = sizes(atlas, config, limits, sparse=is_sparse)
    # First as far ahead as can be, then as large a buffer as can be.
    wanted = [max((size for size, needed in total.items() if needed <= limit), default=(-1, 0)) for limit in limits]
    assert got == wanted
    assert {-1, 0, 2} <= {groups_ahead for groups_ahead, _ in got}


def test_rings_shrink_with_the_limit_down_to_what_a_minibatch_takes(uneven):
    least = SMALL.minibatch_cells // 2
    config = dataclasses.replace(SMALL, balance=Balance(types=2, ring_cells=8 * least))
    whole = Stream(uneven("uint16"), None, config)
    needs = needs_of(whole._together, whole.rows, 8, n_genes=37, n_labels=3)
    small = dataclasses.replace(config, balance=Balance(types=2, ring_cells=least))
    most = needs.total(config)
    fewest = min(
        needs.total(dataclasses.replace(small, buffer_cells=buffer_cells)) for buffer_cells in range(24, 216, 8)
    )
    found = set()
    for limit in np.linspace(most, fewest, 60, dtype=int).tolist():
        resolved = Stream(uneven("uint16"), None, config, memory=limit).config
        assert needs.total(resolved) <= limit
        found.add(resolved.balance.ring_cells)
    assert {8 * least, least} <= found <= {8 * least, 4 * least, 2 * least, least}


def test_a_refusal_says_what_would_do(uneven):
    atlas = uneven("uint16")
    wide = StreamConfig(minibatch_cells=200, block_cells=16)
    with pytest.raises(MemoryLimitError, match=r"memory='2MB' .* 200 cells x 37 genes in blocks of 16.*sparse=True"):
        Stream(atlas, None, wide, memory="2MB")
    with pytest.raises(MemoryLimitError) as found:
        Stream(atlas, None, wide, memory="2MB", sparse=True)
    assert "sparse=True" not in str(found.value)
    (least_mb,) = re.findall(r"at least (\d+ MB)", str(found.value))
    with Stream(atlas, None, wide, memory=least_mb, sparse=True) as stream:
        assert sum(m.n_cells for m in stream.minibatches(0)) == 211


def test_a_run_goes_on_with_the_buffer_that_it_had_whatever_the_memory(uneven):
    atlas = uneven("uint16")
    needs = needs_of(Together([atlas], 8), np.arange(211), 8, n_genes=37)
    limit = needs.total(dataclasses.replace(SMALL, buffer_cells=88))
    little, much = (Stream(atlas, None, SMALL, memory=memory) for memory in (limit, "1GB"))
    with pytest.raises(ResumeError, match="buffer_cells 88 then, 216 now"):
        much.check(little.position(1, 2))
    # Its configuration, and no limit: the same buffer again.
    again = Stream(atlas, None, little.config)
    again.check(little.position(1, 2))
    wanted = [m.cell.tolist() for m in little.minibatches(1, 2)]
    assert [m.cell.tolist() for m in again.minibatches(1, 2)] == wanted


LIMIT = 256 * 10**6
WARM_UP = """
import livelatent as ll
from livelatent.stream.balance import Balance
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream

def deliver(path, balance, is_sparse, epochs, memory):
    config = StreamConfig(balance=balance)
    with Stream(ll.Atlas.open(path), None, config, memory=memory, sparse=is_sparse) as stream:
        n = sum(m.n_cells for epoch in range(epochs) for m in stream.minibatches(epoch))
        assert n == epochs * len(stream.rows) or balance and n == epochs * stream.n_steps * 1024, n
        return stream.config

balance = Balance() if sys.argv[3] == "balanced" else None
deliver(sys.argv[2], balance, sys.argv[4] == "sparse", 1, "1GB")
"""
CALL = """
config = deliver(sys.argv[1], balance, sys.argv[4] == "sparse", 2, "256MB")
# Not a limit that would not have been reached anyway.
assert config.buffer_cells < 65_536, config
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """100,000 cells of about 390 of 2,000 genes; and some to warm up with."""
    folder = tmp_path_factory.mktemp("simulated")
    cells = {"n_genes": 2_000, "genes_per_cell": 400, "n_types": 20, "n_batches": 8, "seed": 3}
    for name, n_cells in (("large", 100_000), ("small", 3_000)):
        simulate(folder / f"{name}.zarr", n_cells, **cells)
    return folder / "large.zarr", folder / "small.zarr"


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("order", ["natural", "balanced"])
def test_resident_memory_stays_within_the_limit(simulated, order, form):
    peak = peak_bytes(WARM_UP, CALL, *simulated, order, form)
    assert 0.25 * LIMIT < peak < LIMIT, f"{peak / 1e6:.0f} MB"
