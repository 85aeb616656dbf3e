"""A view that a notebook's first cell shows, and what its second cell measures, in JupyterLab in Chromium."""

import json
import tempfile
from pathlib import Path
from typing import Any

from browsing import ask_kernel, chromium, jupyter_lab, open_notebook, run_cells
from notebooks import notebook_of

BEGIN = """import sys
sys.path.insert(0, {benchmarks!r})
import json
"""


def measured_in_notebook(shows: str, measures: str, *, timeout_s: float) -> Any:
    """What `measures` gives, an expression that may await, while the page shows the view that `shows` ends with.

    Parameters
    ----------
    timeout_s
        Until the view is there.
    """
    with tempfile.TemporaryDirectory() as name, jupyter_lab(Path(name)) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        begin = BEGIN.format(benchmarks=str(Path(__file__).parents[1])) + shows
        (Path(name) / "measured.ipynb").write_text(notebook_of([begin, f"told = {measures}"]))
        open_notebook(page, address, "measured.ipynb")
        run_cells(page, 0, 0)
        page.get_by_test_id("ll-root").wait_for(timeout=1000 * timeout_s)
        page.get_by_test_id("ll-root").scroll_into_view_if_needed()
        run_cells(page, 1, 1)
        return json.loads(ask_kernel(page, "print(json.dumps(told))"))
