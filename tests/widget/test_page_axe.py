"""What axe-core finds wrong for people who hear, type or see badly, on the mock host."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from mock_page import ROOT, TOP_LEFT, drag

pytestmark = pytest.mark.browser
AXE: Path = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"


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
    if not AXE.exists():
        pytest.skip(f"axe-core is not installed ({AXE}): run `npm ci` in js/, as `make js` does")
    page = host(f"theme={theme}&{query}")
    assert serious(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nor_with_cells_selected_and_the_sheet_of_keys_open(host, theme):
    if not AXE.exists():
        pytest.skip(f"axe-core is not installed ({AXE}): run `npm ci` in js/, as `make js` does")
    page = host(f"theme={theme}", width=720)
    drag(page, TOP_LEFT)
    assert serious(page) == []
    # A lasso has put the keyboard into the box for names, where a question mark is one.
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("?")
    page.get_by_test_id("ll-keys").wait_for()
    assert serious(page) == []
