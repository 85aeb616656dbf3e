"""Flags and prototypes on the page that plays the notebook: cards, merge, cut, heat map; by mouse and by keyboard."""

import re

import pytest
from playwright.sync_api import expect

from mock_page import drag, next_frame, sent, wait_for_sent

pytestmark = pytest.mark.browser


def flag(page, number):
    return page.locator(f"[data-testid=ll-flag][data-flag='{number}']")


def test_a_technical_flag_says_so_with_its_numbers_beside_the_types(host):
    page = host()
    card = flag(page, 3)
    expect(card.get_by_text("probably technical", exact=True)).to_be_visible()
    expect(card).to_contain_text("doublets of CD34+ and NK")
    row = card.get_by_role("row").filter(has_text="depth")
    expect(row).to_contain_text(re.compile(r"depth\s*6\W900\W*2\W600\W*3\W105"))
    expect(flag(page, 1).get_by_text("probably technical", exact=True)).to_be_hidden()
    expect(flag(page, 1)).to_contain_text(re.compile(r"cell cycle: S 31\W%"))
    expect(flag(page, 2)).to_contain_text("1 batch only: donor 107")


def test_the_first_flags_are_announced_and_those_that_a_page_opens_with_are_not(host):
    page = host()
    voice = page.get_by_test_id("ll-voice")
    next_frame(page)
    assert "new flag" not in voice.inner_text()
    page.evaluate(
        """() => {
            mock.unmount();
            mock.held = mock.run.flags;
            mock.run.flags = [];
            mock.open();
        }"""
    )
    # Until the sync has come there are no cards either, and those of the first sync are no news.
    expect(page.get_by_test_id("ll-no-flags")).to_contain_text("No flags at")
    expect(page.get_by_test_id("ll-flag")).to_have_count(0)
    page.evaluate("() => { mock.run.flags = mock.held; mock.deliver(mock.data.flagsFrame(mock.run)); }")
    expect(voice).to_contain_text("3 new flags: 1")


def test_a_flag_inside_a_types_radius_takes_its_name_with_one_click(host):
    page = host()
    expect(flag(page, 1).get_by_test_id("ll-flag-accept")).to_have_count(0)
    flag(page, 3).get_by_test_id("ll-flag-accept").click()
    expect(flag(page, 3).get_by_test_id("ll-flag-saved")).to_contain_text("✓ saved")
    (command,) = sent(page, "cmd")
    n_cells = page.evaluate("() => mock.run.flags.find(one => one.id === 3).n_cells")  # a flag is named as it was seen
    assert (command["name"], command["args"]) == ("label", {"flag": 3, "name": "CD34+", "n_cells": n_cells})


def test_a_suggested_name_is_written_and_not_saved(host):
    page = host()
    flag(page, 1).get_by_role("button", name="DC?").click()
    box = flag(page, 1).get_by_test_id("ll-flag-name")
    expect(box).to_have_value("DC")
    expect(box).to_be_focused()
    assert sent(page, "cmd") == []


def test_chosen_flags_become_one_by_keyboard(host):
    page = host()
    for number in (1, 3):
        flag(page, number).get_by_test_id("ll-flag-choose").focus()
        page.keyboard.press("Space")
    expect(page.get_by_test_id("ll-state")).to_have_text("training")  # the space chose, and paused nothing
    page.get_by_test_id("ll-merge").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("ll-flag")).to_have_count(2)
    expect(flag(page, 1)).to_contain_text("281 cells")
    expect(flag(page, 1)).to_contain_text("made by hand")
    expect(page.get_by_test_id("ll-merge")).to_be_hidden()
    (command,) = sent(page, "cmd")
    assert (command["name"], command["args"]) == ("merge", {"flags": [1, 3]})


def test_a_lasso_through_a_flag_cuts_it_in_two(host):
    page = host()
    split = flag(page, 1).get_by_test_id("ll-flag-split")
    expect(split).to_be_hidden()
    ring = page.locator(".ll-ring ellipse").first.bounding_box()
    stage = page.get_by_test_id("ll-map").bounding_box()
    x = [(ring["x"] + share * ring["width"] - stage["x"]) / stage["width"] for share in (0.5, 1.3)]
    y = [(ring["y"] + share * ring["height"] - stage["y"]) / stage["height"] for share in (1.4, -0.3)]
    drag(page, [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])])
    expect(split).to_be_visible()
    n = int(re.sub(r"\D", "", split.inner_text()))
    split.click()
    expect(flag(page, 4)).to_contain_text(f"{n} cells")
    expect(flag(page, 1)).to_contain_text(f"{238 - n} cells")
    (command,) = sent(page, "cmd")
    inside = page.evaluate("() => mock.run.flag.filter(one => one === 4).length")
    assert command["name"] == "split" and inside == n > 10


def test_while_the_slider_moves_the_count_moves_and_it_is_applied_where_it_is_let_go(host):
    page = host()
    box = page.get_by_test_id("ll-target-fpr").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 6.02 / 11, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 8, y, steps=5)
    expect(page.get_by_test_id("ll-reading")).to_contain_text("71 cells flagged")
    next_frame(page)
    assert sent(page, "cmd") == []
    page.mouse.up()
    (command,) = wait_for_sent(page, "cmd")
    assert command["args"] == {"target_fpr": 0.001}


def test_of_a_thousand_flags_a_page_is_shown_and_the_next_flag_is_reached_by_key(host):
    page = host("flags=1000")
    expect(page.get_by_test_id("ll-flag")).to_have_count(40)
    page.get_by_test_id("ll-more-flags").click()
    expect(page.get_by_test_id("ll-flag")).to_have_count(80)
    page.get_by_test_id("ll-root").focus()
    page.keyboard.press("n")
    expect(flag(page, 1)).to_be_focused()


def test_hostile_names_are_text_on_cards_and_among_prototypes(host):
    page = host("evil")
    expect(page.get_by_test_id("ll-flag")).to_have_count(3)
    assert page.evaluate("() => [window.pwned, document.querySelectorAll('.livelatent img').length]") == [None, 0]
    expect(flag(page, 2)).to_contain_text("خلايا تائية")
    expect(flag(page, 2).get_by_test_id("ll-flag-name")).to_have_value("<img src=x onerror=window.pwned=1>")
    wide = page.evaluate(
        """() => { const root = document.querySelector("[data-testid=ll-root]").getBoundingClientRect();
            return [...document.querySelectorAll(".ll-card *, .ll-prototypes *")]
                .filter(e => e.getBoundingClientRect().right > root.right + 1).map(e => e.className || e.tagName); }"""
    )
    assert wide == []


def test_the_heat_map_is_read_and_chosen_from_by_keyboard(host):
    page = host()
    heat, cell = page.get_by_test_id("ll-heat"), page.get_by_test_id("ll-cell")
    heat.focus()
    page.keyboard.press("ArrowDown")  # to the chosen one's own cell
    page.keyboard.press("ArrowRight")
    order, names, distance = page.evaluate(
        """() => { const [header, [distance]] = mock.data.prototypesFrame({ ...mock.run, seq: 0 });
            return [header.order, header.names, [...distance]]; }"""
    )
    row = next(i for i, one in enumerate(order) if names[one] == "flag 1")
    a, b = order[row], order[row + 1]
    expect(cell).to_have_text(f"{names[a]} – {names[b]}: {distance[a * len(names) + b]:.2f} mean radii")
    expect(page.get_by_test_id("ll-voice")).to_have_text(cell.inner_text())
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".ll-rows [aria-pressed=true]")).to_have_text(names[b])
    (command,) = wait_for_sent(page, "cmd")
    assert (command["name"], command["args"]) == ("nearest", {"prototype": b})
    expect(page.locator(".ll-drift")).to_contain_text("drift from look to look")


def test_a_prototypes_own_and_nearest_cells_are_selected_on_the_map(host):
    page = host()
    page.locator(".ll-rows .ll-row", has_text="DC").click()
    page.get_by_test_id("ll-own-cells").click()
    n = page.evaluate("() => mock.run.label.filter(code => mock.run.names[code] === 'DC').length")
    expect(page.get_by_test_id("ll-selected")).to_have_text(f"{n} cells selected")
    page.get_by_test_id("ll-nearest-cells").click()
    expect(page.get_by_test_id("ll-selected")).to_have_text("12 cells selected")


def test_a_prototypes_cells_are_named_by_their_rule_and_a_lasso_after_them_is_part_of_it(host):
    page = host()
    page.locator(".ll-rows .ll-row", has_text="DC").click()
    page.get_by_test_id("ll-nearest-cells").click()
    expect(page.get_by_test_id("ll-selected")).to_have_text("12 cells selected")
    page.get_by_test_id("ll-own-cells").click(modifiers=["Shift"])
    drag(page, [(0.02, 0.02), (0.3, 0.02), (0.3, 0.98), (0.02, 0.98)], modifier="Alt")
    page.get_by_test_id("ll-selection-name").fill("pDC")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    selector = next(command for command in sent(page, "cmd") if command["name"] == "label")["args"]["selector"]
    assert (selector["kind"], selector["scope"], selector["layout"]) == ("prototype_nearest", "panel", 1)
    nearest, own, lasso = selector["parts"]
    assert nearest == {"mode": "replace", "kind": "prototype_nearest", "name": "DC", "n": 12, "asked": 5}
    assert own == {"mode": "add", "kind": "prototype_cells", "name": "DC"}
    assert (lasso["mode"], lasso["kind"]) == ("subtract", "lasso")


def test_a_flag_among_the_prototypes_selects_its_cells_as_a_flag(host):
    page = host()
    page.locator(".ll-rows .ll-row", has_text="flag 2").click()
    page.get_by_test_id("ll-own-cells").click()
    n = page.evaluate("() => mock.run.flag.filter(id => id === 2).length")
    expect(page.get_by_test_id("ll-selected")).to_have_text(f"{n} cells selected")
    page.get_by_test_id("ll-selection-name").fill("stressed")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    selector = next(command for command in sent(page, "cmd") if command["name"] == "label")["args"]["selector"]
    assert selector["parts"] == [{"mode": "replace", "kind": "flag", "flag": 2}]


def test_three_hundred_types_fit_and_are_found_by_name(host):
    page = host("types=300")
    expect(page.get_by_test_id("ll-prototypes")).to_have_attribute("data-count", "302")
    assert page.get_by_test_id("ll-heat").bounding_box()["height"] <= 300
    assert page.locator(".ll-prototypes").bounding_box()["height"] < 600
    page.get_by_label("Find a type").fill("treg 1")
    rows = page.locator(".ll-rows .ll-row")
    wanted = page.evaluate("() => mock.run.names.filter(name => name.toLowerCase().includes('treg 1'))")
    expect(rows).to_have_count(len(wanted))
    rows.first.click()
    expect(page.locator(".ll-vector-title b")).to_have_text(rows.first.get_attribute("title"))
