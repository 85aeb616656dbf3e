"""Cells that quality control masks: who leaves them out, and who keeps them."""

import numpy as np
import pytest

import livelatent as ll
from livelatent.atlas import Atlas
from livelatent.atlas.layout import KEPT
from livelatent.judge.scorecard import five_fold
from livelatent.train.loop import stage_rows, train


def test_training_and_novelty_leave_them_out_and_embedding_and_annotation_keep_them(tiny_h5ad, tmp_path) -> None:
    # No batch, so that none is held back: that would be most of the fitting.
    own_atlas = ll.ingest(tiny_h5ad, tmp_path / "a.zarr", label="cell_type", unlabelled=["unassigned"], seed=7)
    kept = np.random.default_rng(0).random(607) < 0.8
    own_atlas.obs[KEPT] = kept
    model = ll.Cellular(own_atlas, n_genes=60, n_latent=4)
    for split in ("train", "validation"):
        assert kept[stage_rows(model, own_atlas, model.stages[0], split, None)].all()
    for _ in train(model, own_atlas, epochs=1, device="cpu"):
        pass
    reference = ll.fit_reference(model, own_atlas)
    assert kept[reference.expression.reference].all() and kept[reference.expression.calibration].all()
    novelty = ll.find_novel(model, own_atlas)
    assert kept[novelty.rows].all() and novelty.rows.size
    assert ll.embed(model, own_atlas, device="cpu").shape == (607, 4)
    assert len(ll.annotate(model, own_atlas)) == 607


def test_no_fold_holds_one(own_atlas: Atlas) -> None:
    own_atlas.obs[KEPT] = kept = np.arange(607) % 5 > 0

    def make_model(atlas: Atlas, rows: np.ndarray) -> ll.Cellular:
        assert kept[rows].all() and abs(rows.size - 0.8 * (kept & (atlas.label >= 0)).sum()) < 1
        raise InterruptedError

    with pytest.raises(InterruptedError):
        five_fold(own_atlas, make_model)
