import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from livelatent.session.live import LiveSession
from livelatent.session.moments import MOST, Album, MomentError, knn_accuracy
from livelatent.widget.frames import quantised
from watched import small_run


@pytest.fixture
def session(own_atlas, tmp_path):
    session = LiveSession(small_run(own_atlas, tmp_path / "run"))
    yield session
    session.run.stop()
    session.close()
    own_atlas.labels.close()


def test_two_moments_hold_the_map_and_the_losses_of_their_own_steps(session):
    with pytest.raises(MomentError, match="no map yet"):
        session.keep()
    version = session.versions()["moments"]
    kept = []
    for n_steps in (2, 3):
        for _ in range(n_steps):
            session.run.step()
        session.settle(timeout_s=0.0)
        kept.append((session.keep(), session.latent_map()))
        session.run.step()  # what comes after a look is not of its moment
    assert session.versions()["moments"] == version + 2
    assert [moment.step for moment, _ in kept] == [2, 6]
    for moment, shown in kept:
        np.testing.assert_array_equal(moment.xy, quantised(shown.xy, shown.bounds))
        np.testing.assert_array_equal(moment.cell, shown.cell)
        assert moment.layout == shown.layout
        losses = {(name, split): value for name, split, value in moment.values}
        steps, values = session.run.history.series("type", "train")
        assert losses["type", "train"] == pytest.approx(values[steps <= moment.step].mean())
        assert 0 <= moment.knn_accuracy <= 1
    first, second = kept[0][0], kept[1][0]
    n_steps = -(-len(session.atlas.rows("train", labelled=True)) // 100)
    assert (first.epoch, second.epoch) == (None, 6 // n_steps)
    assert first.stage == "representation"
    assert (first.xy != second.xy).any()
    topic = session.topic("moments")
    assert topic.moments == (first, second) and topic.most == MOST


def test_a_map_is_kept_once_and_what_was_dropped_makes_room(session):
    session.settle(timeout_s=0.0)
    assert session.answer("1", "keep", {}).result["step"] == 0
    refused = session.answer("2", "keep", {})
    assert not refused.ok and "kept already" in refused.error
    while len(session.album.moments().moments) < MOST:
        session.sight.version += 1
        session.lookout._looks.map()
        session.keep()
    session.lookout._looks.map()
    assert "drop one first" in session.answer("3", "keep", {}).error
    first = session.album.moments().moments[0]
    assert session.answer("4", "drop_moment", {"moment": first.id}).ok
    assert "no moment" in session.answer("5", "drop_moment", {"moment": first.id}).error
    ids = [moment.id for moment in session.album.moments().moments]
    assert session.keep().id not in [first.id, *ids]  # no number comes twice


@pytest.mark.parametrize("n_cells", [40, 3_000])
def test_knn_accuracy_is_that_of_scikit_learn_on_cells_with_a_label(n_cells):
    random = np.random.default_rng(2)
    label = random.choice(4, n_cells, p=[0.5, 0.25, 0.15, 0.1]) - 1
    latent = (random.normal(size=(n_cells, 3)) + 0.9 * label[:, None]).astype(np.float32)
    known = np.flatnonzero(label >= 0)
    asked = known[np.unique(np.linspace(0, len(known) - 1, min(2_000, len(known))).astype(int))]
    right = 0
    reference = KNeighborsClassifier(15).fit(latent[known], label[known])
    # Each asked cell is its own first neighbour there, so its vote is left out by asking for one more.
    _, index = reference.kneighbors(latent[asked], 16)
    for cell, neighbours in zip(asked, index, strict=True):
        others = [one for one in known[neighbours] if one != cell][:15]
        right += np.bincount(label[others]).argmax() == label[cell]
    assert knn_accuracy(latent, label) == pytest.approx(right / len(asked))


def test_of_one_type_there_is_no_accuracy():
    assert knn_accuracy(np.eye(5, dtype=np.float32), np.array([-1, 0, 0, 0, -1])) is None
    assert Album().moments().moments == ()
