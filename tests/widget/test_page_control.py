"""The buttons that drive a run, on the mock host."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_buttons_are_those_that_python_allows(host):
    page = host("state=ready")
    names = ("start", "pause", "resume", "stop")

    def shown() -> list[str]:
        return [name for name in names if page.get_by_test_id(f"ll-{name}").is_visible()]

    assert shown() == ["start"]
    expect(page.get_by_text("Not trained yet: press Start.", exact=True)).to_be_visible()
    page.get_by_test_id("ll-start").click()
    expect(page.get_by_test_id("ll-state")).to_have_text("training")
    assert shown() == ["pause", "stop"]
    page.get_by_test_id("ll-pause").click()
    expect(page.get_by_test_id("ll-state")).to_have_text("paused")
    assert shown() == ["resume", "stop"]
