"""The quickstart in a JupyterLab, in training: what tests and benchmarks do there."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from browsing import ask_kernel, open_notebook, run_cells
from livelatent.quickstart import notebook_json

SETTING, STORE, VIEW, WAIT, NOVEL, NAME, WRITE = 1, 2, 3, 5, 7, 8, 10
"""Positions of the quickstart's code cells."""

HELD_CURVES = """(number) => {
    const root = document.querySelectorAll("[data-testid=ll-root]")[number];
    return root.livelatent.curves.curves.map(
        ({ name, split, steps, values, n }) => [name, split, [...steps.subarray(0, n)], [...values.subarray(0, n)]]
    );
}"""
KNOWN_CURVES = """
import json
print(json.dumps([
    [curve.name, curve.split, curve.steps.tolist(), curve.values.astype("float32").tolist()]
    for curve in view.session.curves().series
]))
"""
STAMP = """
import time
stamps = []
def stamp(name):
    act = getattr(run, name)
    def stamped():
        stamps.append((name, time.time() * 1000))
        return act()
    setattr(run, name, stamped)
for name in ("pause", "resume"):
    stamp(name)
"""
"""Notes when Python acts on a click: a thread that polls would take from training what it measures."""


def notebook_of(codes: list[str]) -> str:
    """A notebook of these code cells, as JSON text."""
    cells = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "source": code,
            "outputs": [],
            "execution_count": None,
        }
        for number, code in enumerate(codes)
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def endless_quickstart() -> str:
    """The quickstart, with training that goes on until it is stopped: a person has seconds to find a button."""
    notebook = notebook_json()
    for given, wanted in (
        ("epochs=50", "epochs=100_000"),
        ("Cellular(atlas)", "Cellular(atlas, patience=100_000)"),
    ):
        assert given in notebook
        notebook = notebook.replace(given, wanted)
    return notebook


def start_quickstart(page: Page, address: str, folder: Path, name: str = "quickstart.ipynb") -> None:
    """Run the quickstart up to the cell that shows the view and starts training, and wait for the curve."""
    (folder / name).write_text(endless_quickstart())
    open_notebook(page, address, name)
    run_cells(page, SETTING, VIEW)
    page.get_by_test_id("ll-root").scroll_into_view_if_needed()
    wait_for_points(page, 0)


def open_again(page: Page) -> None:
    """Save the notebook and reload the page; the kernel goes on behind it."""
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.get_by_test_id("ll-root").wait_for(timeout=120_000)
    page.get_by_test_id("ll-root").scroll_into_view_if_needed()


def points(page: Page) -> int:
    """Training points on the curves of the first view."""
    return int(page.get_by_test_id("ll-curves").first.get_attribute("data-points") or 0)


def wait_for_points(page: Page, more_than: int) -> None:
    page.wait_for_function(
        "n => Number(document.querySelector('[data-testid=ll-curves]')?.dataset.points ?? 0) > n",
        arg=more_than,
        timeout=90_000,
    )


def pause(page: Page) -> None:
    page.get_by_test_id("ll-pause").first.click()
    expect(page.get_by_test_id("ll-state").first).to_have_text("paused", timeout=20_000)


def resume(page: Page) -> None:
    page.get_by_test_id("ll-resume").first.click()
    expect(page.get_by_test_id("ll-state").first).to_have_text("training", timeout=20_000)


def held_curves(page: Page, number: int = 0) -> list[Any]:
    """Every point of every curve that the page holds in its view of that number."""
    curves: list[Any] = page.evaluate(HELD_CURVES, number)
    return sorted(curves)


def known_curves(page: Page) -> list[Any]:
    """The same as the kernel has them."""
    curves: list[Any] = json.loads(ask_kernel(page, KNOWN_CURVES))
    return sorted(curves)


def expect_curves(page: Page, known: list[Any], number: int = 0) -> None:
    """Wait until the page holds these points, no more and no fewer."""
    for _ in range(200):
        if held_curves(page, number) == known:
            return
        page.wait_for_timeout(50)
    assert held_curves(page, number) == known


def expect_clicks_to_reach_python(page: Page) -> None:
    """A click on Pause stops training, one on Resume lets it go on; between the two nothing moves."""
    pause(page)
    assert ask_kernel(page, "print(run.status.state)") == "paused"
    standing = ask_kernel(page, "print(run.status.step)")
    page.wait_for_timeout(300)
    assert ask_kernel(page, "print(run.status.step)") == standing
    resume(page)
    before = points(page)
    wait_for_points(page, before)
    assert int(ask_kernel(page, "print(run.status.step)")) > int(standing)
