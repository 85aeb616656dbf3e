"""Genes of several sources in one store: which are kept, where they go, what names tell where they do not fit."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.atlas.genes import gene_map, gene_report, joined_genes, missing_genes
from livelatent.errors import GeneMismatchError

HUMAN = ["CD3E", "CD19", "LYZ", "NKG7"]
IDS = ["ENSG00000198851", "ENSG00000177455", "ENSG00000090382"]
names = st.lists(st.sampled_from("ABCDEFGH"), min_size=1, max_size=10).map(tuple)


def source(genes, name="a.h5ad"):
    return SimpleNamespace(name=name, path=Path("/data") / name, genes=tuple(genes))


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (["Cd3e", "Cd19", "Lyz", "Gm123"], "another species"),
        (IDS, "Ensembl id"),
        (["cg001", "cg002", "NKG7"], r"genes=model\.genes"),
    ],
)
def test_the_message_says_why_genes_are_missing(tmp_path, held, words):
    with pytest.raises(GeneMismatchError, match=words) as caught:
        missing_genes(tmp_path / "q.zarr", HUMAN, held)
    assert "first: CD3E" in str(caught.value) and str(tmp_path / "q.zarr") in str(caught.value)


def test_versions_of_ensembl_ids_are_told_from_missing_genes(tmp_path):
    with pytest.raises(GeneMismatchError, match=r"3 of them are there when the version of Ensembl ids"):
        missing_genes(tmp_path / "q.zarr", IDS, [f"{gene}.12" for gene in IDS])


def test_up_to_half_may_be_missing(tmp_path):
    assert missing_genes(tmp_path, HUMAN, ["CD19", "NKG7"]) == ("CD3E", "LYZ")


def test_a_query_that_shares_three_percent_of_the_genes_is_refused(tmp_path):
    wanted = [f"GENE{i}" for i in range(100)]
    with pytest.raises(GeneMismatchError, match="97 of the model's 100 genes"):
        missing_genes(tmp_path, wanted, [*wanted[:3], *(f"OTHER{i}" for i in range(97))])


@settings(deadline=None)
@given(sources=st.lists(names, min_size=1, max_size=4))
def test_inner_is_what_all_share_and_outer_what_any_has_each_once_in_the_first_ones_order(sources):
    every = [source(genes, f"s{i}") for i, genes in enumerate(sources)]
    shared = [g for g in dict.fromkeys(sources[0]) if all(g in genes for genes in sources)]
    united = list(dict.fromkeys(g for genes in sources for g in genes))
    try:
        assert list(joined_genes(every, "outer", duplicates="sum")) == united
        assert list(joined_genes(every, "inner", duplicates="sum")) == shared
    except GeneMismatchError:
        assert not shared


@settings(deadline=None)
@given(genes=names, chosen=names)
def test_counts_moved_by_the_map_are_those_of_equal_names_summed(genes, chosen):
    chosen = tuple(dict.fromkeys(chosen))
    counts = np.arange(1, len(genes) + 1) ** 2
    moved = np.zeros(len(chosen), int)
    place = gene_map(source(genes), chosen)
    np.add.at(moved, place[place >= 0], counts[place >= 0])
    assert moved.tolist() == [sum(c for c, g in zip(counts, genes, strict=True) if g == gene) for gene in chosen]
    assert place.dtype == np.int64


def test_a_name_for_two_genes_is_refused_where_it_is_kept_and_nowhere_else():
    one, two = source(["CD3E", "LYZ", "LYZ", "TBCE"]), source(["LYZ", "TBCE"], "b.h5ad")
    with pytest.raises(GeneMismatchError, match=r'/data/a\.h5ad: 1 gene names stand for more.*LYZ.*duplicates="sum"'):
        joined_genes([one, two])
    assert joined_genes([one, two], duplicates="sum") == ("LYZ", "TBCE")
    assert joined_genes([one, two], genes=["TBCE"]) == ("TBCE",)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (HUMAN, ["Cd3e", "Cd19", "Lyz", "Gm123"], "two species"),
        (HUMAN, IDS, r"b\.h5ad names genes by Ensembl id, a\.h5ad by symbol.*gene_names"),
        (IDS, [f"{gene}.7" for gene in IDS], "version of Ensembl ids"),
    ],
)
@pytest.mark.parametrize("join", ["inner", "outer"])
def test_names_that_differ_in_kind_are_not_joined(one, other, words, join):
    with pytest.raises(GeneMismatchError, match=words):
        joined_genes([source(one), source(other, "b.h5ad")], join)


def test_the_report_says_what_became_of_each_sources_genes():
    one, two = source(["A", "B", "B", "C", *(f"X{i}" for i in range(9))]), source(["D", "C", "A"], "b.h5ad")
    report = gene_report([one, two], ("A", "B", "D", "C"))
    assert report.to_dict("records") == [
        {
            "source": "a.h5ad",
            "genes": 13,
            "kept": 4,
            "dropped": 9,
            "missing": 1,
            "summed": 1,
            "dropped_names": "X0, X1, X2, X3, X4, ...",
            "missing_names": "D",
            "summed_names": "B",
        },
        {
            "source": "b.h5ad",
            "genes": 3,
            "kept": 3,
            "dropped": 0,
            "missing": 1,
            "summed": 0,
            "dropped_names": "",
            "missing_names": "B",
            "summed_names": "",
        },
    ]


def test_a_file_that_measured_a_part_of_the_genes_asked_for_is_not_blamed_on_its_species():
    with pytest.raises(GeneMismatchError, match=r"measured fewer genes.*Ingest all files together"):
        joined_genes([source(("g1", "g2", "x"))], "inner", genes=tuple(f"g{i}" for i in range(10)))
