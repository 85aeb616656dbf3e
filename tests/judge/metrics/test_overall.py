import pytest

from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.integration import BATCH, BIO, IntegrationScores
from livelatent.judge.metrics.overall import overall


def scores_of(left_out=None, **values):
    left_out = left_out or {}
    filled = {name: values.get(name, 0.5) for name in (*BIO, *BATCH) if name not in left_out}
    return IntegrationScores(filled, left_out, 10, 0, 0, 1.0, ())


def test_sums_are_means_after_min_max_and_what_all_share_is_left_out():
    got = overall(
        {
            "a": scores_of(nmi=0.2, ari=0.9, pcr=0.3, silhouette_batch=0.80),
            "b": scores_of(nmi=0.6, ari=0.5, pcr=0.1, silhouette_batch=0.85),
            "c": scores_of(nmi=0.3, ari=0.7, pcr=0.2, silhouette_batch=0.90),
        }
    )
    table = got.table
    assert table.index.tolist() == ["c", "a", "b"]
    assert table["nmi"].to_dict() == pytest.approx({"a": 0, "b": 1, "c": 0.25})
    assert table["s_bio"].to_dict() == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.375})
    assert table["s_batch"].to_dict() == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.75})
    assert table["s_overall"].to_dict() == pytest.approx({"a": 0.5, "b": 0.4, "c": 0.6 * 0.375 + 0.3})
    assert set(got.left_out) == {*BIO, *BATCH} - {"nmi", "ari", "pcr", "silhouette_batch"}
    assert "all 3 methods have 0.5" in got.left_out["cell_cycle"]


def test_what_one_method_lacks_is_left_out_for_all():
    lacking = {"pcr": "no expression", "silhouette_batch": "one batch", "graph_connectivity": "none"}
    got = overall({"a": scores_of(nmi=0.1, pcr=0.1), "b": scores_of(lacking, nmi=0.4)})
    assert got.table["s_bio"].to_dict() == {"b": 1, "a": 0}
    assert got.left_out["pcr"] == "b has none: no expression"
    assert {"s_batch", "s_overall"} <= set(got.left_out)
    assert "s_overall" not in got.table


def test_one_method_or_a_tie_in_everything_can_not_be_compared():
    with pytest.raises(UndefinedMetricError, match="at least 2; got 1"):
        overall({"a": scores_of()})
    with pytest.raises(UndefinedMetricError, match="tells these methods apart"):
        overall({"a": scores_of(), "b": scores_of()})
