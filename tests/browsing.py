"""A real Chromium for the browser tests, and a JupyterLab to drive in it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

CONFIG = {
    "ServerApp": {"ip": "127.0.0.1", "port": 0, "open_browser": False},
    "IdentityProvider": {"token": ""},
    "LabApp": {"expose_app_in_browser": True},
}
"""As the options of `jupyter_lab`."""


def chromium_path() -> str | None:
    """Where Chromium is; None lets Playwright take its own download."""
    names = (os.environ.get("LIVELATENT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser with a fresh profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def jupyter_lab(folder: Path, *, first: Path | None = None, through: Sequence[str] | None = None) -> Iterator[str]:
    """A JupyterLab on loopback that serves `folder`; yields its address.

    Parameters
    ----------
    first
        A folder of packages that its kernels find before the environment's own, such as another ipykernel.
    through
        A command that starts JupyterLab itself: its options then stand where a person's would, in the configuration.
    """
    state = folder / ".jupyter"
    overrides = state / "config" / "labconfig"
    overrides.mkdir(parents=True)
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(state / "config"),
        "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
        "JUPYTER_DATA_DIR": str(state / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(state / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(state / "workspaces"),
        "IPYTHONDIR": str(state / "ipython"),
        "OMP_NUM_THREADS": "2",
    }
    if first is not None:
        environment["JUPYTER_PATH"] = str(state / "path")  # before an environment's own kernels
        write_kernel(state / "path" / "kernels" / "python3", first)
    settings = state / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--expose-app-in-browser", "--allow-root"]
    options = ["--ip=127.0.0.1", "--port=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    if through is not None:
        command, options = list(through), []
        (state / "config" / "jupyter_server_config.json").write_text(json.dumps(CONFIG))
    with (state / "log.txt").open("w") as log:
        # A group of its own: a command that starts JupyterLab is ended together with it, as by Ctrl-C.
        server = subprocess.Popen(
            [*command, *options], env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
        try:
            yield _address(state / "runtime", server)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def write_kernel(folder: Path, first: Path) -> None:
    """A kernel of this Python that looks for packages in `first` before all others."""
    folder.mkdir(parents=True)
    path = os.pathsep.join(filter(None, (str(first), os.environ.get("PYTHONPATH"))))
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": {"PYTHONPATH": path},
    }
    (folder / "kernel.json").write_text(json.dumps(kernel))


def _address(runtime: Path, server: "subprocess.Popen[bytes]") -> str:
    """Wait for the server's own note of its port."""
    for _ in range(600):
        for note in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(json.JSONDecodeError):
                return str(json.loads(note.read_text())["url"])
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start: {(runtime.parent / 'log.txt').read_text()[-2000:]}")


def open_notebook(page: Page, address: str, name: str) -> None:
    """Open a notebook in JupyterLab and wait until its kernel is idle."""
    page.goto(f"{address}lab/tree/{name}")
    page.wait_for_function(
        """name => {
            const shown = window.jupyterapp?.shell?.currentWidget;  // at first the one that was open before
            return shown?.context?.path === name && shown.sessionContext?.session?.kernel?.status === "idle";
        }""",
        arg=name,
        timeout=120_000,
    )


def run_cells(page: Page, first: int, last: int) -> None:
    """Run the notebook's cells from `first` to `last` and wait until the last has ended."""
    for index in range(first, last + 1):
        page.evaluate(
            """async (index) => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                notebook.deselectAll();
                notebook.activeCellIndex = index;
                await window.jupyterapp.commands.execute("notebook:run-cell");
            }""",
            index,
        )


def ask_kernel(page: Page, code: str) -> str:
    """Run `code` in the notebook's kernel, outside any cell, and give what it printed."""
    answer: dict[str, Any] = page.evaluate(
        """async (code) => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const future = kernel.requestExecute({ code, store_history: false });
            let text = "", error = "";
            future.onIOPub = ({ header, content }) => {
                if (header.msg_type === "stream" && content.name === "stdout") text += content.text;
                if (header.msg_type === "error") error = content.ename + ": " + content.evalue;
            };
            await future.done;
            return { text, error };
        }""",
        code,
    )
    assert not answer["error"], answer["error"]
    return str(answer["text"]).strip()
