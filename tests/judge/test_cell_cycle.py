import numpy as np
import pytest
import scipy.sparse as sp

from livelatent.errors import GeneMismatchError
from livelatent.judge.cell_cycle import cycle_genes, phase_shares
from livelatent.judge.shared_genes import cycle_of_shared, shared_genes

S, G2M = tuple(f"S{i}" for i in range(8)), tuple(f"M{i}" for i in range(9))
GENES = [*S, *G2M, *(f"g{i}" for i in range(400))]


def cells(phase, rng):
    rate = np.concatenate([np.full(17, 0.6), np.random.default_rng(9).lognormal(0, 0.6, 400)])
    x = rng.poisson(rate, (len(phase), len(GENES))).astype(float)
    x[np.ix_(phase == "S", range(8))] += 3
    x[np.ix_(phase == "G2M", range(8, 17))] += 3
    return np.log1p(x)


def test_each_cell_is_in_the_phase_whose_genes_it_has():
    rng = np.random.default_rng(0)
    phase = np.repeat(["S", "G2M", "G1"], [20, 30, 50])
    x = cells(phase, rng)
    genes = cycle_genes({"S": S, "G2M": G2M}, GENES, x.mean(axis=0))
    scores = genes.scores(sp.csr_matrix(x))
    assert (scores[0, :20] > 0.3).all()
    assert (scores[1, 20:50] > 0.3).all()
    # Cells at rest have less of the phase's genes than the mean, which its controls are matched to.
    assert (scores[:, 50:].mean(axis=1) < 0).all()
    assert phase_shares(scores)["G1"] > 0.35
    shares = phase_shares(scores[:, :50])
    assert shares["S"] == pytest.approx(0.4)
    assert shares["G2M"] == pytest.approx(0.6)


def test_a_types_score_is_the_mean_of_its_cells_scores():
    rng = np.random.default_rng(1)
    x = cells(np.repeat(["S", "G1"], [10, 15]), rng)
    genes = cycle_genes({"S": S, "G2M": G2M}, GENES, x.mean(axis=0))
    np.testing.assert_allclose(genes.scores(x.mean(axis=0)[None])[:, 0], genes.scores(x).mean(axis=1))


def test_controls_are_other_genes_of_like_expression():
    rng = np.random.default_rng(2)
    mean = rng.random(len(GENES))
    mean[:17] = 0.9
    genes = cycle_genes({"S": S, "G2M": G2M}, GENES, mean)
    for own, control in zip(genes.genes, genes.controls, strict=True):
        assert not np.isin(control, own).any()
        assert mean[control].min() > 0.75


def test_genes_are_found_in_any_case_and_as_written_first():
    mean = np.arange(6.0)
    lists = {"S": ("PCNA", "Mcm5"), "G2M": ("TOP2A", "not there")}
    found = cycle_genes(lists, ["Pcna", "x", "MCM5", "Mcm5", "top2a", "y"], mean).genes
    assert [own.tolist() for own in found] == [[0, 3], [4]]
    with pytest.raises(GeneMismatchError, match=r"none of the 2 G2M genes \(first: TOP2A, not there\)"):
        cycle_genes(lists, ["PCNA", "x", "y"], mean[:3])
    with pytest.raises(GeneMismatchError, match="of 2 genes none is left to compare the S genes with"):
        cycle_genes({"S": ("PCNA", "TOP2A"), "G2M": ("TOP2A",)}, ["PCNA", "TOP2A"], mean[:2])


def test_too_few_shared_genes_are_a_reason_in_words():
    shared = shared_genes([*S, "a", *G2M[:4], "b"], ["b", *G2M, *S[:3], "c", *S[3:]])
    assert shared.names == (*S, *G2M[:4], "b")
    assert [shared.names[i] for i in np.argsort(shared.in_query)] == ["b", *G2M[:4], *S]
    cycle, why = cycle_of_shared({"S": S, "G2M": G2M}, shared, np.ones(len(shared.names)))
    assert cycle is None
    assert "4 of the 9 G2M genes are measured" in why[0]
