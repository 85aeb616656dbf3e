"""`livelatent qc`, as a person or a script runs it."""

import numpy as np
import pytest
from test_cli import answer, livelatent
from typer.testing import CliRunner

from livelatent.atlas import Atlas
from livelatent.atlas.qc import qc
from livelatent.cli import app


def test_it_says_what_the_library_finds_and_changes_nothing(own_atlas, tmp_path):
    found = qc(own_atlas, n_mads={"n_genes": 3, "total": 3, "pct_top20": 2})
    said = answer(
        *("qc", own_atlas.path, "--figure", tmp_path / "qc.png"),
        *("--mads", "3", "--mads", "pct_top20=2", "--mads", "pct_mito=5"),
    )
    assert said["cells_removed"] == int((~found.kept).sum()) > 0
    assert said["genes_removed"] == int((~found.kept_genes).sum()) > 0
    by = {one["criterion"]: one for one in said["criteria"]}
    assert list(by) == ["n_genes", "total", "pct_mito", "pct_top20"]
    assert by["pct_top20"]["high"] == pytest.approx(found.criteria[3].high)
    assert by["pct_mito"]["low"] is None and "no gene's name begins with" in by["pct_mito"]["note"]
    assert (tmp_path / "qc.png").read_bytes().startswith(b"\x89PNG")
    assert Atlas.open(own_atlas.path).kept.all() and not said["applied"]


def test_applied_it_masks_and_info_says_so(own_atlas):
    done = livelatent("qc", own_atlas.path, "--apply", "--mads", "3", "--min-cells", "50")
    assert done.returncode == 0, done.stderr
    atlas = Atlas.open(own_atlas.path)
    n_cells, n_genes = int(atlas.kept.sum()), int(atlas.kept_genes.sum())
    assert n_cells < 607 and n_genes < 300
    assert f"{607 - n_cells} of 607 cells and {300 - n_genes} of 300 genes are masked." in done.stdout
    assert "skipped" in done.stdout and "not cut" in done.stdout
    facts = answer("info", own_atlas.path)
    assert (facts["cells_kept"], facts["genes_kept"]) == (n_cells, n_genes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mads", "many"], "5 or pct_mito=8"),
        (["--mads", "mito=5"], "pct_mito and pct_top20"),
        (["--mads", "-1"], "a number above 0"),
        (["--figure", "qc.bmp"], ".png, .svg or .pdf"),
    ],
)
def test_what_it_cannot_use_it_names(own_atlas, words, said):
    done = CliRunner().invoke(app, ["qc", str(own_atlas.path), *words])
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert np.array(Atlas.open(own_atlas.path).kept).all()
