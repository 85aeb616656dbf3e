"""The view in marimo, in training, in Chromium."""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from browsing import chromium
from notebooks import STAMP
from other_kernels import marimo

APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import json
    import marimo as mo
    import livelatent as ll

    atlas = ll.ingest(ll.write_example("blood.h5ad"), "blood.zarr", label="bulk_labels", unlabelled=["CD19+ B"])
    run = ll.Run(ll.Cellular(atlas, patience=100_000), atlas, epochs=100_000)
    view = ll.LiveView(run)
{stamp}
    class Noted(list):
        def append(self, one):
            super().append(one)
            with open("stamps.jsonl", "a") as file:
                file.write(json.dumps(one) + "\\n")

    stamps = Noted()
    run.start()
    mo.ui.anywidget(view)
    return
"""
LAUNCH = "import sys; sys.path.append({folder!r}); from marimo._cli.cli import main; main()"
"""What the environment has comes first: only marimo itself is the folder's."""


@contextlib.contextmanager
def marimo_in_training(browser: Browser | None = None) -> Iterator[tuple[Page, Callable[[], list[Any]], str]]:
    """A page that shows the view in training, what gives the stamps of `STAMP`, and marimo's release."""
    packages = marimo()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stamp = "\n".join(f"    {line}" for line in STAMP.replace("stamps = []", "").strip().splitlines())
        (folder / "app.py").write_text(APP.format(stamp=stamp))
        address = stack.enter_context(_server(folder, packages))
        opened = browser or stack.enter_context(chromium())
        context = opened.new_context(viewport={"width": 1300, "height": 1100})
        stack.callback(context.close)
        page = context.new_page()
        page.goto(address)
        page.get_by_test_id("ll-pause").wait_for(timeout=120_000)
        noted = folder / "stamps.jsonl"
        told = sorted(packages.glob("marimo-*.dist-info"))[0].name.split("-")[1].removesuffix(".dist")
        yield page, lambda: [json.loads(line) for line in noted.read_text().splitlines()], told


@contextlib.contextmanager
def _server(folder: Path, packages: Path) -> Iterator[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    code = LAUNCH.format(folder=str(packages))
    command = [sys.executable, "-c", code, "run", "app.py", "--headless", "--host=127.0.0.1", f"--port={port}"]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen([*command, "--no-token"], cwd=folder, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(address, timeout=5).close()
                    break
                if server.poll() is not None:
                    raise AssertionError(f"marimo did not start: {(folder / 'log.txt').read_text()[-2000:]}")
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
