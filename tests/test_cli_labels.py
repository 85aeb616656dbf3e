"""What `livelatent labels` says to people."""

import pytest
from typer.testing import CliRunner

from livelatent.cli_labels import in_words, labels_app


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
    assert in_words({"kind": "lasso", "polygon": [[0, 0]]}) == "lasso"
    assert in_words({}) == ""
