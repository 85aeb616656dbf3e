import json

import numpy as np
import pytest

from livelatent.atlas.columns import obs_column
from livelatent.errors import LabelError
from livelatent.judge.label_tree import LabelTree, read_tree, tree_of_column

TREE = LabelTree({"CD4": "T", "CD8": "T", "T": "lymphocyte", "B": "lymphocyte", "mono": "myeloid"})
NAMES = ("B", "CD4", "CD8", "mono", "odd")


@pytest.mark.parametrize(
    ("proba", "threshold", "node", "probability"),
    [
        ([0.05, 0.7, 0.2, 0.05, 0.0], 0.5, "CD4", 0.7),
        ([0.05, 0.45, 0.4, 0.1, 0.0], 0.5, "T", 0.85),
        ([0.4, 0.3, 0.2, 0.1, 0.0], 0.6, "lymphocyte", 0.9),
        ([0.3, 0.1, 0.1, 0.4, 0.1], 0.6, None, 0.5),
        ([0.1, 0.1, 0.1, 0.1, 0.6], 0.5, "odd", 0.6),
        ([0.0, 0.35, 0.33, 0.32, 0.0], 0.3, "CD4", 0.35),
        ([0.2, 0.5, 0.3, 0.0, 0.0], 1.0, "lymphocyte", 1.0),
    ],
)
def test_the_deepest_node_that_reaches_the_threshold_is_taken(proba, threshold, node, probability):
    nodes, found = TREE.roll_up(np.array([proba]), NAMES, threshold)
    assert nodes.tolist() == [node]
    np.testing.assert_allclose(found, [probability])


def test_a_circle_a_foreign_tree_and_a_threshold_of_0_are_refused():
    with pytest.raises(LabelError, match="a -> b -> a"):
        LabelTree({"a": "b", "b": "a"})
    with pytest.raises(LabelError, match="names none of the model's labels"):
        LabelTree({"neuron": "brain"}).roll_up(np.ones((1, 5)) / 5, NAMES)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        TREE.roll_up(np.ones((1, 5)) / 5, NAMES, 0.0)


def test_a_column_of_obs_gives_one_level_and_is_refused_where_a_label_has_two_values(own_atlas):
    lineage = own_atlas.true_labels.astype(object).copy()
    lineage[np.isin(lineage, ["T cell", "B cell", "NK cell"])] = "lymphoid"
    own_atlas.obs["lineage"] = lineage
    own_atlas.obs_column = lambda name: obs_column(own_atlas.obs[name])
    assert tree_of_column(own_atlas, "lineage").parent == dict.fromkeys(("B cell", "NK cell", "T cell"), "lymphoid")
    with pytest.raises(LabelError, match="have several values in obs\\['donor'\\]"):
        tree_of_column(own_atlas, "donor")


def test_a_file_holds_one_object_of_names(tmp_path):
    (tmp_path / "tree.json").write_text(json.dumps({"CD4": "T"}))
    assert read_tree(tmp_path / "tree.json").path("CD4") == ("CD4", "T")
    for text in ("[1]", '{"a": 1}', "{"):
        (tmp_path / "tree.json").write_text(text)
        with pytest.raises(LabelError, match=r"tree\.json"):
            read_tree(tmp_path / "tree.json")
