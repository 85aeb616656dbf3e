import numpy as np
import pytest
import scipy.sparse as sp

from livelatent.errors import SourceError
from livelatent.judge.cell_cycle import cycle_genes, phase_shares, read_cycle_lists

S, G2M = tuple(f"S{i}" for i in range(8)), tuple(f"M{i}" for i in range(9))
GENES = [*S, *G2M, *(f"g{i}" for i in range(400))]


def cells(phase, rng):
    x = rng.poisson(0.6, (len(phase), len(GENES))).astype(float)
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
    assert np.abs(scores[:, 50:].mean(axis=1)).max() < 0.15
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
    for control in genes.controls:
        assert (control >= 17).all()
        assert mean[control].min() > 0.75
    assert cycle_genes({"S": S[:4], "G2M": G2M}, GENES, mean) is None


def test_lists_are_read_from_a_gmt_file_under_either_spelling(tmp_path):
    file = tmp_path / "cycle.gmt"
    file.write_text("G1/S\tcell cycle\tA\tB\t\nother\tx\tC\nG2M_GENES\t\tD\n")
    assert read_cycle_lists(file) == {"S": ("A", "B"), "G2M": ("D",)}
    file.write_text("S\tx\tA\n")
    with pytest.raises(SourceError, match=r"cycle\.gmt.*named S .* and G2M"):
        read_cycle_lists(file)
    with pytest.raises(SourceError, match="GMT file"):
        read_cycle_lists(tmp_path / "gone.gmt")
