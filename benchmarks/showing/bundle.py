"""What a page loads, and what every saved notebook that keeps widgets holds."""

import argparse
import gzip
from importlib.resources import files
from typing import Any


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """Thousands of bytes, minified; compressed and the style beside it."""
    static = files("livelatent.widget") / "static"
    script, style = ((static / name).read_bytes() for name in ("widget.js", "widget.css"))
    return {
        "bundle_kb": round(len(script) / 1000, 1),
        "bundle_gzip_kb": round(len(gzip.compress(script)) / 1000, 1),
        "style_kb": round(len(style) / 1000, 1),
    }
