"""The view without a mouse, on the mock host."""

import re

import pytest
from playwright.sync_api import expect

from mock_page import sent, wait_for_sent

pytestmark = pytest.mark.browser


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
    assert commands[0]["args"] == {"flag": 2, "name": "doublet? no: lLnb", "n_cells": 131}
    expect(page.get_by_test_id("ll-state")).to_have_text("paused")
    page.keyboard.press("?")
    expect(page.get_by_test_id("ll-keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("ll-keys")).to_be_hidden()


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
