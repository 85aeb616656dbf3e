import subprocess
import sys

import pytest

from livelatent.widget.frames import PROTOCOL
from livelatent.widget.view import LiveView
from watched import small_run, until


class Recorded(LiveView):
    """The boundary: what would go to browsers is kept."""

    def __init__(self, *args, **kwargs):
        self.sent = []
        super().__init__(*args, **kwargs)

    def send(self, content, buffers=None):
        self.sent.append((content, buffers))

    def say(self, content):
        """A message as Jupyter delivers it."""
        self._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    def replies(self):
        return [content for content, _ in self.sent if content["kind"] == "reply"]


@pytest.fixture
def view(own_atlas, tmp_path):
    made = Recorded(small_run(own_atlas, tmp_path / "run"), panel_cells=100)
    yield made
    made.close()
    own_atlas.labels.close()


def test_a_browser_gets_the_state_when_it_is_ready_and_the_map_when_it_is_made(view):
    view.say({"kind": "ready", "view": "v", "proto": PROTOCOL})
    until(lambda: view.sent)
    assert view.sent[0][0]["kind"] == "sync" and view.sent[0][0]["view"] == "v"

    def painted():
        view.say({"kind": "ack", "seq": max(content.get("seq", 0) for content, _ in view.sent)})
        frames = [frame for content, _ in view.sent for frame in content.get("frames", [content])]
        return any(frame["kind"] == "map" and frame["n"] == 100 for frame in frames)

    until(painted)


def test_a_command_from_the_browser_reaches_the_journal_before_the_reply(view, own_atlas):
    view.say({"kind": "cmd", "rid": "r", "name": "label", "args": {"cells": [[0, 4], [0, 9]], "name": "mine"}})
    until(view.replies)
    [reply] = view.replies()
    assert reply["ok"] and reply["result"]["n_cells"] == 2
    [entry] = own_atlas.labels.entries
    assert reply["result"]["saved_at"] == entry.time


def test_python_labels_through_the_view(view, own_atlas):
    assert view.label([1, 2, 3], "three").n_cells == 3
    assert own_atlas.labels.current()[2] == "three"
    assert view.novel == ()


def test_a_reader_without_a_kernel_is_told_what_stood_here(view):
    bundle = view._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "LiveView of tiny.zarr: ready" in data["text/plain"]


def test_a_closed_view_says_so_and_closing_twice_is_fine(view):
    view.close()
    view.close()
    with pytest.raises(RuntimeError, match="closed"):
        view.label([1], "x")


@pytest.mark.slow  # a process that imports torch; test_imports.py has the library's own quick ones
def test_importing_the_report_imports_no_widget_library():
    heavy = ("ipywidgets", "IPython", "umap", "sklearn", "scanpy", "matplotlib")
    code = f"import sys, livelatent.widget.report; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
