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
