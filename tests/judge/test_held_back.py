import numpy as np
import torch

from livelatent.judge.heads import raw_genes
from livelatent.judge.held_back import inner_folds, score_held_back, untrained


def test_three_batches_are_held_back_whole_in_halves_of_like_size_and_fewer_are_not():
    batch = np.repeat([0, 4, 2, 7], [50, 20, 40, 12])
    label = np.arange(122) % 3
    fold, by = inner_folds(label, batch)
    assert by == "batches"
    assert all(len(np.unique(fold[batch == code])) == 1 for code in np.unique(batch))
    # 50 + 12 against 40 + 20.
    assert np.bincount(fold).tolist() == [62, 60]
    fold, by = inner_folds(label, np.repeat([0, 4], [61, 61]))
    assert by == "types"
    assert np.abs(np.diff(np.bincount(fold * 3 + label, minlength=6))).max() <= 1


def test_an_untrained_twin_has_the_starting_weights_and_the_trained_ones_buffers(trained):
    twin = untrained(trained)
    fresh = type(trained)(trained.config)
    weight = "encoder.1.weight"
    assert torch.equal(twin.state_dict()[weight], fresh.state_dict()[weight])
    assert not torch.equal(twin.state_dict()[weight], trained.state_dict()[weight])
    assert torch.equal(twin.reference, trained.reference) and trained.reference.any()


def test_held_back_cells_are_scored_without_their_batch_and_types_that_the_rest_lacks_are_not(trained, hidden_atlas):
    rows = hidden_atlas.rows(labelled=True)
    held = score_held_back(trained, hidden_atlas, rows, raw_genes(hidden_atlas, rows), retrain=True, max_epochs=2)
    # NK cells are in donor 1 alone, so no fold knows them from another donor.
    nk = hidden_atlas.label_names.index("NK cell")
    assert held.by == "batches"
    assert nk not in held.label
    assert len(held.label) == (hidden_atlas.label[rows] != nk).sum()
    assert set(held.fold) == {0, 1}
    assert (held.log_proba.argmax(axis=2) == held.label).mean(axis=1).min() > 0.8


def test_the_quick_way_asks_the_model_itself_of_cells_it_has_not_learnt_from(trained, hidden_atlas):
    rows = hidden_atlas.rows(labelled=True)
    held = score_held_back(trained, hidden_atlas, rows, raw_genes(hidden_atlas, rows), retrain=False)
    assert held.by == "calibration"
    assert len(held.label) == (hidden_atlas.split[rows] != "train").sum()
