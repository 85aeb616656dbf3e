"""The mock host in a real browser: `host("theme=dark", width=720)` opens it."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from mock_page import serving


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The mock host's page."""
    with serving() as origin:
        yield f"{origin}/js/mock/index.html"


@pytest.fixture
def host(browser: Browser, address: str) -> Iterator[Any]:
    """`host("theme=dark", width=720)` opens a page; afterwards none may have complained or called out."""
    complaints: list[str] = []
    strangers: list[str] = []
    contexts = []

    def open_page(
        query: str = "", *, width: int = 1300, still: bool = True, script: str | None = None, has_clock: bool = False
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 1000}, reduced_motion="reduce" if still else "no-preference"
        )
        contexts.append(context)
        page = context.new_page()
        if has_clock:
            page.clock.install()  # `page.clock.run_for` then makes minutes pass at once
        if script is not None:
            page.add_init_script(script)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        origin = address.partition("/js/")[0]
        page.on("request", lambda r: None if r.url.startswith((origin, "data:")) else strangers.append(r.url))
        page.goto(f"{address}?{query}")
        expect(page.get_by_test_id("ll-root").first).to_be_visible()
        if "state=ready" not in query:
            expect(page.get_by_test_id("ll-map").first).not_to_have_attribute("data-cells", "0")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # What the software renderer says of its own speed is nobody's fault.
    assert [text for text in complaints if "GL Driver Message (OpenGL, Performance" not in text] == []
    assert strangers == []
