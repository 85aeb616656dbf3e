"""What a view knows of each cell, as a table for whoever goes on with it."""

from typing import TYPE_CHECKING

import numpy as np

from livelatent.session.state import NO_CODE

if TYPE_CHECKING:
    import pandas as pd

    from livelatent.session.live import LiveSession

__all__ = ["board_table"]


def board_table(session: "LiveSession") -> "pd.DataFrame":
    """One row per cell of the session's atlas, by name: label, novelty_p, flag, predicted."""
    import pandas as pd

    atlas, board, shown = session.atlas, session.board, session.latent_map()
    novelty, flag = np.full(atlas.n_cells, np.nan), np.zeros(atlas.n_cells, np.int64)
    predicted = np.full(atlas.n_cells, None, dtype=object)
    scored = board.novelties[0]
    if scored is not None:
        novelty[np.asarray(scored.rows)] = scored.p_value
    for one in board.flags:
        if not one.is_query:
            flag[one.rows] = one.id
    own = (shown.is_query == 0) & (shown.predicted != NO_CODE)
    if len(shown.cell):
        names = np.array([*shown.predicted_names, None], dtype=object)
        predicted[shown.cell[own]] = names[shown.predicted[own]]
    columns = {"label": pd.Categorical(atlas.labels.shown()), "novelty_p": novelty, "flag": flag}
    index = pd.Index([str(name) for name in atlas.obs.index], dtype=object)
    return pd.DataFrame(columns | {"predicted": pd.Categorical(predicted)}, index=index)
