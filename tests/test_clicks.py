"""A click reaches Python while training runs, whatever the kernel: minor releases of ipykernel differ."""

import pytest
from playwright.sync_api import expect

import other_kernels
from browsing import ask_kernel, jupyter_lab
from in_marimo import marimo_in_training
from notebooks import expect_clicks_to_reach_python, start_quickstart

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.mark.parametrize("release", ["6.31.0", "7.3.0"])
def test_a_click_reaches_python_on_an_earlier_ipykernel(release, browser, tmp_path):
    try:
        first = other_kernels.ipykernel(release)
    except other_kernels.NotToBeHadError as error:
        pytest.skip(str(error))
    with jupyter_lab(tmp_path, first=first) as address:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        start_quickstart(page, address, tmp_path)
        assert ask_kernel(page, "import ipykernel; print(ipykernel.__version__)") == release
        expect_clicks_to_reach_python(page)
        ask_kernel(page, "run.stop(); run.wait(); view.close()")
        page.context.close()


def test_a_click_reaches_python_in_marimo(browser):
    try:
        other_kernels.marimo()
    except other_kernels.NotToBeHadError as error:
        pytest.skip(str(error))
    with marimo_in_training(browser) as (page, stamps, _):
        page.get_by_test_id("ll-pause").click()
        expect(page.get_by_test_id("ll-state")).to_have_text("paused", timeout=20_000)
        page.get_by_test_id("ll-resume").click()
        expect(page.get_by_test_id("ll-state")).to_have_text("training", timeout=20_000)
        assert [name for name, _ in stamps()] == ["pause", "resume"]
