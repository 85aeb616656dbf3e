from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.stream.carry import carry, in_order
from livelatent.stream.read import group_spec, read_group
from livelatent.stream.slots import Slots
from livelatent.stream.together import Together
from streamed import held


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def pair(uneven, other):
    return uneven("uint16"), other


def cells_of(group, together):
    """Per cell: its row, what it holds by gene, and its vector."""
    found = []
    for k, row in enumerate(group.rows.tolist()):
        part = group.parts[0 if group.part is None else group.part[k]]
        assert part.atlas == together.atlas_of(np.array([row]))[0]
        own = slice(group.start[k], group.stop[k])
        counts = dict(zip(part.indices[own].tolist(), part.data[own].tolist(), strict=True))
        found.append((row, counts, group.obsm["X_ref"][k].tolist()))
    return found


def stored(row, together):
    """The same, of one row, as anndata reads it."""
    number = int(together.atlas_of(np.array([row]))[0])
    atlas, local = together.atlases[number], row - together.first[number]
    counts = held(atlas).x([local], values="counts")[0]
    genes = np.flatnonzero(counts)
    return (
        row,
        dict(zip(genes.tolist(), counts[genes].tolist(), strict=True)),
        held(atlas).obsm["X_ref"][local].tolist(),
    )


rows_of_both = st.lists(st.integers(0, 300), unique=True, max_size=40).map(lambda rows: np.array(sorted(rows), int))


def read(together, rows, pool):
    local = together.rows([rows[rows < 211], rows[rows >= 211] - 211])
    return read_group(group_spec(local, 8, together), together, Slots(10**5, 1), pool, ["X_ref"])


@settings(deadline=None, max_examples=60)
@given(rows_of_both, rows_of_both, st.integers(0, 10**6), st.booleans())
def test_carried_cells_are_copies_in_the_order_asked(pair, pool, one, two, seed, has_room):
    together = Together(pair, 8)
    group, before = read(together, one, pool), read(together, two, pool)
    random = np.random.default_rng(seed)
    n_all = len(one) + len(two)
    came_from = random.permutation(n_all)[: random.integers(0, n_all + 1)]
    wanted = [int(row) for row in np.concatenate([group.rows, before.rows])[came_from]]
    carried = carry(group, before, came_from, Slots(10**6 if has_room else 0, 1))
    # Nothing of either is used: they may go.
    for part in (*group.parts, *before.parts):
        part.data[:] = 0
        part.indices[:] = 0
    assert cells_of(carried, together) == [stored(row, together) for row in wanted]
    # And what was carried is carried on.
    again = carry(before, carried, len(two) + np.arange(len(came_from))[::-1], Slots(10**6, 1))
    assert cells_of(again, together) == [stored(row, together) for row in wanted[::-1]]


@settings(deadline=None, max_examples=40)
@given(rows_of_both, st.integers(0, 10**6))
def test_cells_read_in_order_are_given_in_any(pair, pool, rows, seed):
    together = Together(pair, 8)
    group = read(together, rows, pool)
    wanted = np.random.default_rng(seed).permutation(group.rows)
    got = in_order(group, wanted)
    assert cells_of(got, together) == [stored(row, together) for row in wanted.tolist()]
