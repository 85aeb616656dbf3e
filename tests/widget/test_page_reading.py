"""A cell's facts without a pointer: R, then arrows from cell to cell, said aloud; on the mock host."""

import math
import re

import pytest
from playwright.sync_api import expect

from mock_page import TOP_LEFT, drag, next_frame, sent

pytestmark = pytest.mark.browser


def start(page):
    page.get_by_test_id("ll-map").focus()
    page.keyboard.press("r")
    expect(page.get_by_test_id("ll-reading-at")).to_be_visible()


def cells_of(page):
    """Of each cell its row, its place and its flag, from the mock's own run."""
    return page.evaluate("() => mock.run.cell.map((row, i) => [row, mock.run.x[i], mock.run.y[i], mock.run.flag[i]])")


def said(page):
    return page.get_by_test_id("ll-voice").inner_text()


def row_said(page):
    """The row of the cell that was said, by the name that the mock gives it."""
    expect(page.get_by_test_id("ll-voice")).to_contain_text("AAACCTG-")
    return int(re.search(r"AAACCTG-(\d+)", said(page)).group(1))


def test_r_reads_the_cell_in_the_middle_with_all_that_is_known_of_it(host):
    page = host()
    start(page)
    voice = page.get_by_test_id("ll-voice")
    expect(voice).to_contain_text(re.compile(r"^cell \d[\d\W]*: .*predicted .+, batch donor \d+"))
    row = row_said(page)
    expect(voice).to_contain_text(re.compile(r"nearest prototype CD8 T, 1.3 radii|predicted .* 88"))
    cells = cells_of(page)
    x0, x1 = min(x for _, x, _, _ in cells), max(x for _, x, _, _ in cells)
    y0, y1 = min(y for _, _, y, _ in cells), max(y for _, _, y, _ in cells)
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    assert row == min(cells, key=lambda cell: math.dist(cell[1:3], middle))[0]
    card = page.get_by_test_id("ll-card")
    expect(card).to_contain_text(f"AAACCTG-{row}")
    expect(card).to_contain_text("nearest prototype")


def test_arrows_go_from_cell_to_cell_and_shift_goes_farther(host):
    page = host()
    start(page)
    places = {row: (x, y) for row, x, y, _ in cells_of(page)}
    before = places[row_said(page)]
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, 1), ("ArrowLeft", 0, -1), ("ArrowDown", 1, -1)):
        page.evaluate("() => { document.querySelector('[data-testid=ll-voice]').textContent = ''; }")
        page.keyboard.press(key)
        here = places[row_said(page)]
        assert sign * (here[axis] - before[axis]) > 0
        assert abs(here[1 - axis] - before[1 - axis]) <= abs(here[axis] - before[axis]) * 1.01
        before = here
    page.evaluate("() => { document.querySelector('[data-testid=ll-voice]').textContent = ''; }")
    ring = page.get_by_test_id("ll-reading-at")
    left = ring.bounding_box()["x"]
    page.keyboard.press("Shift+ArrowLeft")
    row_said(page)
    assert ring.bounding_box()["x"] < left - 20


def test_among_selected_cells_only_those_are_read_and_a_cell_out_of_sight_is_brought_there(host):
    page = host()
    page.locator("[data-testid=ll-flag][data-flag='2']").get_by_test_id("ll-flag-show").click()
    page.get_by_test_id("ll-map").focus()
    page.keyboard.press("s")
    expect(page.get_by_test_id("ll-selected")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("ArrowRight")  # the map goes on until flag 2 is out of sight
    start(page)
    flags = {row: flag for row, _, _, flag in cells_of(page)}
    seen = set()
    for key in ("ArrowLeft", "ArrowUp", "ArrowLeft", "ArrowDown"):
        seen.add(row_said(page))
        page.evaluate("() => { document.querySelector('[data-testid=ll-voice]').textContent = ''; }")
        page.keyboard.press(key)
    seen.add(row_said(page))
    assert {flags[row] for row in seen} == {2} and len(seen) >= 4
    next_frame(page)
    stage, ring = (page.get_by_test_id(name).bounding_box() for name in ("ll-map", "ll-reading-at"))
    assert stage["x"] <= ring["x"] and ring["x"] + ring["width"] <= stage["x"] + stage["width"]


def test_escape_or_leaving_the_map_ends_it_and_arrows_move_the_map_again(host):
    page = host()
    ring, card = page.get_by_test_id("ll-reading-at"), page.get_by_test_id("ll-card")
    start(page)
    page.keyboard.press("Escape")
    expect(ring).to_be_hidden()
    expect(card).to_be_hidden()
    label = "() => document.querySelector('.ll-ring[data-flag=\"1\"] ellipse').getAttribute('cx')"
    before = page.evaluate(label)
    page.keyboard.press("ArrowRight")
    next_frame(page)
    assert page.evaluate(label) != before
    start(page)
    page.get_by_test_id("ll-search").focus()
    expect(ring).to_be_hidden()
    expect(card).to_be_hidden()


def test_a_new_layout_moves_the_ring_and_does_not_say_the_cell_again(host):
    page = host()
    start(page)
    row = row_said(page)
    page.evaluate("() => { document.querySelector('[data-testid=ll-voice]').textContent = ''; }")
    before = page.get_by_test_id("ll-reading-at").bounding_box()
    page.evaluate(
        """() => {
            const { run } = mock;
            run.layout += 1;
            run.x = run.x.map((x, i) => x + (i % 2 ? 0.4 : -0.4) + 0.2 * run.y[i]);
            mock.deliver(mock.data.mapFrame(run));
        }"""
    )
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-layout", "2")
    page.wait_for_function("() => mock.sent.filter(m => m.name === 'cell').length >= 2")
    next_frame(page)
    assert page.get_by_test_id("ll-reading-at").bounding_box() != before
    assert [command["args"]["row"] for command in sent(page, "cmd")] == [row, row]
    assert said(page) == ""


def test_a_snapshot_reads_what_it_holds(host):
    page = host("static")
    start(page)
    expect(page.get_by_test_id("ll-voice")).to_contain_text(re.compile(r"^cell \d[\d\W]*: .*batch donor \d+"))
    assert page.evaluate("() => mock.sent") == []


def test_the_sheet_of_keys_lists_it(host):
    page = host()
    drag(page, TOP_LEFT)
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("?")
    expect(page.get_by_test_id("ll-keys")).to_contain_text("read the cell in the middle of the map")
