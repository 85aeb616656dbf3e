import numpy as np

from livelatent.judge.classifier import annotate
from livelatent.models.weights import load_model


def test_validation_cells_get_their_own_label_mostly(trained, hidden_atlas):
    rows = hidden_atlas.rows("validation", labelled=True)
    table = annotate(trained, hidden_atlas, rows)
    assert list(table.columns) == ["label", "probability", "runner_up", "novelty_p", "assigned"]
    assert table.index.tolist() == hidden_atlas.obs.index[rows].tolist()
    assert (table["label"] == hidden_atlas.true_labels[rows]).mean() > 0.9
    assert table["probability"].between(1 / 3, 1).all()
    assert (table["label"] != table["runner_up"]).all()
    assert set(table["label"]) | set(table["runner_up"]) <= {"T cell", "monocyte", "NK cell"}


def test_every_cell_is_named_whatever_the_slab_and_a_loaded_model_names_them_the_same(
    trained, hidden_atlas, monkeypatch
):
    whole = annotate(trained, hidden_atlas)
    assert len(whole) == hidden_atlas.n_cells
    monkeypatch.setattr("livelatent.judge.classifier.SLAB_CELLS", 100)
    again = annotate(load_model(trained.folder), hidden_atlas)
    assert whole["label"].equals(again["label"])
    np.testing.assert_allclose(whole["probability"], again["probability"], rtol=1e-4)


def test_no_rows_are_an_empty_table(trained, hidden_atlas):
    assert annotate(trained, hidden_atlas, np.empty(0, np.int64)).shape == (0, 5)
