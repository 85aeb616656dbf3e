"""Remake the pictures in `docs/images`: `python tools/screenshots.py [--data FILE]`, or `make screenshots`.

CELLULAR is trained on blood cells (pbmc3k, with one type's labels hidden), and the live view of the run is shown in
Chromium: the whole and each pane, in both themes, 700 and 1,300 pixels wide.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from playwright.sync_api import Browser  # noqa: E402

from bridged import bridged  # noqa: E402  # the folder of tests has to be found first
from browsing import chromium  # noqa: E402
from livelatent.session.live import LiveSession  # noqa: E402
from mock_page import serving  # noqa: E402

WIDTHS = (700, 1300)
THEMES = ("light", "dark")
PANES = ("Map", "Prototypes", "Learning", "Flags")
DATA = ROOT.parent / "shared" / "data" / "pbmc3k_seurat.h5ad"
HIDDEN = "NK"
COLOURS = 128
"""Of a picture's palette: the same to the eye at a third of the bytes."""


@contextmanager
def trained(data: Path, folder: Path, epochs: int) -> Iterator[LiveSession]:
    """A finished run on the data, seen by a session, its first flag named."""
    import livelatent as ll

    atlas = ll.ingest(data, folder / "pbmc3k.zarr", label="cell_type", unlabelled=[HIDDEN])
    run = ll.Run(ll.Cellular(atlas), atlas, epochs=epochs)
    session = LiveSession(run)
    session.start()
    try:
        run.start()
        run.wait()
        session.settle()
        for flag in session.board.flags[:1]:
            session.label(flag, "natural killer?")
        yield session
    finally:
        session.close()


def take(browser: Browser, session: LiveSession, origin: str, theme: str, width: int, target: Path) -> None:
    """The whole view and each pane, at one width in one theme."""
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    with bridged(page, session, origin, theme) as bridge:
        n_cells = str(len(session.latent_map().cell))
        bridge.until(lambda: page.get_by_test_id("ll-map").get_attribute("data-cells") == n_cells)
        for _ in range(20):
            bridge.carry()  # fonts, observers and the last frames settle
        for name in ("View", *PANES):
            shown = page.get_by_test_id("ll-root") if name == "View" else page.locator(f"section[aria-label={name}]")
            save(shown.screenshot(), target / f"{name.lower()}-{theme}-{width}.png")
    context.close()


def save(png: bytes, path: Path) -> None:
    """Write a picture with a palette."""
    from PIL import Image

    picture = Image.open(BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="an .h5ad with counts and an obs column cell_type")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        trained(args.data, Path(name), args.epochs) as session,
        serving() as origin,
        chromium() as browser,
    ):
        for theme in THEMES:
            for width in WIDTHS:
                take(browser, session, origin, theme, width, args.out)


if __name__ == "__main__":
    main()
