"""Kernels that end under a view, in a real JupyterLab: restarted, and killed in the middle of labelling."""

import os
import signal

import pytest
from playwright.sync_api import Page, expect

from browsing import ask_kernel, jupyter_lab, run_cells
from notebooks import SETTING, VIEW, pause, start_quickstart

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with jupyter_lab(folder) as address:
        yield address, folder


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1500, "height": 1100})
    yield context.new_page()
    context.close()


def wait_for_another_kernel(page: Page, pid: int) -> None:
    for _ in range(300):
        try:
            if int(ask_kernel(page, "import os; print(os.getpid())")) != pid:
                return
        except Exception:
            page.wait_for_timeout(200)
    raise AssertionError("the kernel did not come back")


def test_a_restarted_kernel_is_said_to_be_gone(page, server):
    start_quickstart(page, *server, "restarted.ipynb")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    expect(page.get_by_test_id("ll-banner")).to_contain_text("disconnected", timeout=60_000)


def test_a_killed_kernel_loses_no_acknowledged_label_and_undo_goes_on(page, server):
    address, folder = server
    start_quickstart(page, address, folder, "killed.ipynb")
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-cells", "700", timeout=120_000)
    pause(page)
    pid = int(ask_kernel(page, "import os; print(os.getpid())"))

    stage = page.get_by_test_id("ll-map")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    acknowledged = []
    for number in range(8):
        left, top = box["x"] + (0.05 + 0.1 * number) * box["width"], box["y"] + 0.05 * box["height"]
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move(left, top + 0.9 * box["height"], steps=3)
        page.mouse.move(left + 0.2 * box["width"], top + 0.9 * box["height"], steps=3)
        page.mouse.move(left + 0.2 * box["width"], top, steps=3)
        page.mouse.up()
        name = page.get_by_test_id("ll-selection-name")
        if not name.is_visible():
            continue  # no cell there
        name.fill(f"slice {number}")
        page.get_by_test_id("ll-selection-save").click()
        if len(acknowledged) == 3:
            os.kill(pid, signal.SIGKILL)  # while this one is on its way
            break
        expect(page.get_by_test_id("ll-selection-saved")).to_contain_text("✓ saved", timeout=20_000)
        acknowledged.append(f"slice {number}")
    assert len(acknowledged) == 3

    wait_for_another_kernel(page, pid)
    told = page.locator(".jp-Dialog button.jp-mod-accept")  # JupyterLab says that the kernel died
    if told.count():
        told.first.click()
    run_cells(page, SETTING, VIEW)
    page.get_by_test_id("ll-root").scroll_into_view_if_needed()
    held = ask_kernel(page, "print([entry.new for entry in atlas.labels.entries])")
    assert all(name in held for name in acknowledged)
    n_held = len(eval(held))
    assert n_held in (3, 4)  # the last may have been written and not told
    expect(page.get_by_test_id("ll-journal")).to_contain_text(f"{n_held} labels saved", timeout=30_000)
    page.get_by_test_id("ll-undo").click()
    expect(page.get_by_test_id("ll-journal")).to_contain_text(f"{n_held - 1} labels saved", timeout=30_000)
    expect(page.get_by_test_id("ll-redo")).to_be_enabled()
    ask_kernel(page, "run.stop(); run.wait()")
