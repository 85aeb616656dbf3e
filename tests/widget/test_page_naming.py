"""A flag's name on its way to the journal, on the mock host."""

import re

import pytest
from playwright.sync_api import expect

from mock_page import TOP_LEFT, drag, sent, wait_for_sent

pytestmark = pytest.mark.browser


def test_a_flags_name_is_pending_until_it_is_saved(host):
    page = host("hold")
    card = page.get_by_test_id("ll-flag").first
    card.get_by_test_id("ll-flag-name").fill("plasmablast")
    card.get_by_test_id("ll-flag-save").click()
    saved = card.get_by_test_id("ll-flag-saved")
    expect(saved).to_have_text("pending…")
    (command,) = wait_for_sent(page, "cmd")
    assert (command["name"], command["args"]) == ("label", {"flag": 1, "name": "plasmablast", "n_cells": 238})
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


def test_every_box_offers_the_names_given_by_hand_and_then_those_that_labels_carry(host):
    page = host()
    # Python's vocabulary is what was given by hand: the types are known from the map alone.
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run, { vocabulary: ['tonsil B', 'NK'] }))")
    drag(page, TOP_LEFT)
    names = page.evaluate("() => mock.run.names")
    wanted = ["tonsil B", "NK", *(name for name in names if name != "NK")]
    offered = "input => [...input.list.options].map(({ value }) => value)"
    for box in ("ll-flag-name", "ll-selection-name"):
        expect(page.get_by_test_id(box).first).to_be_visible()
        assert page.get_by_test_id(box).first.evaluate(offered) == wanted
    # A name that is given in one box is offered by the others.
    page.get_by_test_id("ll-selection-name").fill("germinal centre")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    page.wait_for_function(
        """() => [...document.querySelector("[data-testid=ll-flag-name]").list.options]
            .some(({ value }) => value === "germinal centre")"""
    )
