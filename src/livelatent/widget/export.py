"""The view as one file that opens from disk with no network: bundle, style and state inlined."""

import base64
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from livelatent import atomic
from livelatent.session.anonymous import anonymised, without_paths
from livelatent.session.live import LiveSession
from livelatent.session.picture import write_png
from livelatent.session.state import Status, Topic
from livelatent.widget.frames import encode_sync

__all__ = ["page", "page_name", "shown_topics", "write_html", "write_picture"]

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""The page can reach nothing, whatever a name in it says."""


def shown_topics(session: LiveSession, *, anonymise: bool = False) -> list[Topic]:
    """All topics of a session, fit to leave the machine."""
    stores = [atlas.path.parent for atlas in (session.atlas, session.query) if atlas is not None]
    folders = [folder for folder in stores if isinstance(folder, Path)]
    if session.run.folder is not None:
        folders += [Path(session.run.folder).parent, Path(session.run.folder)]
    topics = without_paths(session.topics(), folders)
    return anonymised(topics) if anonymise else topics


def page_name(session: LiveSession, *, anonymise: bool = False) -> str:
    """What a page is called where nobody says: after the store or file shown, which an anonymous page does not name."""
    name = re.sub(r"\.(zarr|h5ad)$", "", session.atlas.path.name)
    return f"{'livelatent' if anonymise or not name else name}-report.html"


def write_html(session: LiveSession, path: str | Path, *, anonymise: bool = False) -> Path:
    """Write the session's present state as an offline page.

    Parameters
    ----------
    anonymise
        Numbers instead of the names of batches, files and single cells.
    """
    target = Path(path)
    atomic.write_text(target, page(shown_topics(session, anonymise=anonymise)))
    return target


def write_picture(session: LiveSession, path: str | Path, *, anonymise: bool = False) -> Path:
    """Draw the session's present state as a PNG."""
    return write_png(shown_topics(session, anonymise=anonymise), path)


def page(topics: Sequence[Topic]) -> str:
    """The offline page of these topics."""
    static = files("livelatent.widget") / "static"
    style = re.sub(r"</(?=style)", r"<\\/", (static / "widget.css").read_text("utf8"), flags=re.IGNORECASE)
    # A bundle may hold these in its own strings, where a backslash changes nothing; in HTML they end the script.
    script = re.sub(r"<(?=/script|!--)", r"\\x3c", (static / "widget.js").read_text("utf8"), flags=re.IGNORECASE)
    frame = encode_sync(list(topics), view="offline", seq=1)
    state = {**frame.content, "buffers": [base64.b64encode(buffer).decode() for buffer in frame.buffers]}
    inlined = json.dumps(state, allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")
    title = next((topic.store for topic in topics if isinstance(topic, Status)), "")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{html.escape(title)} · livelatent</title>
<style>{style}</style>
<style>body {{ margin: 16px; font-family: system-ui, sans-serif; }}</style>
</head>
<body>
<div id="livelatent"></div>
<noscript>This page draws itself with JavaScript, which is switched off.</noscript>
<script type="application/json" id="livelatent-state">{inlined}</script>
<script type="module">{script}</script>
</body>
</html>
"""
