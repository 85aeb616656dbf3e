"""`livelatent lab STORE` in a real JupyterLab: the notebook that it prepares opens by itself, and runs up to a view."""

import sys

import pytest
from playwright.sync_api import expect

from browsing import jupyter_lab, run_cells
from livelatent.atlas import ingest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

OPEN, VIEW = 1, 2
COMMAND = "from livelatent.cli import app; app()"

OUTPUTS = """(index) => {
    const { outputs } = window.jupyterapp.shell.currentWidget.content.widgets[index].model;
    return Array.from({ length: outputs.length }, (_, i) => outputs.get(i).toJSON());
}"""


def test_the_notebook_of_a_store_opens_and_its_cells_run_up_to_a_view(browser, tiny_h5ad, tmp_path):
    # A name that a notebook, a shell and an address each write in a way of their own.
    store = tmp_path / "o'brien 1.zarr"
    ingest(tiny_h5ad, store, label="cell_type", batch="donor", unlabelled=["unassigned"])
    folder = tmp_path / "work"
    folder.mkdir()
    context = browser.new_context(viewport={"width": 1500, "height": 1100})
    page = context.new_page()
    with jupyter_lab(folder, through=[sys.executable, "-c", COMMAND, "lab", str(store)]):
        # What JupyterLab gives the browser to open, had it been allowed to start one.
        [opened] = (folder / ".jupyter" / "runtime").glob("jpserver-file-to-run-*-open.html")
        page.goto(opened.as_uri())
        page.wait_for_function(
            """() => {
                const shown = window.jupyterapp?.shell?.currentWidget;
                return shown?.context?.path === "o'brien 1.ipynb"
                    && shown.sessionContext?.session?.kernel?.status === "idle";
            }""",
            timeout=120_000,
        )
        run_cells(page, OPEN, VIEW)
        expect(page.get_by_test_id("ll-map")).to_have_attribute("data-cells", "607", timeout=120_000)
        said = [output for cell in (OPEN, VIEW) for output in page.evaluate(OUTPUTS, cell)]
        assert [output["evalue"] for output in said if output["output_type"] == "error"] == []
        expect(page.get_by_test_id("ll-root")).to_contain_text("o'brien 1.zarr")
        page.get_by_test_id("ll-stop").click(timeout=60_000)
        context.close()
    assert [path.name for path in folder.glob("*.ipynb")] == ["o'brien 1.ipynb"]
