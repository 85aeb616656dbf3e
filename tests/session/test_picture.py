import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livelatent.palette import category_colours
from livelatent.session.picture import _box, draw, write_png
from livelatent.session.state import Curves, FlagList, LatentMap, PrototypeView, Status

ROOT = Path(__file__).parents[2]

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


def test_a_name_stands_on_its_type_where_there_is_room():
    from matplotlib.text import Text

    random, at = np.random.default_rng(0), np.repeat([[0.0, 0.0], [0.0, 4.0], [20.0, 0.0]], 120, axis=0)
    made = replace(
        _map(360, ("low", "high", "far")), xy=(at + random.uniform(-2, 2, at.shape)).astype(np.float32),
        label=np.repeat([0, 1, 2], 120), flag=np.zeros(360, np.int64),
    )  # fmt: skip
    figure = draw([Status(), Curves(), made, PrototypeView(), FlagList()])
    for name, middle in (("low", (0, 0)), ("high", (0, 4)), ("far", (20, 0))):
        text = next(text for text in figure.axes[0].findobj(Text) if text.get_text() == name)
        np.testing.assert_allclose(text.get_position(), middle, atol=0.6)


def test_a_flags_outline_leaves_out_a_fifth_that_lies_elsewhere():
    rng = np.random.default_rng(0)
    own = np.vstack([rng.normal(0, 0.1, (40, 2)), rng.normal(9, 0.1, (10, 2))])
    low, high = _box(own)
    assert (high - low < 1).all()
    np.testing.assert_array_equal(_box(np.ones((7, 2))), np.ones((2, 2)))


@pytest.mark.parametrize("n", [8, 9, 500])
def test_a_type_has_the_same_colour_in_the_picture_and_in_the_view(n):
    source = (ROOT / "js" / "src" / "palette.ts").read_text()
    # The view's two lists as they stand in the source; on white it softens yellow and black.
    first, rest = (
        re.findall(r"\b[0-9A-Fa-f]{6}\b", part) for part in source.split("const LONG")[0].split("const REST")
    )
    soft = {"F0E442": "E5D61E", "000000": "4A5057"}
    first = [soft.get(colour, colour) for colour in first]
    base = first if n <= 8 else [*first[:6], "8C8C8C", first[7], *rest]
    assert category_colours(n) == [f"#{base[index % len(base)]}" for index in range(n)]


def test_eight_types_have_okabe_and_itos_colours():
    assert len(set(category_colours(8))) == 8 and len(set(category_colours(30))) == 30
    assert len(category_colours(500)) == 500
