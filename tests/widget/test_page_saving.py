"""Panes as pictures, and the line under the map, on the mock host in a real browser."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

SVG = "{http://www.w3.org/2000/svg}"
PANES = ("Map", "Prototypes", "Learning", "Flags")


def saved(page: Page, pane: str, kind: str) -> Path:
    """What the browser wrote when a pane was saved."""
    section = page.locator(f'section[aria-label="{pane}"]')
    section.get_by_test_id("ll-save").locator("summary").click()
    with page.expect_download() as download:
        section.get_by_test_id(f"ll-save-{kind}").click()
    return download.value.path()


@pytest.mark.parametrize("query", ["theme=dark", "static"])
def test_every_pane_becomes_an_svg_and_a_png_live_and_in_the_offline_page(host, query):
    page = host(query)
    for pane in PANES:
        root = ElementTree.parse(saved(page, pane, "svg")).getroot()
        assert root.tag == f"{SVG}svg"
        written = [text.text or "" for text in root.iter(f"{SVG}text")]
        assert any(text.startswith(pane) for text in written), written[:5]
        # Two pixels to one, as a person sees the pane; a PNG says its size in bytes 16 to 24.
        head = saved(page, pane, "png").read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        box = page.locator(f'section[aria-label="{pane}"]').bounding_box()
        assert abs(int.from_bytes(head[16:20]) - 2 * box["width"]) <= 2


def test_the_maps_picture_has_its_cells_its_names_and_its_rings(host):
    root = ElementTree.parse(saved(host(), "Map", "svg")).getroot()
    written = {text.text for text in root.iter(f"{SVG}text")}
    assert {"CD4 T", "CD8 T", "NK", "B", "DC", "1", "2", "3"} <= written
    assert "Lasso" not in written  # a tool is no part of the picture
    assert len(list(root.iter(f"{SVG}image"))) == 1 and len(list(root.iter(f"{SVG}ellipse"))) == 3


def test_hostile_names_are_text_in_the_picture_too(host):
    page = host("evil&moments")
    for pane, name in (
        ("Prototypes", "<img src=x onerror"),
        ("Map", "<img src=x"),
        ("Flags", "<script>"),
        ("Moments", ""),
    ):
        path = saved(page, pane, "svg")
        written = " ".join(text.text or "" for text in ElementTree.parse(path).getroot().iter(f"{SVG}text"))
        assert name in written
        assert not re.search(rb"<img|<script|<b>", path.read_bytes())


def test_a_webgl_canvas_that_was_just_shown_is_still_in_the_picture(host):
    page = host()
    # Whatever the renderer: more than one colour is on the canvas that was saved.
    root = ElementTree.parse(saved(page, "Map", "svg")).getroot()
    [image] = root.iter(f"{SVG}image")
    n_colours = page.evaluate(
        """async (href) => {
            const image = new Image(); image.src = href; await image.decode();
            const copy = new OffscreenCanvas(image.width, image.height).getContext("2d");
            copy.drawImage(image, 0, 0);
            return new Set(new Uint32Array(copy.getImageData(0, 0, image.width, image.height).data.buffer)).size;
        }""",
        image.attrib["href"],
    )
    assert n_colours > 20


def test_the_maps_share_of_a_core_is_seen_and_set_and_all_cells_can_be_placed(host):
    page = host()
    expect(page.locator(".ll-budget")).to_contain_text("next in 12 s")
    page.get_by_test_id("ll-budget").select_option("0.3")
    page.get_by_test_id("ll-place-all").click()
    page.wait_for_function("() => mock.sent.filter(m => m.kind === 'cmd').length === 2")
    asked = page.evaluate("() => mock.sent.filter(m => m.kind === 'cmd').map(m => [m.name, m.args])")
    assert asked == [["budget", {"share": 0.3}], ["place_all", {}]]
    expect(page.get_by_test_id("ll-budget")).to_have_value("0.3")


def test_a_still_page_has_no_line_to_ask_for_a_share(host):
    expect(host("static").locator(".ll-budget")).to_have_count(0)
