"""Genes that a model wants and a store lacks: how many may, and what the names tell."""

import pytest

from livelatent.atlas.genes import missing_genes
from livelatent.errors import GeneMismatchError

HUMAN = ["CD3E", "CD19", "LYZ", "NKG7"]


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (["Cd3e", "Cd19", "Lyz", "Gm123"], "another species"),
        (["ENSG00000198851", "ENSG00000177455", "ENSG00000090382"], "Ensembl id"),
        (["cg001", "cg002", "NKG7"], r"genes=model\.genes"),
    ],
)
def test_the_message_says_why_genes_are_missing(tmp_path, held, words):
    with pytest.raises(GeneMismatchError, match=words) as caught:
        missing_genes(tmp_path / "q.zarr", HUMAN, held)
    assert "first: CD3E" in str(caught.value) and str(tmp_path / "q.zarr") in str(caught.value)


def test_up_to_half_may_be_missing(tmp_path):
    assert missing_genes(tmp_path, HUMAN, ["CD19", "NKG7"]) == ("CD3E", "LYZ")


def test_a_query_that_shares_three_percent_of_the_genes_is_refused(tmp_path):
    wanted = [f"GENE{i}" for i in range(100)]
    with pytest.raises(GeneMismatchError, match="97 of the model's 100 genes"):
        missing_genes(tmp_path, wanted, [*wanted[:3], *(f"OTHER{i}" for i in range(97))])
