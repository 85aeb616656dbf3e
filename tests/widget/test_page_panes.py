"""The four panes on the mock host: all there, legible in both themes, and nothing to change in a snapshot."""

import re

import pytest
from playwright.sync_api import expect

from mock_page import colours_on_map, next_frame

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 720, 620])
def test_all_four_panes_show_their_state_and_nothing_is_clipped(host, theme, width):
    page = host(f"theme={theme}", width=width)
    expect(page.get_by_test_id("ll-state")).to_have_text("training")
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-cells", re.compile(r"^[1-9]\d{3}$"))
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-renderer", "canvas2d")  # no GPU here
    expect(page.get_by_test_id("ll-flag")).to_have_count(3)
    expect(page.get_by_test_id("ll-prototypes")).to_have_attribute("data-count", "10")
    train_points = page.evaluate(
        "() => Object.values(mock.run.points).filter(p => p.split === 'train').reduce((n, p) => n + p.steps.length, 0)"
    )
    expect(page.get_by_test_id("ll-curves")).to_have_attribute("data-points", str(train_points))
    assert colours_on_map(page) > 20
    wide = page.evaluate(
        """() => [...document.querySelectorAll("[data-testid=ll-root] *")].filter(e => {
            const root = document.querySelector("[data-testid=ll-root]").getBoundingClientRect();
            const box = e.getBoundingClientRect();
            if (box.width === 0 || e.closest(".ll-overlay, .ll-hidden")) return false;
            return box.right > root.right + 1 || box.left < root.left - 1;
        }).map(e => e.className || e.tagName)"""
    )
    assert wide == []
    ink, paper = page.evaluate(
        """() => {
            const style = getComputedStyle(document.querySelector("[data-testid=ll-root]"));
            return [style.color, style.backgroundColor];
        }"""
    )
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (brightness[0] > brightness[1]) == (theme == "dark")


def test_the_theme_follows_the_host_while_it_is_shown(host):
    page = host("theme=light")
    root = page.get_by_test_id("ll-root")
    paper = "() => getComputedStyle(document.querySelector('[data-testid=ll-root]')).backgroundColor"
    light = page.evaluate(paper)
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
    expect(root).to_have_class(re.compile("ll-dark"))
    assert page.evaluate(paper) != light
    # The canvas is drawn in the new colours too: its corner is the background.
    next_frame(page)
    corner = page.evaluate(
        """() => {
            const canvas = document.querySelector("[data-testid=ll-map] canvas");
            return [...canvas.getContext("2d").getImageData(0, 0, 1, 1).data];
        }"""
    )
    assert max(corner[:3]) < 64


def test_a_snapshot_shows_all_and_changes_nothing(host):
    page = host("static")
    expect(page.get_by_text("a snapshot: nothing here can be changed")).to_be_visible()
    expect(page.get_by_test_id("ll-flag")).to_have_count(3)
    for gone in ("ll-flag-save", "ll-undo", "ll-redo"):
        expect(page.get_by_test_id(gone)).to_have_count(0)
    for hidden in ("ll-start", "ll-pause", "ll-resume", "ll-stop", "ll-banner"):
        expect(page.get_by_test_id(hidden)).to_be_hidden()
    assert page.evaluate("() => mock.sent") == []


def test_every_control_has_a_name(host):
    page = host()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("[data-testid=ll-root] :is(button, input, select, canvas, [role])")]
            .filter(e => e.offsetParent !== null)
            .filter(e => !e.closest("[aria-hidden=true]") && !e.parentElement.closest("[role=img]"))
            .filter(e => e.parentElement.dataset.testid !== "ll-map")  // its canvas has the map's own name
            .filter(e => !e.getAttribute("aria-label") && !e.textContent.trim() && !e.labels?.length)
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
