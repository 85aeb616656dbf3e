"""The quickstart in training, in JupyterLab in Chromium, on an ipykernel of one's choice."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from browsing import ask_kernel, chromium, jupyter_lab
from notebooks import start_quickstart, wait_for_points


@contextmanager
def in_training(first: Path | None = None) -> Iterator[tuple[Page, str]]:
    """A page that shows the view, and the ipykernel's release; training goes on until the block ends."""
    with tempfile.TemporaryDirectory() as name, jupyter_lab(Path(name), first=first) as address, chromium() as browser:
        page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
        start_quickstart(page, address, Path(name))
        wait_for_points(page, 20)
        yield page, ask_kernel(page, "import ipykernel; print(ipykernel.__version__)")
        ask_kernel(page, "run.stop(); run.wait(); view.close()")
