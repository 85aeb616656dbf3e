"""Learning, control and moments on the page that plays the notebook."""

import re

import pytest
from playwright.sync_api import Page, expect

from mock_page import next_frame, sent, wait_for_sent

pytestmark = pytest.mark.browser

INKED = """(index) => {
    const canvas = document.querySelectorAll("[data-testid=ll-chart] canvas")[index];
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const pixels = copy.getImageData(0, 0, width, height).data;
    const blue = [];
    for (let i = 0; i < pixels.length; i += 4) {
        if (pixels[i + 3] > 200 && pixels[i + 2] - pixels[i] > 80) blue.push(Math.floor(i / 4 / width));
    }
    return { width, height, rows: new Set(blue).size, n: blue.length };
}"""


def inked(page: Page, index: int) -> dict[str, int]:
    next_frame(page)
    result: dict[str, int] = page.evaluate(INKED, index)
    return result


def test_every_term_fills_its_own_chart_whatever_its_size(host):
    page = host()
    page.evaluate(
        """() => {
            const run = mock.run;
            run.points = {};
            mock.deliver(mock.data.curvesFrame(run, true));
            for (let step = 1; step <= 200; step++) {
                for (const [name, size] of [["tiny", 2e-4], ["large", 2e5]]) {
                    const key = `train\\n${name}`;
                    (run.points[key] ??= { name, split: "train", steps: [], values: [], sent: 0 });
                    run.points[key].steps.push(step);
                    run.points[key].values.push(size * (1 + Math.exp(-step / 50)));
                }
            }
            mock.deliver(mock.data.syncMessage(run, "again"));
        }"""
    )
    expect(page.get_by_test_id("ll-chart")).to_have_count(2)
    for index in (0, 1):
        assert inked(page, index)["rows"] > 55  # of 96, axes and margins apart 74
    assert [caption.inner_text() for caption in page.locator(".ll-term").all()] == ["tiny", "large"]


def test_a_chart_is_read_by_keyboard_and_all_charts_show_the_same_step(host):
    page = host()
    charts = page.get_by_test_id("ll-chart")
    expect(charts).to_have_count(4)
    charts.first.focus()
    page.keyboard.press("Home")
    expect(charts.first).to_have_attribute("aria-valuenow", "1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    want = page.evaluate("() => mock.run.points['train\\ncell-type loss'].values[2]")
    text = charts.first.get_attribute("aria-valuetext") or ""
    assert text.startswith("step 3, train ")
    assert float(text.split("train ")[1].split(",")[0]) == pytest.approx(want, rel=1e-2)
    # Every third step has an accuracy: its chart reads the nearest one.
    expect(charts.nth(3)).to_have_attribute("aria-valuenow", "3")
    page.keyboard.press("ArrowDown")
    expect(charts.nth(1)).to_be_focused()
    page.keyboard.press("Escape")
    expect(charts.first).to_have_attribute("aria-valuenow", "475")


def test_log_scale_is_for_all_charts_or_for_one_and_smoothing_has_a_strength(host):
    page = host()
    ones = page.locator(".ll-log")
    pressed = lambda: [one.get_attribute("aria-pressed") for one in ones.all()]  # noqa: E731
    before = inked(page, 0)
    page.get_by_test_id("ll-log").click()
    next_frame(page)
    assert pressed() == ["true"] * 4
    ones.nth(1).click()
    next_frame(page)
    assert pressed() == ["true", "false", "true", "true"]
    assert inked(page, 0) != before
    slider = page.get_by_test_id("ll-smooth")
    expect(slider).to_have_attribute("aria-valuetext", "off")
    raw = inked(page, 0)
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "over about 32 points")
    assert inked(page, 0)["n"] < raw["n"]  # a thin line, the raw one faint behind it


def test_charts_are_sharp_where_a_pixel_is_two_and_follow_the_theme(browser, address):
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, device_scale_factor=2)
    page = context.new_page()
    page.goto(f"{address}?theme=light")
    chart = page.get_by_test_id("ll-chart").first
    expect(chart).to_be_visible()
    box = chart.bounding_box()
    assert box is not None
    drawn = inked(page, 0)
    assert drawn["height"] == 192 and abs(drawn["width"] - 2 * box["width"]) <= 2
    colour = """() => {
        const canvas = document.querySelector("[data-testid=ll-chart] canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const bright = [];
        for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 250) bright.push(pixels[i + 1]);
        return Math.max(...bright);
    }"""
    light = page.evaluate(colour)
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
    next_frame(page)
    assert page.evaluate(colour) != light
    context.close()


def test_a_rate_is_set_by_hand_and_marked_and_a_refusal_says_why(host):
    page = host()
    page.locator("[data-testid=ll-settings] summary").click()
    rate, button, saved = page.get_by_test_id("ll-set-0"), page.get_by_test_id("ll-set"), "ll-set-saved"
    expect(rate).to_have_value("0.001")
    expect(button).to_be_disabled()
    rate.fill("7")
    rate.press("Enter")
    expect(page.get_by_test_id(saved)).to_have_text(re.compile("not set: the learning rate is a number above 0"))
    rate.fill("0.0005")
    page.get_by_test_id("ll-set-2").fill("0.25")
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")  # what is typed survives an update
    expect(rate).to_have_value("0.0005")
    rate.press("Enter")
    expect(page.get_by_test_id(saved)).to_contain_text("✓ set from step")
    assert [command["args"] for command in sent(page, "cmd")] == [
        {"learning_rate": 7, "weights": {}},
        {"learning_rate": 0.0005, "weights": {"batch loss": 0.25}},
    ]
    expect(page.locator("[data-testid=ll-settings] summary")).to_contain_text("set 1×")
    chart = page.get_by_test_id("ll-chart").first
    chart.focus()
    page.keyboard.press("End")
    expect(chart).to_have_attribute("aria-valuetext", re.compile("learning rate 0.001 → 0.0005"))


def test_a_paused_run_is_stepped_by_key_or_button(host):
    page = host()
    expect(page.get_by_test_id("ll-step")).to_be_hidden()
    page.get_by_test_id("ll-pause").click()
    expect(page.get_by_test_id("ll-step")).to_be_visible()
    page.get_by_test_id("ll-step").click()
    expect(page.get_by_test_id("ll-chart").first).to_have_attribute("aria-valuemax", "476")
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press(".")
    expect(page.get_by_test_id("ll-chart").first).to_have_attribute("aria-valuemax", "477")
    assert [command["name"] for command in wait_for_sent(page, "cmd", 3)] == ["pause", "step", "step"]


def test_a_kept_moment_stands_beside_now_in_the_same_colours(host):
    page = host()
    compare = page.get_by_test_id("ll-compare")
    expect(compare).to_be_hidden()
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("k")
    expect(compare).to_be_visible()
    expect(compare).to_contain_text("1 of at most 8 kept")
    page.evaluate("() => { mock.data.advance(mock.run, 50); mock.deliver(mock.data.curvesFrame(mock.run, false)); }")
    page.evaluate("() => { for (let i = 0; i < 8; i++) mock.data.relayout(mock.run); }")
    page.evaluate("() => mock.deliver(mock.data.mapFrame(mock.run))")
    compare.scroll_into_view_if_needed()
    next_frame(page)
    colours = """() => [...document.querySelectorAll("[data-testid=ll-compare] canvas")].map(canvas => {
        const { width, height } = canvas;
        const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer);
        return { some: [...pixels.filter((p, i) => i % 7 === 0)], kinds: new Set(pixels).size };
    })"""
    then, now = page.evaluate(colours)
    assert then["kinds"] > 10 and now["kinds"] > 10 and then["some"] != now["some"]
    expect(page.get_by_test_id("ll-moment-0")).to_have_value("1")
    expect(page.get_by_test_id("ll-moment-1")).to_have_value("0")
    row = compare.get_by_role("row", name=re.compile("^cell-type loss \\d"))
    assert len(re.findall(r"0\.\d+", row.inner_text())) == 2
    # A cell under the pointer is ringed in both.
    box = compare.locator(".ll-moment-map").first.bounding_box()
    assert box is not None
    for shift in range(0, 60, 3):
        page.mouse.move(box["x"] + box["width"] / 2 + shift, box["y"] + box["height"] / 2)
        next_frame(page)
        if compare.locator(".ll-here:visible").count() == 2:
            break
    expect(compare.locator(".ll-here:visible")).to_have_count(2)
    compare.get_by_role("button", name="Drop the moment of step 475").click()
    expect(compare).to_be_hidden()


def test_health_says_what_minibatches_hold(host):
    page = host()
    health = page.get_by_test_id("ll-health")
    expect(health).to_contain_text(re.compile("cells a minibatch 1.024"))
    expect(health).to_contain_text("read 4.7 GB")
    expect(health.locator(".ll-warns")).to_contain_text("anchors without a positive")
