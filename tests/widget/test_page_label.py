"""Colouring, selecting and naming on the mock host: the page alone, no Jupyter and no kernel."""

import re

import pytest
from playwright.sync_api import Page, expect

from mock_page import TOP_LEFT, drag, next_frame, sent

pytestmark = pytest.mark.browser


def colour_by(page: Page, text: str) -> None:
    """With the keyboard alone."""
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("c")
    page.keyboard.type(text)
    expect(
        page.get_by_test_id("ll-found").get_by_role("option", name=re.compile(re.escape(text), re.I)).first
    ).to_be_visible()
    expect(page.get_by_test_id("ll-found").get_by_role("option").first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")


def asked(page: Page, name: str) -> list[dict]:
    return [message["args"] for message in sent(page, "cmd") if message["name"] == name]


def values_on_map(page: Page) -> list[list[float | int]]:
    """Row, atlas and gene value of each cell, as the mock kernel sent them."""
    rows: list[list[float | int]] = page.evaluate(
        """() => {
            const [, [values]] = mock.data.valuesFrame({ ...mock.run, seq: 0 });
            return mock.run.cell.map((row, i) => [row, mock.run.query[i], values[i]]);
        }"""
    )
    return rows


def test_a_gene_is_found_coloured_gated_and_named_by_keyboard_alone(host):
    page = host()
    colour_by(page, "cd3e")
    expect(page.get_by_test_id("ll-map")).to_have_attribute("aria-label", re.compile("coloured by gene CD3E"))
    expect(page.get_by_test_id("ll-scale")).to_contain_text("log1p of counts")
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("g")
    expect(page.get_by_test_id("ll-gate")).to_be_focused()
    page.keyboard.type("1.25")
    want = sorted([q, row] for row, q, value in values_on_map(page) if value is not None and value >= 1.25)
    assert 50 < len(want) < 3_000
    expect(page.get_by_test_id("ll-gate-count")).to_have_text(f"{len(want)} cells")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ll-selected")).to_contain_text(f"{len(want)} cells selected")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.keyboard.type("high")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    (label,) = asked(page, "label")
    assert label["name"] == "high" and sorted(label["cells"]) == want
    (part,) = label["selector"]["parts"]
    assert part == {"kind": "gene", "name": "CD3E", "values": 7, "op": ">=", "threshold": 1.25, "mode": "replace"}
    assert label["selector"]["scope"] == "panel" and label["selector"]["layout"] == 1


GATES = {"gene": ("≥", 0.9, 1.4), "novelty": ("≤", 0.05, 0.5)}


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("by", ["buttons", "Select with a key", "Enter with a key"])
def test_a_gate_adds_and_subtracts(host, kind, by):
    page = host()
    if kind == "gene":
        colour_by(page, "cd3e")
        expect(page.get_by_test_id("ll-scale")).to_contain_text("log1p of counts")
        held = {(q, row): value for row, q, value in values_on_map(page)}
    else:
        page.get_by_test_id("ll-colour").select_option("novelty")
        cells = page.evaluate(
            "() => mock.run.cell.map((row, i) => [mock.run.query[i], row, Math.fround(mock.run.p[i])])"
        )
        held = {(q, row): value for q, row, value in cells}
    op, first, second = GATES[kind]
    passes = (lambda v, t: v >= t) if op == "≥" else (lambda v, t: v <= t)
    kept = {t: {cell for cell, v in held.items() if v is not None and passes(v, t)} for t in (first, second)}

    def gate(threshold, join):
        box = page.get_by_test_id("ll-gate")
        box.fill(str(threshold))
        modifier = {"add": "Shift", "subtract": "Alt", "replace": None}[join]
        if by == "buttons":
            page.get_by_test_id(f"ll-gate-{join}").click()
        elif by == "Select with a key":
            page.get_by_test_id("ll-gate-replace").click(modifiers=[modifier] if modifier else [])
        else:
            box.press(f"{modifier}+Enter" if modifier else "Enter")

    digits = "() => document.querySelector('[data-testid=ll-selected]').textContent.replace(/\\D/g, '')"
    narrow, wide = sorted(kept, key=lambda t: len(kept[t]))
    assert 0 < len(kept[narrow]) < len(kept[wide]) < len(held)
    gate(wide, "replace")
    page.wait_for_function(f"n => ({digits})() === String(n)", arg=len(kept[wide]))
    gate(narrow, "subtract")
    page.wait_for_function(f"n => ({digits})() === String(n)", arg=len(kept[wide] - kept[narrow]))
    page.get_by_test_id("ll-map").focus()
    page.keyboard.press("i")  # so that adding the same gate again adds something
    page.wait_for_function(f"n => ({digits})() === String(n)", arg=len(held) - len(kept[wide] - kept[narrow]))
    gate(wide, "subtract")
    gate(narrow, "add")
    want = (set(held) - kept[wide]) | kept[narrow]
    page.wait_for_function(f"n => ({digits})() === String(n)", arg=len(want))
    page.get_by_test_id("ll-selection-name").fill("gated")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    (label,) = asked(page, "label")
    assert {(q, row) for q, row in label["cells"]} == want
    parts = [(part["mode"], part.get("kind"), part.get("threshold")) for part in label["selector"]["parts"]]
    assert parts == [
        ("replace", kind, wide),
        ("subtract", kind, narrow),
        ("invert", None, None),
        ("subtract", kind, wide),
        ("add", kind, narrow),
    ]


def test_a_gate_on_all_cells_is_counted_before_it_is_named(host):
    page = host()
    colour_by(page, "cd3e")
    page.get_by_test_id("ll-gate-replace").click()
    page.get_by_test_id("ll-scope").select_option("all")
    expect(page.get_by_test_id("ll-selected")).to_have_text(re.compile("counting"))
    expect(page.get_by_test_id("ll-selected")).to_have_text(re.compile(r"^123.456 cells selected$"))
    expect(page.get_by_test_id("ll-where")).to_contain_text("of 1")
    page.get_by_test_id("ll-selection-name").fill("everywhere")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    (label,) = asked(page, "label")
    assert label["selector"]["scope"] == "all" and "cells" not in label


def test_after_a_lasso_one_types_the_name_at_once_and_its_cells_are_said_to_be_on_the_map(host):
    page = host()
    drag(page, TOP_LEFT)
    expect(page.get_by_test_id("ll-selection-name")).to_be_focused()
    expect(page.get_by_test_id("ll-where")).to_contain_text("on the map")
    expect(page.get_by_test_id("ll-scope")).to_be_hidden()
    page.keyboard.type("T")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    assert asked(page, "label")[0]["selector"]["parts"][0]["kind"] == "lasso"
    names = page.get_by_test_id("ll-selection-name").evaluate("box => [...box.list.options].map(o => o.value)")
    assert {"T", "CD4 T", "NK"} <= set(names)


def test_a_flag_is_selected_inverted_and_taken_away_by_keys(host):
    page = host()
    n_cells = page.evaluate("() => mock.run.n")
    n_flag = page.evaluate("() => mock.run.flag.filter(f => f === 1).length")
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("n")
    page.keyboard.press("s")
    text = page.get_by_test_id("ll-selected")
    expect(text).to_contain_text(f"{n_flag} cells selected")
    page.keyboard.press("i")
    digits = "() => document.querySelector('[data-testid=ll-selected]').textContent.replace(/\\D/g, '')"
    page.wait_for_function(f"n => ({digits})() === String(n)", arg=n_cells - n_flag)
    page.keyboard.press("n")
    page.keyboard.press("Alt+s")
    n_second = page.evaluate("() => mock.run.flag.filter(f => f === 2).length")
    page.wait_for_function(f"n => ({digits})() === String(n)", arg=n_cells - n_flag - n_second)
    page.keyboard.press("Escape")
    expect(text).to_be_hidden()


def test_a_column_of_names_is_named_on_the_map_and_its_html_is_text(host):
    page = host("theme=dark", width=620)
    colour_by(page, "tissue")
    for name in ("blood", "spleen", "<b>lymph</b>"):
        expect(page.get_by_test_id("ll-map").get_by_role("button", name=name, exact=True)).to_be_visible()
    expect(page.get_by_test_id("ll-scale")).to_be_hidden()
    colour_by(page, "<img src=x")
    expect(page.get_by_test_id("ll-scale")).to_be_visible()
    assert page.locator(".livelatent img").count() == 0
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_values_that_can_not_be_had_are_said_and_the_colour_stays(host):
    page = host()
    colour_by(page, "cd8a")
    expect(page.get_by_test_id("ll-banner")).to_contain_text("no values: the store could not be read")
    expect(page.get_by_test_id("ll-colour")).to_have_value("label")


def test_what_is_drawn_refers_to_the_layout_that_is_seen(host):
    page = host(still=False)
    box = page.get_by_test_id("ll-map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 20, steps=3)
    page.evaluate("() => { mock.data.relayout(mock.run); mock.deliver(mock.data.mapFrame(mock.run)); }")
    next_frame(page)
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-layout", "1")
    page.mouse.move(box["x"] + 200, box["y"] + 330, steps=3)
    page.mouse.up()
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-layout", "2")
    expect(page.get_by_test_id("ll-selected")).to_be_visible()
    page.get_by_test_id("ll-selection-name").fill("x")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    (part,) = asked(page, "label")[0]["selector"]["parts"]
    assert part["layout"] == 1


def test_the_card_tells_what_only_python_knows(host):
    page = host()
    box = page.get_by_test_id("ll-map").bounding_box()
    assert box is not None
    at = page.evaluate(
        """() => {
            const labels = [...document.querySelectorAll('.ll-label')];
            const label = labels.find(l => l.textContent === 'CD14 mono').getBoundingClientRect();
            return [label.x + label.width / 2, label.y + label.height + 14];
        }"""
    )
    for dx in range(0, 60, 4):
        page.mouse.move(at[0] + dx, at[1] + dx / 3)
        next_frame(page)
        if page.get_by_test_id("ll-card").is_visible():
            break
    expect(page.get_by_test_id("ll-card")).to_contain_text("AAACCTG-")
    expect(page.get_by_test_id("ll-card")).to_contain_text("nearest prototype CD8 T, 1.3 radii")
    expect(page.get_by_test_id("ll-card")).to_contain_text("88")


def test_retraining_is_one_click_once_there_is_something_to_learn(host):
    page = host()
    button = page.get_by_test_id("ll-retrain")
    expect(button).to_be_hidden()
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.keyboard.type("new type")
    page.keyboard.press("Enter")
    expect(button).to_have_text("Retrain with 1 new label")
    button.click()
    expect(button).to_have_text("Retraining: preparing…")
    expect(button).to_be_disabled()
    assert asked(page, "retrain") == [{}]
