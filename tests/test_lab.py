"""A person's way through the quickstart, in a real JupyterLab in a real browser: one kernel, in training, for all."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browsing import ask_kernel, jupyter_lab, run_cells
from livelatent.quickstart import notebook_json
from notebooks import (
    NAME,
    NOVEL,
    WAIT,
    WRITE,
    expect_clicks_to_reach_python,
    expect_curves,
    known_curves,
    open_again,
    pause,
    points,
    resume,
    start_quickstart,
    wait_for_points,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]
SHIPPED = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory, browser):
    """The quickstart in training: its page and its folder. The page may ask nobody but its server."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyter_lab(folder) as address:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        strangers: list[str] = []
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else strangers.append(r.url))
        start_quickstart(page, address, folder)
        yield page, folder
        page.context.close()
    assert strangers == []


def test_a_click_reaches_python_while_it_trains(notebook):
    page, _ = notebook
    wait_for_points(page, points(page))
    expect_clicks_to_reach_python(page)


def test_a_reload_in_mid_training_loses_no_point_of_any_curve(notebook):
    page, _ = notebook
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-cells", "700", timeout=120_000)
    wait_for_points(page, max(points(page), 40))
    before = points(page)
    open_again(page)
    wait_for_points(page, before)  # all of them, and it goes on
    pause(page)
    known = known_curves(page)
    assert sum(len(steps) for _, split, steps, _ in known if split == "train") > before
    expect_curves(page, known)
    expect(page.get_by_test_id("ll-map")).to_have_attribute("data-cells", "700")
    resume(page)


def test_two_views_of_one_run_agree(notebook):
    page, _ = notebook
    page.evaluate(
        """() => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const { sharedModel } = notebook.model;
            sharedModel.insertCell(11, { cell_type: "code", source: "second = ll.LiveView(run)\\nsecond" });
        }"""
    )
    run_cells(page, 11, 11)
    expect(page.get_by_test_id("ll-root")).to_have_count(2, timeout=60_000)
    first, second = (page.get_by_test_id("ll-root").nth(number) for number in range(2))
    expect(second.get_by_test_id("ll-map")).to_have_attribute("data-cells", "700", timeout=120_000)
    ask_kernel(page, "atlas.labels.label([5, 6, 7], 'seen by both')")
    for view in (first, second):
        expect(view.get_by_test_id("ll-journal")).to_contain_text("1 label saved", timeout=20_000)
    second.get_by_test_id("ll-undo").click()
    for view in (first, second):
        expect(view.get_by_test_id("ll-undo")).to_be_disabled(timeout=20_000)
        expect(view.get_by_test_id("ll-redo")).to_be_enabled(timeout=20_000)
    pause(page)
    expect(second.get_by_test_id("ll-state")).to_have_text("paused", timeout=20_000)
    known = [curve for curve in known_curves(page) if curve[0] != "prototype drift"]  # each view's own looks
    for number in range(2):
        # The last points may come a round after the word "paused"; a point that never comes fails.
        page.wait_for_function(
            """([number, names, n]) => n === [...document.querySelectorAll("[data-testid=ll-root]")][number]
                .livelatent.curves.curves.filter(({ name }) => names.includes(name))
                .map(({ n }) => n).reduce((sum, n) => sum + n, 0)""",
            arg=[number, [name for name, *_ in known], sum(len(steps) for _, _, steps, _ in known)],
            timeout=20_000,
        )
    resume(page)
    ask_kernel(page, "second.close()")


def test_a_flag_named_by_hand_is_in_the_journal_and_in_obs(notebook):
    page, folder = notebook
    page.get_by_test_id("ll-root").first.scroll_into_view_if_needed()
    wait_for_points(page, 400)
    page.get_by_test_id("ll-stop").first.click()
    expect(page.get_by_test_id("ll-state").first).to_have_text("stopped", timeout=60_000)
    run_cells(page, WAIT, WAIT)

    flag = page.get_by_test_id("ll-flag").first
    expect(flag).to_be_visible(timeout=90_000)
    flag.scroll_into_view_if_needed()
    flag.get_by_test_id("ll-flag-name").fill("B <i>cell</i>?")
    flag.get_by_test_id("ll-flag-save").click()
    expect(flag.get_by_test_id("ll-flag-saved")).to_contain_text("✓ saved", timeout=20_000)

    journal = folder / "quickstart-data" / "blood.labels" / "journal.jsonl"
    entry = json.loads(journal.read_text().splitlines()[-1])
    assert entry["new"] == "B <i>cell</i>?" and entry["n_cells"] > 0
    ask_kernel(page, "atlas.write_labels()")
    import anndata

    read_back = anndata.read_zarr(folder / "quickstart-data" / "blood.zarr").obs
    named = read_back["livelatent_label"].astype(str) == "B <i>cell</i>?"
    assert int(named.sum()) == entry["n_cells"]
    assert (read_back.loc[named, "bulk_labels"].astype(str) == "CD19+ B").mean() >= 0.8


def test_the_rest_of_the_quickstart_runs(notebook):
    page, folder = notebook
    for cell in (NOVEL, NAME, WRITE):
        run_cells(page, cell, cell)
        errors = page.evaluate(
            """(index) => {
                const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
                const outputs = cell.model.outputs;
                return Array.from({ length: outputs.length }, (_, i) => outputs.get(i).toJSON())
                    .filter(({ output_type }) => output_type === "error").map(({ evalue }) => evalue);
            }""",
            cell,
        )
        assert errors == []
    data = folder / "quickstart-data"
    assert (data / "blood-model" / "model.safetensors").exists()
    assert (data / "report.html").stat().st_size > 10_000


def test_the_shipped_quickstart_is_the_one_that_is_tried_here():
    assert SHIPPED.read_text() == notebook_json(), "examples/quickstart.ipynb is not what quickstart.py writes"


@pytest.mark.slow
def test_the_shipped_quickstart_runs_from_top_to_bottom(tmp_path):
    import nbclient
    import nbformat

    notebook = nbformat.read(SHIPPED, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    data = tmp_path / "quickstart-data"
    assert (data / "blood-model" / "model.safetensors").exists()
    assert (data / "report.html").stat().st_size > 10_000
    assert json.loads((data / "blood.labels" / "journal.jsonl").read_text().splitlines()[0])["new"] == "B cell?"
    # Below the view, for readers without a kernel. (A page that was reloaded before gets no update of it.)
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
