import pytest

from livelatent.errors import SourceError
from livelatent.judge.cycle_lists import cycle_lists

WANTED = {"S": ("MCM4", "PCNA"), "G2M": ("TOP2A", "CDK1")}


@pytest.mark.parametrize(
    "text",
    [
        "G1/S\tcell cycle\tMCM4\t PCNA\n\nG2/M\t\tTOP2A\tCDK1\tTOP2A\t\n",
        "other\tx\tCD3E\ng2m_genes\t\tTOP2A\tCDK1\nS.GENES\t\tMCM4\tPCNA\n",
        "early\tx\tMCM4\tPCNA\nlate\tx\tTOP2A\tCDK1\n",
    ],
)
def test_a_gmt_file_names_its_phases_in_any_spelling_or_holds_two_sets(tmp_path, text):
    (tmp_path / "cycle.gmt").write_text(text)
    assert cycle_lists(tmp_path / "cycle.gmt") == WANTED
    assert cycle_lists(str(tmp_path / "cycle.gmt")) == WANTED


def test_a_mapping_or_two_lists_do_as_well():
    assert cycle_lists({"g2/m": ["TOP2A", "CDK1"], "S": ("MCM4", " PCNA", ""), "x": []}) == WANTED
    assert cycle_lists((["MCM4", "PCNA"], ("TOP2A", "CDK1"))) == WANTED


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"S": "MCM4", "G2M": ["TOP2A"]},
            "mapping of cell-cycle genes: S: a list of gene names was wanted; got 'MCM4'",
        ),
        ({"S": ["MCM4"], "G2M": [" "]}, "G2M: the list has no gene"),
        ({"S": ["MCM4"]}, r"named S \(or G1/S\) and G2M \(or G2/M\) are wanted; it has S\."),
        ({"early": ["MCM4"], "late": ["TOP2A"]}, "it has early, late"),
        ({"S": ["MCM4"], "G1/S": ["PCNA"], "G2M": ["TOP2A"]}, "S genes are there twice"),
    ],
)
def test_what_names_no_phase_is_refused(source, message):
    with pytest.raises(SourceError, match=message):
        cycle_lists(source)


def test_a_file_without_both_phases_is_named(tmp_path):
    (tmp_path / "cycle.gmt").write_text("S\tx\tMCM4\n")
    with pytest.raises(SourceError, match=r"cycle\.gmt.*named S .* and G2M"):
        cycle_lists(tmp_path / "cycle.gmt")
    with pytest.raises(SourceError, match=r"gone\.gmt can't be read.*GMT file"):
        cycle_lists(tmp_path / "gone.gmt")


def test_the_published_sets_can_be_read(shared_data):
    path = shared_data.parent / "genesets" / "cell_cycle_human.gmt"
    if not path.exists():
        pytest.skip(f"the gene sets are not at hand ({path})")
    found = cycle_lists(path)
    assert {"PCNA", "MCM5"} <= set(found["S"])
    assert {"TOP2A", "MKI67"} <= set(found["G2M"])
