"""The built bundle on a page that plays the notebook (`js/mock`): no Jupyter, no kernel, only the wire."""

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import chromium

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/js/mock/index.html"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def host(browser: Browser, address: str) -> Iterator[Any]:
    """`host("theme=dark", width=720)` opens a page; afterwards none may have complained or called out."""
    complaints: list[str] = []
    strangers: list[str] = []
    contexts = []

    def open_page(query: str = "", *, width: int = 1300, still: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 1000}, reduced_motion="reduce" if still else "no-preference"
        )
        contexts.append(context)
        page = context.new_page()
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
    assert complaints == []
    assert strangers == []


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


def test_a_lasso_names_exactly_the_cells_inside_it(host):
    page = host()
    drag(page, TOP_LEFT)
    expect(page.get_by_test_id("ll-selected")).to_contain_text("cells selected")
    page.get_by_test_id("ll-selection-name").fill("T <b>cells</b>")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    (command,) = sent(page, "cmd")
    assert command["name"] == "label"
    assert command["args"]["name"] == "T <b>cells</b>"
    selector = command["args"]["selector"]
    assert (selector["kind"], selector["layout"]) == ("lasso", 1)
    inside = page.evaluate(CELLS_INSIDE, selector["polygon"])
    assert len(inside) > 100
    assert sorted(command["args"]["cells"]) == sorted(inside)
    expect(page.get_by_test_id("ll-journal")).to_contain_text("15 labels saved")


def test_a_box_that_is_added_and_a_lasso_that_is_subtracted(host):
    page = host()

    def selected() -> int:
        text = page.get_by_test_id("ll-selected").inner_text()
        return int(re.sub(r"\D", "", text))

    drag(page, TOP_LEFT)
    expect(page.get_by_test_id("ll-selected")).to_be_visible()
    first = selected()
    page.get_by_test_id("ll-tool-box").click()
    expect(page.get_by_test_id("ll-tool-box")).to_have_attribute("aria-pressed", "true")
    drag(page, [RIGHT_HALF[0], RIGHT_HALF[2]], modifier="Shift")
    both = selected()
    assert both > first
    drag(page, [TOP_LEFT[0], TOP_LEFT[2]], modifier="Alt")
    assert selected() == both - first  # the two boxes do not overlap
    page.get_by_test_id("ll-selection-name").fill("right")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    parts = sent(page, "cmd")[0]["args"]["selector"]["parts"]
    assert [part["mode"] for part in parts] == ["replace", "add", "subtract"]


def test_a_flags_name_is_pending_until_it_is_saved(host):
    page = host("hold")
    card = page.get_by_test_id("ll-flag").first
    card.get_by_test_id("ll-flag-name").fill("plasmablast")
    card.get_by_test_id("ll-flag-save").click()
    saved = card.get_by_test_id("ll-flag-saved")
    expect(saved).to_have_text("pending…")
    (command,) = wait_for_sent(page, "cmd")
    assert (command["name"], command["args"]) == ("label", {"flag": 1, "name": "plasmablast"})
    expect(saved).to_have_text("pending…")
    # Not answered yet: the same command comes again, and is still one.
    again = wait_for_sent(page, "cmd", 2)
    assert again[0] == again[1]
    page.evaluate("() => mock.answer()")
    expect(saved).to_contain_text(re.compile(r"^✓ saved .*\d:\d\d$"))
    assert page.evaluate("() => mock.run.n_saved") == 15
    expect(page.get_by_test_id("ll-undo")).to_be_enabled()


def test_a_refused_name_says_why_and_stays_to_be_mended(host):
    page = host()
    page.evaluate("() => { mock.refusal = 'disk full'; }")
    card = page.get_by_test_id("ll-flag").first
    card.get_by_test_id("ll-flag-name").fill("B")
    card.get_by_test_id("ll-flag-save").click()
    expect(card.get_by_test_id("ll-flag-saved")).to_have_text("not saved: disk full")
    expect(card.get_by_test_id("ll-flag-name")).to_have_value("B")


def test_what_is_typed_survives_the_updates_of_a_live_run(host):
    page = host("live")
    box = page.get_by_test_id("ll-flag-name").nth(1)
    box.press_sequentially("plasma")
    seq = page.evaluate("() => mock.run.seq")
    page.evaluate("() => mock.deliver(mock.data.flagsFrame(mock.run))")
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")
    page.wait_for_function("seq => mock.sent.some(m => m.kind === 'ack' && m.seq > seq)", arg=seq)
    box.press_sequentially("blast")
    expect(box).to_have_value("plasmablast")
    expect(box).to_be_focused()


def test_the_whole_way_to_a_name_by_keyboard(host):
    page = host()
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.keyboard.type("doublet? no: lLnb")  # the keys of the view are letters here
    page.keyboard.press("Enter")
    card = page.get_by_test_id("ll-flag").nth(1)
    expect(card.get_by_test_id("ll-flag-saved")).to_contain_text("✓ saved")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+Z")
    page.keyboard.press("Space")
    commands = wait_for_sent(page, "cmd", 4)
    assert [command["name"] for command in commands] == ["label", "undo", "redo", "pause"]
    assert commands[0]["args"] == {"flag": 2, "name": "doublet? no: lLnb"}
    expect(page.get_by_test_id("ll-state")).to_have_text("paused")
    page.keyboard.press("?")
    expect(page.get_by_test_id("ll-keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("ll-keys")).to_be_hidden()


def test_an_undone_name_leaves_the_card(host):
    page = host()
    card = page.get_by_test_id("ll-flag").first
    card.get_by_test_id("ll-flag-name").fill("plasmablast")
    card.get_by_test_id("ll-flag-save").click()
    expect(card).to_have_attribute("data-state", "named")
    page.get_by_test_id("ll-undo").click()
    expect(card).to_have_attribute("data-state", "open")
    expect(card.get_by_test_id("ll-flag-name")).to_have_value("")
    expect(card.get_by_test_id("ll-flag-saved")).to_have_text("")


def test_what_a_lasso_named_is_not_called_saved_once_it_is_undone(host):
    page = host()
    drag(page, TOP_LEFT)
    page.get_by_test_id("ll-selection-name").fill("T cells")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    page.get_by_test_id("ll-undo").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_have_text("")
    expect(page.get_by_test_id("ll-selected")).to_contain_text("cells selected")


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


def test_the_threshold_asks_once_where_it_rests(host):
    page = host()
    slider = page.get_by_test_id("ll-target-fpr")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    (command,) = wait_for_sent(page, "cmd")
    assert (command["name"], command["args"]) == ("threshold", {"target_fpr": 0.01})
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^1\\s"))
    assert len(sent(page, "cmd")) == 1


def test_dismissed_and_reopened(host):
    page = host()
    card = page.locator("[data-testid=ll-flag][data-flag='2']")
    card.get_by_role("button", name="Dismiss flag 2").click()
    expect(card).to_have_attribute("data-state", "dismissed")
    card.get_by_role("button", name="Reopen flag 2").click()
    expect(card).to_have_attribute("data-state", "open")
    assert [c["name"] for c in sent(page, "cmd")] == ["dismiss", "reopen"]


def test_no_flags_says_at_which_rate(host):
    page = host("flags=0")
    expect(page.get_by_test_id("ll-no-flags")).to_contain_text(re.compile(r"^No flags at 5\s%: "))


def test_a_gap_in_the_sequence_brings_the_whole_state_back(host):
    page = host()
    before = int(page.get_by_test_id("ll-curves").get_attribute("data-points") or 0)
    page.evaluate(
        """() => {
            mock.data.advance(mock.run, 40);
            mock.data.curvesFrame(mock.run, false);     // lost on the way
            mock.data.advance(mock.run, 2);
            mock.deliver(mock.data.curvesFrame(mock.run, false));
        }"""
    )
    assert len(wait_for_sent(page, "ready", 2)) == 2
    train_points = page.evaluate(
        "() => Object.values(mock.run.points).filter(p => p.split === 'train').reduce((n, p) => n + p.steps.length, 0)"
    )
    assert train_points > before
    expect(page.get_by_test_id("ll-curves")).to_have_attribute("data-points", str(train_points))


def test_every_frame_is_acknowledged(host):
    page = host()
    page.evaluate("() => mock.deliver(mock.data.mapFrame(mock.run))")
    seq = page.evaluate("() => mock.run.seq")
    page.wait_for_function("seq => mock.sent.some(m => m.kind === 'ack' && m.seq === seq)", arg=seq)


@pytest.mark.parametrize("query", ["views=2", "views=1", "bare"])
def test_a_model_has_one_session_however_many_views(host, query):
    page = host(query)
    assert page.evaluate("() => mock.nListeners()") == 1
    assert len(sent(page, "ready")) == 1
    page.evaluate("() => mock.deliver(mock.data.mapFrame(mock.run))")
    seq = page.evaluate("() => mock.run.seq")
    page.wait_for_function("seq => mock.sent.some(m => m.kind === 'ack' && m.seq === seq)", arg=seq)
    assert [ack["seq"] for ack in sent(page, "ack")].count(seq) == 1
    expect(page.get_by_test_id("ll-flag")).to_have_count(6 if query == "views=2" else 3)


def test_a_silent_kernel_is_said_to_be_busy_and_the_action_waits(host):
    page = host()
    page.evaluate("() => { mock.isSilent = true; }")
    page.get_by_test_id("ll-pause").click()
    expect(page.get_by_test_id("ll-banner")).to_contain_text("kernel busy, 1 action queued", timeout=15_000)
    page.evaluate("() => { mock.isSilent = false; }")
    expect(page.get_by_test_id("ll-state")).to_have_text("paused", timeout=30_000)
    expect(page.get_by_test_id("ll-banner")).to_be_hidden(timeout=15_000)
    assert len({command["rid"] for command in sent(page, "cmd")}) == 1


def test_a_new_layout_moves_the_cells(host):
    page = host(still=False)
    stage = page.get_by_test_id("ll-map")
    pixels = "() => document.querySelector('[data-testid=ll-map] canvas').toDataURL()"
    next_frame(page)
    before = page.evaluate(pixels)
    page.evaluate("() => { mock.data.relayout(mock.run); mock.deliver(mock.data.mapFrame(mock.run)); }")
    expect(stage).to_have_attribute("data-layout", "2")
    page.wait_for_function(
        "before => document.querySelector('[data-testid=ll-map] canvas').toDataURL() !== before", arg=before
    )


def test_a_name_on_the_map_greys_out_the_rest(host):
    page = host()
    name = page.get_by_role("button", name="CD14 mono").first
    next_frame(page)
    before = colours_on_map(page)
    name.click()
    expect(name).to_have_attribute("aria-pressed", "true")
    next_frame(page)
    assert colours_on_map(page) < before
    name.click()
    expect(name).to_have_attribute("aria-pressed", "false")


def test_show_zooms_to_the_flag_and_picks_its_card(host):
    page = host()
    width = "() => document.querySelector('.ll-ring[data-flag=\"3\"] ellipse').getBoundingClientRect().width"
    page.wait_for_function("() => document.querySelector('.ll-ring[data-flag=\"3\"] ellipse')?.getAttribute('rx') > 0")
    before = page.evaluate(width)
    page.locator("[data-testid=ll-flag][data-flag='3']").get_by_test_id("ll-flag-show").click()
    next_frame(page)
    assert page.evaluate(width) > 2 * before
    expect(page.locator("[data-testid=ll-flag][data-flag='3']")).to_have_class(re.compile("ll-on"))
    page.get_by_test_id("ll-tool-fit").click()
    next_frame(page)
    assert page.evaluate(width) == pytest.approx(before, abs=1)


def test_a_prototype_is_chosen_by_keyboard(host):
    page = host()
    rows = page.locator(".ll-rows").get_by_role("button")
    expect(rows).to_have_count(10)
    rows.nth(0).focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-pressed", "true")
    assert page.locator(".ll-vector-title b").inner_text() == rows.nth(1).get_attribute("title")


def test_the_wheel_scrolls_the_page_until_the_map_is_clicked(host):
    page = host()
    ring = "() => document.querySelector('.ll-ring[data-flag=\"1\"] ellipse').getAttribute('rx')"
    box = page.get_by_test_id("ll-map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    next_frame(page)
    before = page.evaluate(ring)
    page.mouse.wheel(0, -200)
    next_frame(page)
    assert page.evaluate(ring) == before
    page.mouse.click(box["x"] + 4, box["y"] + 4)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -200)
    page.wait_for_function(
        "before => document.querySelector('.ll-ring[data-flag=\"1\"] ellipse').getAttribute('rx') > Number(before)",
        arg=before,
    )


def test_hostile_names_are_text(host):
    page = host("evil&theme=dark", width=720)
    root = page.get_by_test_id("ll-root")
    expect(page.get_by_text("<script>window.pwned=1</script><b>not bold</b>")).to_be_visible()
    expect(root.get_by_role("button", name=re.compile("<img src=x onerror=")).first).to_be_visible()
    assert root.locator("img, script").count() == 0
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_snapshot_shows_all_and_changes_nothing(host):
    page = host("static")
    expect(page.get_by_text("a snapshot: nothing here can be changed")).to_be_visible()
    expect(page.get_by_test_id("ll-flag")).to_have_count(3)
    for gone in ("ll-flag-save", "ll-undo", "ll-redo"):
        expect(page.get_by_test_id(gone)).to_have_count(0)
    for hidden in ("ll-start", "ll-pause", "ll-resume", "ll-stop", "ll-banner"):
        expect(page.get_by_test_id(hidden)).to_be_hidden()
    assert page.evaluate("() => mock.sent") == []


def test_fifty_views_opened_and_closed_leave_nothing(host):
    page = host()
    page.evaluate(
        """async () => {
            for (let i = 0; i < 50; i++) {
                mock.unmount();
                mock.open();
                await new Promise(done => setTimeout(done, 5));
            }
        }"""
    )
    assert page.evaluate("() => mock.nListeners()") == 1
    expect(page.get_by_test_id("ll-root")).to_have_count(1)
    page.evaluate("() => mock.unmount()")
    assert page.evaluate("() => [mock.nListeners(), document.getElementById('place').childElementCount]") == [0, 0]
    before = page.evaluate("() => mock.sent.length")
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")
    next_frame(page)
    assert page.evaluate("() => mock.sent.length") == before


def test_every_control_has_a_name(host):
    page = host()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("[data-testid=ll-root] :is(button, input, select, canvas, [role])")]
            .filter(e => e.offsetParent !== null && !e.parentElement.closest("[aria-hidden=true], [role=img]"))
            .filter(e => e.parentElement.dataset.testid !== "ll-map")  // its canvas has the map's own name
            .filter(e => !e.getAttribute("aria-label") && !e.textContent.trim() && !e.labels?.length)
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


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


def test_with_a_gpu_webgl_draws_the_same_map_and_a_lost_context_falls_back(browser, address):
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, reduced_motion="reduce")
    page = context.new_page()
    page.add_init_script(CLAIMS_A_GPU)
    page.goto(f"{address}?theme=light")
    stage = page.get_by_test_id("ll-map")
    expect(stage).to_have_attribute("data-renderer", "webgl2")
    expect(stage).not_to_have_attribute("data-cells", "0")

    inked = """() => {
        const canvas = document.querySelector("[data-testid=ll-map] canvas");
        const { width, height } = canvas;
        const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
        copy.fillStyle = "#fff";
        copy.fillRect(0, 0, width, height);
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, width, height);
        const inked = [];
        for (let i = 0; i < data.length; i += 4) inked.push(data[i] + data[i + 1] + data[i + 2] < 700 ? 1 : 0);
        return inked;
    }"""
    next_frame(page)
    by_gpu = page.evaluate(inked)
    page.evaluate(
        """() => {
            const canvas = document.querySelector("[data-testid=ll-map] canvas");
            canvas.getContext("webgl2").getExtension("WEBGL_lose_context").loseContext();
        }"""
    )
    expect(stage).to_have_attribute("data-renderer", "canvas2d")
    next_frame(page)
    by_hand = page.evaluate(inked)
    context.close()
    assert len(by_gpu) == len(by_hand)
    assert sum(by_gpu) > 2_000
    both = sum(a and b for a, b in zip(by_gpu, by_hand, strict=True))
    assert both > 0.7 * max(sum(by_gpu), sum(by_hand))  # the edges of dots differ, their places do not
