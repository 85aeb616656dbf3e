"""Labels rolled up: the most precise name that a cell's probabilities support."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livelatent.arrays import Bool, Float, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError

__all__ = ["LabelTree", "read_tree", "tree_of_column"]


@dataclass(frozen=True)
class LabelTree:
    """Each name's parent; names that are nobody's child are roots.

    Examples
    --------
    >>> tree = LabelTree({"CD4 T": "T", "CD8 T": "T", "T": "lymphocyte", "B": "lymphocyte"})
    >>> tree.path("CD4 T")
    ('CD4 T', 'T', 'lymphocyte')
    """

    parent: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.parent, Mapping) or not all(
            isinstance(name, str) for pair in self.parent.items() for name in pair
        ):
            raise LabelError(
                'a label tree maps each label to the name of its parent ({"CD4 T": "T", "T": "lymphocyte"}); got '
                f"{str(self.parent)[:80]!r}."
            )
        for name in self.parent:
            self.path(name)

    def path(self, name: str) -> tuple[str, ...]:
        """The name and its ancestors, the root last.

        Raises
        ------
        LabelError
            If it is its own ancestor.
        """
        found = [name]
        while (above := self.parent.get(found[-1])) is not None:
            if above in found:
                raise LabelError(
                    f"the label tree goes in a circle: {' -> '.join([*found, above])}. Give each name one parent, and "
                    "the topmost none."
                )
            found.append(above)
        return tuple(found)

    def nodes(self, names: Sequence[str]) -> tuple[str, ...]:
        """The labels and all their ancestors, deepest first, else by name."""
        every = {node for name in names for node in self.path(name)}
        return tuple(sorted(every, key=lambda node: (-len(self.path(node)), node)))

    def members(self, names: Sequence[str]) -> Bool[ndarray, "node label"]:
        """Which labels lie at or below each node."""
        return np.array([[node in self.path(name) for name in names] for node in self.nodes(names)])

    def roll_up(
        self, proba: Float[ndarray, "cell label"], names: Sequence[str], threshold: float = 0.5
    ) -> tuple[ndarray, Float[ndarray, " cell"]]:
        """The deepest node of each cell whose probability reaches the threshold, and that probability.

        Parameters
        ----------
        names
            Of the labels, in the order of `proba`. A label that the tree does not name is a root of its own.

        Returns
        -------
        Node names, None where no node reaches the threshold, and probabilities: that of the node, or of the most
        likely root where there is none.

        Raises
        ------
        ValueError
            If the threshold is not in (0, 1].
        LabelError
            If none of the labels is in the tree.

        Notes
        -----
        A node's probability is the sum over the labels at or below it. Of several nodes of one depth the most likely
        is taken, which matters below a threshold of a half only.
        """
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold is a probability in (0, 1]; got {threshold}.")
        if not any(name in self.parent for name in names):
            raise LabelError(
                f"the label tree names none of the model's labels ({', '.join(names[:5])}); its own are "
                f"{', '.join(list(self.parent)[:5])}. Map each label to its parent."
            )
        nodes = self.nodes(names)
        depth = np.array([len(self.path(node)) for node in nodes])
        node_proba = proba @ self.members(names).T.astype(np.float64)
        # Rounding must not keep a root of all labels below a threshold of 1.
        reaches = node_proba >= threshold - 1e-9
        best = np.argmax(np.where(reaches, depth + np.minimum(node_proba, 1) / 2, -1), axis=1)
        any_reach = reaches.any(axis=1)
        roots = depth == 1
        cells = np.arange(len(proba))
        # The last answers a cell that no node reaches.
        found = np.array([*nodes, None], dtype=object)[np.where(any_reach, best, len(nodes))]
        return found, np.where(any_reach, node_proba[cells, best], node_proba[:, roots].max(axis=1))


def tree_of_column(atlas: Atlas, column: str) -> LabelTree:
    """The tree of one level that an obs column spans over the labels.

    Raises
    ------
    LabelError
        If cells of one label have several values there.
    ColumnError
        If there is no such column.
    """
    found = atlas.obs_column(column)
    if found.names is None:
        raise LabelError(f"{atlas.path}: obs[{column!r}] holds numbers; a label tree is made of names.")
    parent: dict[str, str] = {}
    for code, name in enumerate(atlas.label_names):
        above = np.unique(found.values[np.asarray(atlas.label) == code])
        above = above[above >= 0]
        if len(above) > 1:
            several = ", ".join(str(found.names[one]) for one in above[:3])
            raise LabelError(
                f"{atlas.path}: cells of {name!r} have several values in obs[{column!r}] ({several}). Give a "
                "dictionary of each label's parent instead."
            )
        if len(above) and str(found.names[above[0]]) != name:
            parent[name] = str(found.names[above[0]])
    return LabelTree(parent)


def read_tree(path: Path) -> LabelTree:
    """The tree in a JSON file: one object that names each label's parent.

    Raises
    ------
    LabelError
        If it is something else, or goes in a circle.
    """
    try:
        parent = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabelError(f'{path} is no JSON ({error}). Write an object such as {{"CD4 T": "T"}}.') from error
    if not isinstance(parent, dict) or not all(isinstance(name, str) for name in parent.values()):
        raise LabelError(
            f'{path}: an object of names was wanted, such as {{"CD4 T": "T"}}, each label with its parent; got '
            f"{str(parent)[:60]!r}."
        )
    try:
        return LabelTree(parent)
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error
