"""What a lasso and a box catch, on the mock host."""

import re

import pytest
from playwright.sync_api import expect

from mock_page import CELLS_INSIDE, RIGHT_HALF, TOP_LEFT, drag, sent

pytestmark = pytest.mark.browser


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


def test_what_a_lasso_named_is_not_called_saved_once_it_is_undone(host):
    page = host()
    drag(page, TOP_LEFT)
    page.get_by_test_id("ll-selection-name").fill("T cells")
    page.get_by_test_id("ll-selection-save").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved")
    page.get_by_test_id("ll-undo").click()
    expect(page.get_by_test_id("ll-selection-saved")).to_have_text("")
    expect(page.get_by_test_id("ll-selected")).to_contain_text("cells selected")
