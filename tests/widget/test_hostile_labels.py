"""Names that are markup, endless, right-to-left or pictures: text in the live view, the page, the picture, the file."""

import re
import warnings
from xml.etree import ElementTree

import anndata
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect
from typer.testing import CliRunner

from bridged import bridged
from livelatent.atlas import ingest
from livelatent.cli.labels import labels_app
from livelatent.session.live import LiveSession
from livelatent.widget.export import write_html, write_picture
from mock_page import serving
from watched import small_run

pytestmark = pytest.mark.browser

IMAGE = "<img src=x onerror=window.pwned=1>"
TYPES = {"T cell": IMAGE, "B cell": "x" * 10_000, "monocyte": "خلايا تائية", "NK cell": "🧬 B 🩸"}
GIVEN = [f"{IMAGE} by hand", "</script><!--", "خلايا", "🩸", "$\\frac{1}{$ & =cmd|' /C calc'!A0"]


@pytest.fixture(scope="module")
def labelled(tiny_adatas, tmp_path_factory):
    """A session on a store whose types, batches and genes bear such names, and whose cells were named so by hand."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    adata = tiny_adatas["two.h5ad"].copy()
    adata.obs["cell_type"] = pd.Categorical([TYPES.get(name, name) for name in adata.obs["cell_type"].astype(object)])
    adata.obs["donor"] = pd.Categorical([f"<b>{name}</b>" for name in adata.obs["donor"].astype(str)])
    adata.var_names = pd.Index([f"<i>{name}</i>" for name in adata.var_names], dtype=object)
    adata.write_h5ad(tmp_path / "hostile.h5ad")
    atlas = ingest(
        tmp_path / "hostile.h5ad",
        tmp_path / "hostile.zarr",
        label="cell_type",
        batch="donor",
        unlabelled=["unassigned"],
    )
    run = small_run(atlas, tmp_path / "run", epochs=1)
    run.start()
    run.wait()
    session = LiveSession(run)
    session.settle([None], timeout_s=0.0)
    for number, name in enumerate(GIVEN):
        session.label(range(40 * number, 40 * number + 40), name)
    session.keep()  # its pane reads names too
    yield session
    session.close()
    atlas.labels.close()


def names_on_map(page, colour):
    """What the map's buttons say, whole."""
    page.get_by_test_id("ll-colour").select_option(colour)
    buttons = page.get_by_test_id("ll-map").locator("button.ll-label")
    expect(buttons.first).to_be_attached()
    return sorted(button.get_attribute("title") for button in buttons.all())


def expect_text_only(page):
    assert names_on_map(page, "label") == sorted(TYPES.values())
    assert names_on_map(page, "given") == sorted(GIVEN)
    assert page.get_by_test_id("ll-root").locator("img, script, b:has-text('d1'), i:has-text('GENE')").count() == 0
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


SVG = "{http://www.w3.org/2000/svg}"


def expect_pictures(page):
    """Each pane as an SVG, whose only words are text, and as a PNG."""
    written = {}
    for pane in ("Map", "Prototypes", "Learning", "Flags", "Moments"):
        section = page.locator(f'section[aria-label="{pane}"]')
        section.scroll_into_view_if_needed()
        paths = []
        for kind in ("svg", "png"):
            section.get_by_test_id("ll-save").locator("summary").click()
            with page.expect_download() as download:
                section.get_by_test_id(f"ll-save-{kind}").click()
            paths.append(download.value.path())
        root = ElementTree.parse(paths[0]).getroot()
        tags = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert tags <= {"svg", "g", "rect", "text", "image", "line", "path", "ellipse", "circle", "polyline"}, tags
        attributes = {name for element in root.iter() for name in element.attrib}
        assert not {name for name in attributes if name.startswith("on")}
        images = [element.attrib["href"] for element in root.iter(f"{SVG}image")]
        assert all(image.startswith("data:image/png;base64,") for image in images)
        written[pane] = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
        assert paths[1].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    for name in TYPES.values():
        assert name[:12] in written["Prototypes"], name[:20]
    for name in GIVEN:
        assert name[:8] in written["Map"], name


def until(page, holds):
    """Where no kernel has to be carried to."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never came to that")


def read_with_keys(page, wait):
    """What is said, and stands on the card, of three cells of the type whose name is an image."""
    page.locator(".ll-rows .ll-row").filter(has_text="<img src=x").first.click()
    page.get_by_test_id("ll-own-cells").click()
    page.get_by_test_id("ll-map").focus()
    page.keyboard.press("r")
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft"):
        wait(lambda: f"label {IMAGE}" in page.get_by_test_id("ll-card").inner_text().replace("\n", " "))
        wait(lambda: f"label {IMAGE}" in page.get_by_test_id("ll-voice").inner_text())
        page.evaluate("() => { document.querySelector('[data-testid=ll-voice]').textContent = ''; }")
        page.keyboard.press(key)
    page.keyboard.press("Escape")


def test_every_hostile_name_is_text_in_the_live_view(labelled, browser):
    with serving() as origin:
        context = browser.new_context(viewport={"width": 1300, "height": 1000}, reduced_motion="reduce")
        page = context.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        with bridged(page, labelled, origin) as bridge:
            bridge.until(lambda: page.get_by_test_id("ll-map").get_attribute("data-cells") == "237")
            expect_text_only(page)
            options = page.evaluate("() => [...document.querySelectorAll('datalist option')].map(o => o.value)")
            assert options[: len(GIVEN)] == sorted(GIVEN)
            assert set(options) == {*GIVEN, *TYPES.values()} - {"x" * 10_000}  # longer than a name may be
            read_with_keys(page, bridge.until)
            expect_pictures(page)
            for left in reversed(range(len(GIVEN))):
                page.get_by_test_id("ll-undo").click()
                bridge.until(lambda left=left: labelled.status().n_saved == left)
            bridge.until(lambda: GIVEN[0] in page.get_by_test_id("ll-voice").inner_text())
            for number in range(len(GIVEN)):
                page.get_by_test_id("ll-redo").click()
                bridge.until(lambda number=number: labelled.status().n_saved == number + 1)
            assert page.evaluate("() => window.pwned") is None
        context.close()
    assert complaints == []


def test_every_hostile_name_is_text_in_the_offline_page(labelled, browser, tmp_path):
    address = write_html(labelled, tmp_path / "view.html").as_uri()
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_offline(True)
    page = context.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    expect_text_only(page)
    read_with_keys(page, lambda holds: until(page, holds))
    expect_pictures(page)
    assert page.evaluate("() => window.pwned") is None
    assert [request for request in requests if not request.startswith(("data:", "blob:"))] == [address]
    context.close()


def test_every_hostile_name_is_drawn_and_written(labelled, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the picture shows a box for it
        assert write_picture(labelled, tmp_path / "view.png").stat().st_size > 10_000
    atlas = labelled.atlas
    atlas.write_labels()
    column = anndata.read_zarr(atlas.path).obs["livelatent_label"].astype(str)
    assert [column.iloc[40 * number] for number in range(len(GIVEN))] == GIVEN


def test_a_name_of_ten_thousand_characters_is_refused_in_words(labelled):
    answer = labelled.answer("r", "label", {"cells": [[0, 1]], "name": "x" * 10_000})
    assert not answer.ok
    assert re.match("a label has at most 120 characters; got 10000", answer.error)


@pytest.mark.parametrize("name", TYPES.values(), ids=["image", "endless", "right-to-left", "emoji"])
def test_a_hostile_prototype_is_the_rule_of_a_label_and_text_in_the_log(labelled, name):
    atlas = labelled.atlas
    shown = labelled.latent_map()
    cells = [[0, int(row)] for row in np.flatnonzero((atlas.obs["cell_type"] == name).to_numpy())]
    part = {"mode": "replace", "kind": "prototype_cells", "name": name}
    selector = {"scope": "panel", "layout": shown.layout, "parts": [part]}
    answer = labelled.answer(f"rule {name[:9]}", "label", {"cells": cells, "selector": selector, "name": "by its rule"})
    try:
        assert answer.ok, answer.error
        entry = atlas.labels.entries[-1]
        assert entry.how["prototype"] == name and entry.how["exact"]
        assert [[0, int(row)] for row in labelled.replay(entry)[0]] == cells
        atlas.labels.close()
        log = CliRunner().invoke(labels_app, ["log", str(atlas.path)])
        assert log.exit_code == 0 and f"cells of prototype {name[:60]}" in log.output and "x" * 100 not in log.output
    finally:
        labelled.board.ledger.undo()
