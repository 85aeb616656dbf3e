import numpy as np
import pytest

from livelatent.judge.flag import reason
from livelatent.judge.measures import MEASURES, known_measures
from livelatent.judge.technical import quality_of


@pytest.fixture
def known():
    """Type 0: 1,000 counts, 4 % mitochondrial, doublet score .3; type 1: twice as deep; type 2: three cells."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [200, 100, 3])
    depth = 1000 * (1 + (label == 1)) * rng.lognormal(0, 0.2, 303)
    return known_measures(np.stack([depth, rng.normal(0.04, 0.01, 303), rng.normal(0.3, 0.05, 303)], 1), label, 3)


def cluster(depth=1000.0, mito=0.04, doublet=0.3, n=30):
    rng = np.random.default_rng(1)
    return np.stack(
        [depth * rng.lognormal(0, 0.1, n), rng.normal(mito, 0.005, n), rng.normal(doublet, 0.02, n)], axis=1
    )


@pytest.mark.parametrize(
    ("measures", "wanted"),
    [
        (cluster(), ()),
        (cluster(depth=300), ("shallow cells",)),
        (cluster(mito=0.3), ("stressed or dying cells",)),
        (cluster(doublet=0.8, depth=2100), ("doublets of B and NK",)),
        # A new type between two known ones scores as doublets do, at the depth of one cell.
        (cluster(doublet=0.8), ()),
        (cluster(depth=2100), ()),
        (cluster(mito=np.nan), ()),
        (cluster(depth=300, mito=0.3), ("shallow cells", "stressed or dying cells")),
    ],
)
def test_what_explains_a_cluster_is_named_and_nothing_else(known, measures, wanted):
    quality = quality_of(measures, known, 0, "B", parents=("B", "NK"))
    assert len(quality.technical) == len(wanted)
    for got, start in zip(quality.technical, wanted, strict=True):
        assert got.startswith(start)
    text = reason((("B", 1.5),), {"d1": 20, "d2": 10}, 2, quality)
    assert ("Probably technical: " in text) == bool(wanted)


def test_depth_is_compared_at_the_querys_own_depth(known):
    deep = cluster(depth=300)
    assert quality_of(deep, known, 0, "B").technical
    assert not quality_of(deep, known, 0, "B", depth_factor=0.3).technical


def test_the_table_has_the_flags_median_beside_the_types_quantiles(known):
    rng = np.random.default_rng(2)
    measures, own = cluster(), rng.normal(0.5, 0.1, (2, 30))
    types = np.array([[0.0, 0.1, 0.2], [0.05, 0.0, 0.0]])
    quality = quality_of(measures, known, 1, "NK", cycle=(own, types))
    table = quality.table
    assert list(table.index) == [*MEASURES, "S score", "G2M score"]
    np.testing.assert_allclose(table["flag"].iloc[:3], np.median(measures, axis=0))
    np.testing.assert_allclose(table[["type_5", "type_median", "type_95"]].iloc[:3], known.by_type[1])
    assert table.loc["S score", "type_median"] == 0.1
    assert sum(quality.phases.values()) == pytest.approx(1)
    assert quality.phases["G1"] == 0
    assert "100% of its cells are in S or G2M: perhaps NK cells that divide." in reason((("NK", 1.0),), {}, 0, quality)


def test_a_cluster_near_a_type_that_divides_is_not_explained_by_dividing(known):
    own, types = np.full((2, 30), 0.5), np.full((2, 3), 0.5)
    assert quality_of(cluster(), known, 0, "B", cycle=(own, types)).remarks == ()


def test_a_type_of_few_cells_has_all_cells_quantiles(known):
    np.testing.assert_array_equal(known.by_type[2], known.overall)
    assert (known.by_type[0] != known.overall).any()
