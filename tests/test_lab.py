"""A person's way through the quickstart, in a real JupyterLab in a real browser."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browsing import ask_kernel, chromium, jupyter_lab, open_notebook, run_cells
from livelatent.quickstart import notebook_json

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

SETTING, STORE, VIEW, WAIT, NOVEL, NAME, WRITE = 1, 2, 3, 5, 7, 8, 10
"""Positions of the quickstart's code cells."""


@pytest.fixture
def lab(tmp_path):
    with jupyter_lab(tmp_path) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        yield page, address, tmp_path


def start_quickstart(page: Page, address: str, folder: Path, *, epochs: int) -> None:
    """Run the quickstart up to the cell that shows the view and starts training, which does not stop early here.

    A person has seconds to find the Pause button, also where a fast machine would end the shipped 50 epochs sooner.
    """
    notebook = notebook_json()
    for given, wanted in (("epochs=50", f"epochs={epochs}"), ("Cellular(atlas)", "Cellular(atlas, patience=100_000)")):
        assert given in notebook
        notebook = notebook.replace(given, wanted)
    (folder / "quickstart.ipynb").write_text(notebook)
    open_notebook(page, address, "quickstart.ipynb")
    run_cells(page, SETTING, VIEW)
    page.get_by_test_id("ll-root").scroll_into_view_if_needed()


def points(page: Page) -> int:
    return int(page.get_by_test_id("ll-curves").get_attribute("data-points") or 0)


def wait_for_points(page: Page, more_than: int) -> None:
    page.wait_for_function(
        "n => Number(document.querySelector('[data-testid=ll-curves]')?.dataset.points ?? 0) > n",
        arg=more_than,
        timeout=90_000,
    )


def test_quickstart_from_curve_to_named_cells_on_disk(lab):
    page, address, folder = lab
    start_quickstart(page, address, folder, epochs=200)

    # The curve grows while training runs.
    wait_for_points(page, 0)
    wait_for_points(page, points(page))

    # A pause that is clicked reaches Python, and the run stands still.
    page.get_by_test_id("ll-pause").click()
    expect(page.get_by_test_id("ll-state")).to_have_text("paused", timeout=20_000)
    assert ask_kernel(page, "print(run.status.state)") == "paused"
    standing = ask_kernel(page, "print(run.status.step)")
    page.get_by_test_id("ll-resume").click()
    run_cells(page, WAIT, WAIT)
    assert ask_kernel(page, "print(run.status.state)") == "done"
    assert int(ask_kernel(page, "print(run.status.step)")) > int(standing)

    # A click on a flag, a name, and only then "saved".
    flag = page.get_by_test_id("ll-flag").first
    expect(flag).to_be_visible(timeout=90_000)
    flag.scroll_into_view_if_needed()
    flag.click()
    flag.get_by_test_id("ll-flag-name").fill("B <i>cell</i>?")
    flag.get_by_test_id("ll-flag-save").click()
    expect(flag.get_by_test_id("ll-flag-saved")).to_contain_text("✓ saved", timeout=20_000)

    # The name is in the journal on disk, and in obs for plain anndata once it is written.
    journal = folder / "quickstart-data" / "blood.labels" / "journal.jsonl"
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [entry["new"] for entry in entries] == ["B <i>cell</i>?"]
    assert entries[0]["n_cells"] > 0
    ask_kernel(page, "atlas.write_labels()")
    import anndata

    read_back = anndata.read_zarr(folder / "quickstart-data" / "blood.zarr").obs
    named = read_back["livelatent_label"].astype(str) == "B <i>cell</i>?"
    assert int(named.sum()) == entries[0]["n_cells"]
    assert (read_back.loc[named, "bulk_labels"].astype(str) == "CD19+ B").mean() >= 0.8


def test_a_reloaded_page_finds_curve_map_and_flags_again(lab):
    page, address, folder = lab
    start_quickstart(page, address, folder, epochs=100_000)
    wait_for_points(page, 20)
    page.get_by_test_id("ll-pause").click()
    expect(page.get_by_test_id("ll-state")).to_have_text("paused", timeout=20_000)
    ask_kernel(page, "view.find()")
    expect(page.get_by_test_id("ll-flag").first).to_be_visible(timeout=120_000)
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-cells", "700", timeout=120_000)
    page.get_by_test_id("ll-resume").click()
    wait_for_points(page, points(page))
    before = points(page)

    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    open_notebook_again(page)
    wait_for_points(page, before - 1)
    wait_for_points(page, points(page))  # and it goes on
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-cells", "700", timeout=30_000)
    expect(page.get_by_test_id("ll-flag").first).to_be_visible(timeout=30_000)
    page.get_by_test_id("ll-stop").click()
    expect(page.get_by_test_id("ll-state")).to_have_text("stopped", timeout=60_000)


def open_notebook_again(page: Page) -> None:
    """Reload the page; the kernel goes on behind it."""
    page.reload()
    page.get_by_test_id("ll-root").wait_for(timeout=120_000)
    page.get_by_test_id("ll-root").scroll_into_view_if_needed()


def test_the_shipped_quickstart_runs_from_top_to_bottom(tmp_path):
    import nbclient
    import nbformat

    shipped = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"
    assert shipped.read_text() == notebook_json(), "examples/quickstart.ipynb is not what quickstart.py writes"
    shutil.copy(shipped, tmp_path / "quickstart.ipynb")
    notebook = nbformat.read(tmp_path / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    data = tmp_path / "quickstart-data"
    assert (data / "blood-model" / "model.safetensors").exists()
    assert (data / "report.html").stat().st_size > 10_000
    assert json.loads((data / "blood.labels" / "journal.jsonl").read_text().splitlines()[0])["new"] == "B cell?"
