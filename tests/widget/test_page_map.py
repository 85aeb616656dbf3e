"""The map on the mock host: it moves, zooms, greys out, and is the same by either renderer."""

import re

import pytest
from playwright.sync_api import expect

from mock_page import CLAIMS_A_GPU, COUNTS_WHAT_IS_HELD, colours_on_map, next_frame

pytestmark = pytest.mark.browser


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


SLOW_TO_PAINT = """(() => {
    const put = CanvasRenderingContext2D.prototype.putImageData;
    CanvasRenderingContext2D.prototype.putImageData = function (...args) {
        const until = performance.now() + (window.slow_ms ?? 0);
        while (performance.now() < until);
        return put.apply(this, args);
    };
})()"""
PAINTED = """() => {
    const canvas = document.querySelector("[data-testid=ll-map] canvas");
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    const root = getComputedStyle(document.querySelector("[data-testid=ll-root]"));
    const hex = (name) => parseInt(root.getPropertyValue(name).trim().slice(1), 16);
    const [paper, flag] = [hex("--ll-bg"), hex("--ll-flag")];
    let [inked, flagged] = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
        const colour = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
        if (colour !== paper) inked += 1;
        if (colour === flag) flagged += 1;
    }
    return [inked, flagged];
}"""


def test_a_map_that_is_slow_to_paint_is_thinned_but_for_its_flags_and_filled_again_when_it_is_quick(host):
    page = host("cells=20000", script=SLOW_TO_PAINT)
    stage = page.get_by_test_id("ll-map")
    stage.focus()

    def paint(times: int) -> None:
        for number in range(times):
            page.keyboard.press("ArrowRight" if number % 2 else "ArrowLeft")
            next_frame(page)

    paint(2)
    inked, flagged = page.evaluate(PAINTED)
    assert flagged > 100
    page.evaluate("() => { window.slow_ms = 120; }")
    paint(8)
    expect(page.get_by_text("thinned 16-fold to stay quick")).to_be_visible()
    thinned, still_flagged = page.evaluate(PAINTED)
    assert thinned < 0.6 * inked
    assert still_flagged > 0.98 * flagged  # none went; their edges lie on another ground
    page.evaluate("() => { window.slow_ms = 0; }")
    paint(50)
    expect(page.get_by_text("thinned")).to_have_count(0)
    paint(2)
    assert page.evaluate(PAINTED) == [inked, flagged]


SLOW_CARD = """(() => {
    // A card that is slow: who waits for its drawing, as reading a pixel does, waits long.
    const read = WebGL2RenderingContext.prototype.readPixels;
    WebGL2RenderingContext.prototype.readPixels = function (...args) {
        const until = performance.now() + 130;
        while (performance.now() < until);
        window.n_waits = (window.n_waits ?? 0) + 1;
        return read.apply(this, args);
    };
})()"""


def test_a_webgl_that_is_slow_is_left_for_the_other_renderer_and_the_picture_stays(host):
    ends = "document.querySelector('[data-testid=ll-map]').dataset.renderer === 'canvas2d'"
    page = host("cells=30000", script=f"{CLAIMS_A_GPU};{COUNTS_WHAT_IS_HELD};{SLOW_CARD}")
    for _ in range(4):  # it is painted when something changes only
        page.get_by_test_id("ll-map").press("ArrowRight")
        page.get_by_test_id("ll-map").press("ArrowLeft")
        next_frame(page)
    page.wait_for_function(f"() => {ends}")
    assert page.evaluate("() => [window.nContexts(), window.held().contexts]") == [1, 0]  # tried, and given back
    assert page.evaluate("() => window.n_waits") == 2  # the second in a row settles it
    assert page.evaluate("() => document.querySelectorAll('[data-testid=ll-map] canvas').length") == 1
    expect(page.get_by_text("thinned")).to_have_count(0)
    # What there is to see is what a page without a GPU shows after the same hands.
    other = host("cells=30000")
    for _ in range(4):
        other.get_by_test_id("ll-map").press("ArrowRight")
        other.get_by_test_id("ll-map").press("ArrowLeft")
    next_frame(other)
    next_frame(page)
    pixels = "() => document.querySelector('[data-testid=ll-map] canvas').toDataURL()"
    assert page.evaluate(PAINTED)[0] > 10_000
    assert page.evaluate(pixels) == other.evaluate(pixels)
