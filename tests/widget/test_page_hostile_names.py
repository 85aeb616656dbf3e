"""Names that would be markup, on the mock host."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_hostile_names_are_text(host):
    page = host("evil&theme=dark", width=720)
    root = page.get_by_test_id("ll-root")
    expect(page.get_by_text("<script>window.pwned=1</script><b>not bold</b>")).to_be_visible()
    expect(root.get_by_role("button", name=re.compile("<img src=x onerror=")).first).to_be_visible()
    assert root.locator("img, script").count() == 0
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_are_text_where_a_cell_is_read_found_and_compared(host):
    page = host("evil&moments", width=1300)
    page.get_by_test_id("ll-keep").click()
    page.get_by_test_id("ll-map").focus()
    page.keyboard.press("r")
    page.locator(".ll-moment-map").first.hover()
    page.locator(".ll-rows .ll-row").filter(has_text="<img src=x").first.click()
    page.get_by_test_id("ll-nearest-cells").click()
    expect(page.get_by_test_id("ll-selected")).to_have_text("12 cells selected")
    page.keyboard.press("Escape")
    page.get_by_test_id("ll-search").press_sequentially("img")
    options = page.get_by_test_id("ll-found").get_by_role("option")
    expect(options.first).to_contain_text("<img src=x onerror=window.pwned=1>")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ll-map")).to_have_attribute("aria-label", re.compile("<img src=x onerror"))
    root = page.get_by_test_id("ll-root")
    assert root.locator("img, script").count() == 0
    assert page.evaluate("() => window.pwned") is None
