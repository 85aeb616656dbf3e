"""What axe-core finds wrong for people who hear, type or see badly, on the mock host."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mock_page import ROOT, TOP_LEFT, drag

AXE: Path = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not AXE.exists(), reason=f"axe-core is not installed ({AXE}): run `npm ci` in js/, as `make js` does"
    ),
]


def serious(page: Page) -> list[str]:
    page.add_script_tag(path=AXE)
    found: list[str] = page.evaluate(
        """async () => {
            const { violations, passes } = await axe.run("[data-testid=ll-root]");
            if (passes.length < 10) return [`axe looked at next to nothing: ${passes.map(({ id }) => id)}`];
            return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
                .flatMap(({ id, nodes }) => nodes.map((at) => `${id}: ${at.html.slice(0, 160)} ${at.failureSummary}`));
        }"""
    )
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("query", ["", "state=ready", "static"])
def test_axe_finds_nothing_serious(host, theme, query):
    page = host(f"theme={theme}&{query}")
    assert serious(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nor_with_cells_selected_and_the_sheet_of_keys_open(host, theme):
    page = host(f"theme={theme}", width=720)
    drag(page, TOP_LEFT)
    assert serious(page) == []
    # A lasso has put the keyboard into the box for names, where a question mark is one.
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("?")
    page.get_by_test_id("ll-keys").wait_for()
    assert serious(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("query", ["", "evil"])
def test_nor_with_moments_gate_settings_search_banner_and_a_read_cell_open(host, theme, query):
    page = host(f"theme={theme}&moments&{query}")
    page.get_by_test_id("ll-keep").click()
    expect(page.get_by_test_id("ll-compare")).to_be_visible()
    page.get_by_test_id("ll-colour").select_option("novelty")
    expect(page.get_by_test_id("ll-gate")).to_be_visible()
    page.get_by_test_id("ll-settings").locator("summary").click()
    expect(page.get_by_test_id("ll-set")).to_be_visible()
    page.get_by_test_id("ll-set-0").fill("99")
    page.get_by_test_id("ll-set").click()
    expect(page.get_by_test_id("ll-set-saved")).to_contain_text("the learning rate is a number")
    page.evaluate("() => mock.deliver([{ kind: 'error', message: 'the store could not be read' }, []])")
    expect(page.get_by_test_id("ll-banner")).to_contain_text("the store could not be read")
    page.locator("section[aria-label=Map]").get_by_test_id("ll-save").locator("summary").click()
    assert serious(page) == []
    page.get_by_test_id("ll-map").focus()
    page.keyboard.press("r")
    expect(page.get_by_test_id("ll-card")).to_contain_text("nearest prototype")
    assert serious(page) == []
    # Matches, one of them chosen, and none: the list is there while the box has the focus.
    box = page.get_by_test_id("ll-search")
    for text, first in (("cd3", "CD3E gene"), ("no such gene", "nothing of that name")):
        box.fill(text)
        expect(page.get_by_test_id("ll-found").get_by_role("option").first).to_have_text(first)
        assert serious(page) == []
        expect(page.get_by_test_id("ll-found")).to_be_visible()
    # A gene's scale has another gate, and words for its cells without a value.
    box.fill("cd3e")
    expect(page.get_by_test_id("ll-found").get_by_role("option").first).to_have_text("CD3E gene")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ll-scale")).to_contain_text("log1p of counts")
    page.get_by_test_id("ll-gate-replace").click()
    expect(page.get_by_test_id("ll-selected")).to_be_visible()
    assert serious(page) == []
