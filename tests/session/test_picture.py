from dataclasses import replace

import numpy as np
import pytest

from livelatent.session.picture import category_colours, draw, write_png
from livelatent.session.state import Curves, FlagList, LatentMap, PrototypeView, Status

HOSTILE = ("$\\frac{1}{0}$", "</script>", "x" * 500, "γδ T", "")


def _map(n, names=HOSTILE):
    random = np.random.default_rng(1)
    zero = np.zeros(n, np.int64)
    return LatentMap(
        panel=1, layout=1, moved=None, age_s=0.0, n_total=n, xy=random.normal(size=(n, 2)).astype(np.float32),
        cell=np.arange(n), is_query=zero, label=np.arange(n) % (len(names) + 1) - 1, predicted=zero - 1, batch=zero,
        given=zero - 1, p_value=np.full(n, np.nan, np.float32), flag=(np.arange(n) < n // 10).astype(np.int64),
        label_names=names,
    )  # fmt: skip


def _texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("n", [0, 1, 2, 400])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_number_of_cells_with_any_names_can_be_drawn(n, tmp_path):
    path = write_png(
        [Status(store=HOSTILE[0]), Curves(), _map(n), PrototypeView(), FlagList()], tmp_path / "p.png", dpi=40
    )
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_a_session_names_its_types_flags_and_curves(finished):
    texts = _texts(draw(finished.topics()))
    table = finished.prototypes()
    assert set(finished.atlas.label_names) <= set(texts)
    assert f"flag {finished.board.flags[0].id}" in texts and set(table.names) <= set(texts)
    assert {"Map", "Learning", "Prototypes", "Flags", "type", "centroid"} <= set(texts)
    assert any(finished.board.flags[0].judged.reason in text for text in texts)


def test_a_dismissed_flag_is_not_outlined(finished):
    from matplotlib.patches import Ellipse

    topics = finished.topics()
    flags = topics[4]
    assert len(draw(topics).findobj(Ellipse)) == len(flags.flags)
    gone = replace(flags, flags=tuple(replace(flag, state="dismissed") for flag in flags.flags))
    assert len(draw([*topics[:4], gone]).findobj(Ellipse)) == 0


def test_eight_types_have_okabe_and_itos_colours():
    assert len(set(category_colours(8))) == 8 and len(set(category_colours(30))) == 30
    assert len(category_colours(500)) == 500
