import numpy as np
import pytest

from livelatent.errors import GeneMismatchError
from livelatent.models.gene_sets import select_gene_sets

GENES = [f"G{i}" for i in range(40)]


def test_sets_are_chosen_by_their_share_of_the_models_genes():
    # Equation 2.6 on a toy: of 40 genes read, sets of 11 to 30 of them and some others.
    sets = {
        "half": [*GENES[:20], *(f"x{i}" for i in range(20))],  # Q = 20 / 40
        "most": [*GENES[10:22], "x1", "x2", "x3"],  # 12 / 15
        "few": GENES[:10],  # all, but 10 are not more than 10
        "eleven": [*GENES[29:40], *GENES[29:40], *(f"y{i}" for i in range(3))],  # 11 / 14, each twice
        "huge": [*GENES, *(f"z{i}" for i in range(260))],  # 300 genes in all are not fewer than 300
        "large": [*GENES, *(f"z{i}" for i in range(259))],  # 40 / 299
    }
    chosen = select_gene_sets(sets, GENES)
    assert chosen.names == ("most", "eleven", "half", "large")
    assert chosen.share.tolist() == [12 / 15, 11 / 14, 20 / 40, 40 / 299]
    for name, mask in zip(chosen.names, chosen.masks, strict=True):
        assert {GENES[at] for at in np.flatnonzero(mask)} == set(sets[name]) & set(GENES)
    assert select_gene_sets(sets, GENES, n_sets=2).names == ("most", "eleven")


def test_sets_of_another_species_say_so():
    with pytest.raises(GeneMismatchError, match=r"model's begin with G0, G1, G2, the first set with Cd3e, Cd8a"):
        select_gene_sets({"T": ["Cd3e", "Cd8a"]}, GENES)


@pytest.mark.parametrize(
    ("sets", "message"), [({}, "there is no set"), ({"T": GENES[:20], "B": "G1 G2"}, "the set 'B' is one text")]
)
def test_what_is_no_set_is_refused(sets, message):
    with pytest.raises(ValueError, match=message):
        select_gene_sets(sets, GENES)
