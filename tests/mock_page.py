"""What tests do on the mock host (`js/mock`): a page that plays the notebook, with no Jupyter and no kernel."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path = ROOT) -> Iterator[str]:
    """The files of a folder on loopback; yields the origin."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def sent(page: Page, kind: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = page.evaluate("kind => mock.sent.filter(m => m.kind === kind)", kind)
    return messages


def wait_for_sent(page: Page, kind: str, n: int = 1) -> list[dict[str, Any]]:
    page.wait_for_function("([kind, n]) => mock.sent.filter(m => m.kind === kind).length >= n", arg=[kind, n])
    return sent(page, kind)


def next_frame(page: Page) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def colours_on_map(page: Page) -> int:
    """How many different colours the map's canvas shows."""
    n: int = page.evaluate(
        """() => {
            const canvas = document.querySelector("[data-testid=ll-map] canvas");
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const pixels = copy.getImageData(0, 0, width, height).data;
            return new Set(new Uint32Array(pixels.buffer)).size;
        }"""
    )
    return n


def drag(page: Page, corners: list[tuple[float, float]], *, modifier: str | None = None) -> None:
    """Draw on the map; corners are shares of its width and height."""
    box = page.get_by_test_id("ll-map").bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    if modifier:
        page.keyboard.down(modifier)
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    if modifier:
        page.keyboard.up(modifier)


TOP_LEFT = [(0.02, 0.02), (0.45, 0.02), (0.45, 0.5), (0.02, 0.5)]


RIGHT_HALF = [(0.5, 0.01), (0.99, 0.01), (0.99, 0.99), (0.5, 0.99)]


CELLS_INSIDE = """(polygon) => {
    // An oracle of its own: the canvas's path test, on the cells that the mock kernel sent.
    const path = new Path2D();
    const scale = 1000; // a path test on tiny numbers is inexact
    polygon.forEach(([x, y], i) => (i ? path.lineTo(x * scale, y * scale) : path.moveTo(x * scale, y * scale)));
    path.closePath();
    const context = document.createElement("canvas").getContext("2d");
    const [header, [xy]] = mock.data.mapFrame({ ...mock.run, seq: 0 });
    const [x0, x1, y0, y1] = header.bounds;
    const inside = [];
    for (let i = 0; i < header.n; i++) {
        const x = x0 + xy[2 * i] * (x1 - x0) / 65535, y = y0 + xy[2 * i + 1] * (y1 - y0) / 65535;
        const is_inside = context.isPointInPath(path, x * scale, y * scale, "evenodd");
        if (is_inside) inside.push([mock.run.query[i], mock.run.cell[i]]);
    }
    return inside;
}"""

CLAIMS_A_GPU = """(() => {
    // The software renderer behind the name of a card: the same shaders and buffers.
    const ask = WebGL2RenderingContext.prototype.getParameter;
    WebGL2RenderingContext.prototype.getParameter = function (what) {
        return what === 0x9246 ? "A Card With Many Cores" : ask.call(this, what);
    };
    const make = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, options) {
        return make.call(this, kind, kind === "webgl2" ? { ...options, preserveDrawingBuffer: true } : options);
    };
})()"""

COUNTS_WHAT_IS_HELD = """(() => {
    // What outlives a view if it is not given back: listeners on the page, timers, observers, GL contexts.
    const listeners = new Map(), timers = new Set(), observers = new Set(), contexts = new Set();
    const is_lasting = (target) => target === window || target === document || target === document.body
        || target === document.documentElement || target instanceof MediaQueryList;
    const { addEventListener, removeEventListener } = EventTarget.prototype;
    const numbers = new Map();
    const number = (one) => numbers.get(one) ?? numbers.set(one, numbers.size).get(one);
    const key = (target, type, listener) => [number(target), type, number(listener)].join();
    EventTarget.prototype.addEventListener = function (type, listener, options) {
        const target = this ?? window;
        if (listener && is_lasting(target) && !options?.signal?.aborted) {
            listeners.set(key(target, type, listener), type);
            const forget = () => listeners.delete(key(target, type, listener));
            if (options?.signal) addEventListener.call(options.signal, "abort", forget);
        }
        return addEventListener.call(target, type, listener, options);
    };
    EventTarget.prototype.removeEventListener = function (type, listener, options) {
        listeners.delete(key(this ?? window, type, listener));
        return removeEventListener.call(this ?? window, type, listener, options);
    };
    const { setInterval: begin, clearInterval: end } = window;
    window.setInterval = (...args) => { const id = begin.apply(window, args); timers.add(id); return id; };
    window.clearInterval = (id) => { timers.delete(id); end.call(window, id); };
    for (const name of ["ResizeObserver", "IntersectionObserver", "MutationObserver"]) {
        window[name] = class extends window[name] {
            observe(...args) { observers.add(this); super.observe(...args); }
            disconnect() { observers.delete(this); super.disconnect(); }
        };
    }
    const getContext = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
        const context = getContext.call(this, kind, ...rest);
        if (kind.startsWith("webgl") && context) contexts.add(context);
        return context;
    };
    window.held = () => ({
        listeners: [...listeners.values()].sort(), timers: timers.size, observers: observers.size,
        contexts: [...contexts].filter((one) => !one.isContextLost()).length,
    });
    window.nContexts = () => contexts.size;
})()"""
"""`held()` counts; compare before a view is opened and after it is closed."""
