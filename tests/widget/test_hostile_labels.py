"""Names that are markup, endless, right-to-left or pictures: text in the live view, the page, the picture, the file."""

import re
import warnings

import anndata
import pandas as pd
import pytest
from playwright.sync_api import expect

from bridged import bridged
from livelatent.atlas import ingest
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
            assert set(GIVEN) <= set(options)
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
    assert requests == [address]
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
