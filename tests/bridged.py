"""A real session and a real page without Jupyter between them: what the comm would carry is carried by Playwright."""

import base64
import contextlib
import queue
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import Page

from livelatent.session.live import LiveSession
from livelatent.widget.publisher import Publisher

OPEN = """async ([theme, name]) => {
    document.body.dataset.jpThemeLight = String(theme === "light");
    const { default: widget } = await import(`${location.origin}/src/livelatent/widget/static/widget.js`);
    const listeners = new Set();
    window.deliver = (content, buffers) => {
        const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
        const views = buffers.map((text) => new DataView(bytes(text).buffer));
        for (const listener of [...listeners]) listener(content, views);
    };
    const model = {
        get: (trait) => ({ name })[trait],
        on: (_, listener) => listeners.add(listener),
        off: (_, listener) => listeners.delete(listener),
        send: (content) => void window.toKernel(content),
    };
    const { initialize, render } = widget();
    const close = initialize({ model });
    const end = render({ model, el: document.body });
    window.unmount = () => { end(); close(); };
}"""
BLANK = """<!doctype html><meta charset="utf-8"><title>bridged</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/src/livelatent/widget/static/widget.css">
<style>body { margin: 10px; background: #fff } body[data-jp-theme-light="false"] { background: #0b0c0e }</style>"""


class Bridge:
    """Carries messages between a session's Publisher and a page, whenever it is given time."""

    def __init__(self, page: Page, session: LiveSession, origin: str, theme: str = "light") -> None:
        self.page = page
        self._outbox: queue.SimpleQueue[tuple[dict[str, Any], list[bytes]]] = queue.SimpleQueue()
        self._inbox: list[Any] = []
        self.publisher = Publisher(lambda content, buffers: self._outbox.put((content, buffers)), session)
        page.expose_function("toKernel", lambda content: self._inbox.append(content))
        page.route(f"{origin}/bridged", lambda route: route.fulfill(body=BLANK, content_type="text/html"))
        page.goto(f"{origin}/bridged")
        page.evaluate(OPEN, [theme, session.atlas.path.name])
        self.publisher.start()

    def carry(self) -> None:
        """Deliver what waits on both sides."""
        while self._inbox:
            self.publisher.handle(self._inbox.pop(0))
        with contextlib.suppress(queue.Empty):
            while True:
                content, buffers = self._outbox.get_nowait()
                self.page.evaluate(
                    "([content, buffers]) => window.deliver(content, buffers)",
                    [content, [base64.b64encode(buffer).decode() for buffer in buffers]],
                )
        self.page.wait_for_timeout(20)

    def until(self, condition: Callable[[], object], *, turns: int = 1500) -> None:
        """Carry until something holds."""
        for _ in range(turns):
            self.carry()
            if condition():
                return
        raise AssertionError("it never came to that")

    def close(self) -> None:
        """Take the view off the page and end the publisher."""
        self.page.evaluate("() => window.unmount()")
        self.publisher.close()


@contextlib.contextmanager
def bridged(page: Page, session: LiveSession, origin: str, theme: str = "light") -> Iterator[Bridge]:
    """A page that shows this session until the block ends."""
    bridge = Bridge(page, session, origin, theme)
    try:
        bridge.until(lambda: page.get_by_test_id("ll-state").is_visible())
        yield bridge
    finally:
        bridge.close()
