"""What `livelatent labels` says to people."""

import pytest
from typer.testing import CliRunner

from livelatent.cli.labels import in_words, labels_app


@pytest.fixture
def said(own_atlas):
    own_atlas.labels.label(own_atlas.rows()[:3], "[red]new", how={"kind": "flag", "p_value": 0.00439, "action": "f9"})

    def words(step: str) -> str:
        own_atlas.labels.close()
        done = CliRunner().invoke(labels_app, [step, str(own_atlas.path)])
        assert done.exit_code == 0
        return done.output

    return words


def test_undo_and_redo_say_which_name_and_how_many_cells(said):
    assert said("undo") == "'[red]new' taken back from 3 cells.\n"
    assert said("undo") == "nothing to undo.\n"
    assert said("redo") == "'[red]new' given again to 3 cells.\n"
    assert said("redo") == "nothing to redo.\n"


def test_the_log_is_one_line_per_entry(said):
    said("undo")
    label, undo = said("log").splitlines()
    assert label.startswith("0  20") and label.endswith("3 cells  [red]new  flag, p 0.0044")
    assert undo.startswith("1  20") and "undo of 0" in undo


def test_how_cells_were_chosen_is_said_in_words():
    assert in_words({}) == ""
    flag = {"kind": "flag", "flag": 3, "target_fpr": 0.05, "p_value": 0.0123, "action": "x"}
    assert in_words(flag) == "flag 3, p 0.012, at 0.05 false alarms"
    lasso = {"kind": "lasso", "polygon": [[0, 0], [1, 0], [0, 1]], "layout_sha256": "ab"}
    assert in_words(lasso) == "lasso, 3 corners"
    assert in_words({"kind": "gene", "gene": "CD3E", "min": 1.5}) == "gene CD3E, min 1.5"
    assert in_words({"kind": "prototype", "prototype": "B cell", "radii": 1.0}) == "prototype B cell, radii 1"
    assert in_words({"kind": "prototype_cells", "prototype": "B cell"}) == "cells of prototype B cell"
    assert in_words({"kind": "prototype_nearest", "prototype": "B"}) == "cells nearest to prototype B"


def test_export_writes_a_copy_and_says_how_cells_were_matched(own_atlas, tiny_h5ad, tmp_path):
    import json
    import shutil

    own_atlas.labels.label(own_atlas.rows(), "=new")
    own_atlas.labels.close()
    mine = shutil.copy2(tiny_h5ad[0], tmp_path / tiny_h5ad[0].name)
    out = tmp_path / "out.h5ad"
    done = CliRunner().invoke(labels_app, ["export", str(own_atlas.path), str(mine), "--out", str(out), "--json"])
    assert done.exit_code == 0 and out.exists()
    facts = json.loads(done.output)
    assert facts["n_labelled"] == facts["n_cells"] == 370 and facts["matched_by"] == "row"
    done = CliRunner().invoke(labels_app, ["export", str(own_atlas.path), str(mine), "--out", str(out)])
    assert done.exit_code == 1 and "overwrite" in done.output
    table = ["export", str(own_atlas.path), str(mine), "--out", str(tmp_path / "out.csv"), "--column", "named"]
    assert "370 of 370 cells have a label in 'named'" in CliRunner().invoke(labels_app, table).output
