"""Where the keyboard is, in a page and in a shadow root as marimo's, whose document sees only its host."""

import pytest
from playwright.sync_api import expect

from mock_page import next_frame

pytestmark = pytest.mark.browser


@pytest.fixture(params=["", "shadow"])
def page(host, request):
    opened = host(request.param)
    is_inside = "() => document.querySelector('#place').shadowRoot?.querySelector('[data-testid=ll-root]') != null"
    assert opened.evaluate(is_inside) == (request.param == "shadow")
    return opened


def flag(page, number):
    return page.locator(f"[data-testid=ll-flag][data-flag='{number}']")


def test_a_name_that_comes_from_python_is_taken_over_unless_a_hand_is_at_the_box(page):
    boxes = [flag(page, number).get_by_test_id("ll-flag-name") for number in (1, 2)]
    boxes[1].fill("left behind")
    boxes[0].press_sequentially("plasma")
    page.evaluate(
        """() => {
            const saved_at = "2026-11-20T12:04:00+00:00";
            for (const one of mock.run.flags) Object.assign(one, { state: "named", label: "B", saved_at });
            mock.deliver(mock.data.flagsFrame(mock.run));
        }"""
    )
    expect(boxes[1]).to_have_value("B")
    expect(boxes[0]).to_have_value("plasma")
    boxes[0].press_sequentially("blast")
    expect(boxes[0]).to_have_value("plasmablast")


def test_a_new_order_of_the_types_leaves_the_focus_on_its_row(page):
    rows = page.locator(".ll-rows").get_by_role("button")
    expect(rows).to_have_count(10)
    rows.nth(2).focus()
    name = rows.nth(2).get_attribute("title")
    page.evaluate(
        """() => {
            const [header, buffers] = mock.data.prototypesFrame(mock.run);
            mock.deliver([{ ...header, order: [...header.order].reverse() }, buffers]);
        }"""
    )
    expect(rows.nth(7)).to_have_attribute("title", name)
    expect(rows.nth(7)).to_be_focused()


def test_the_sheet_of_keys_gives_the_focus_back(page):
    stage = page.get_by_test_id("ll-map")
    stage.focus()
    page.keyboard.press("?")
    expect(page.get_by_test_id("ll-keys").get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(stage).to_be_focused()


def test_a_choice_that_a_hand_is_making_is_not_put_back_by_a_status(page):
    share = page.get_by_test_id("ll-budget")
    expect(share).to_have_value("0.15")
    share.focus()
    share.evaluate("box => { box.value = '0.6'; }")  # as while its list is open: no change is told yet
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")
    next_frame(page)
    next_frame(page)
    expect(share).to_have_value("0.6")
    page.get_by_test_id("ll-map").focus()
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")
    expect(share).to_have_value("0.15")


def test_the_search_finds_what_is_typed(page):
    box = page.get_by_test_id("ll-search")
    box.press_sequentially("cd3")
    # CD3D, CD3E, CD34, and CD34+ as a prototype
    expect(page.get_by_test_id("ll-found").get_by_role("option")).to_have_count(4)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("ll-found")).to_be_hidden()
