"""What the live view costs and how fast it answers: `python benchmarks/view.py --json`.

A real JupyterLab in a real Chromium runs the quickstart. A click's time is the browser's own, the time at which
Python saw it is read by a thread in the kernel that looks every millisecond: one clock, one machine. The trainer's
slow-down is measured without a browser: the same epochs with and without a `LiveView`, interleaved.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

WATCH = """
import threading, time
seen = []
def watch():
    before = run.status.state
    while True:
        now = run.status.state
        if now != before:
            seen.append((now, time.time() * 1000))
            before = now
        time.sleep(0.001)
threading.Thread(target=watch, daemon=True).start()
"""
CLICKS = "() => { window.clicks = []; document.addEventListener('click', () => window.clicks.push(Date.now()), true); }"


def endless_quickstart() -> str:
    """The quickstart, with training that goes on until it is stopped."""
    from livelatent.quickstart import notebook_json

    endless = notebook_json().replace("Cellular(atlas)", "Cellular(atlas, patience=100_000)")
    return endless.replace("epochs=50", "epochs=100_000")


def clicks(n_clicks: int) -> dict[str, Any]:
    """Milliseconds from a click on Pause or Resume to Python's state, while training runs; and the reload."""
    from browsing import ask_kernel, chromium, jupyter_lab, open_notebook, run_cells

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "quickstart.ipynb").write_text(endless_quickstart())
        with jupyter_lab(folder) as address, chromium() as browser:
            page = browser.new_context(viewport={"width": 1500, "height": 1100}).new_page()
            open_notebook(page, address, "quickstart.ipynb")
            run_cells(page, 1, 3)
            page.get_by_test_id("ll-root").scroll_into_view_if_needed()
            page.wait_for_function(
                "() => Number(document.querySelector('[data-testid=ll-curves]')?.dataset.points ?? 0) > 20",
                timeout=90_000,
            )
            ask_kernel(page, WATCH)
            page.evaluate(CLICKS)
            for _ in range(n_clicks):
                page.get_by_test_id("ll-pause").click()
                page.get_by_test_id("ll-resume").wait_for()
                page.get_by_test_id("ll-resume").click()
                page.get_by_test_id("ll-pause").wait_for()
                time.sleep(0.3)
            sent = page.evaluate("() => window.clicks")
            seen = json.loads(ask_kernel(page, "import json; print(json.dumps(seen))"))
            points = int(page.get_by_test_id("ll-curves").get_attribute("data-points") or 0)
            page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
            page.reload()
            page.get_by_test_id("ll-root").wait_for(timeout=120_000)
            shown = time.monotonic()
            page.wait_for_function(
                "n => Number(document.querySelector('[data-testid=ll-curves]')?.dataset.points ?? 0) >= n", arg=points
            )
            reload_ms = (time.monotonic() - shown) * 1000
            ask_kernel(page, "run.stop(); run.wait(); view.close()")
    waits = sorted(at - click for click, (_, at) in zip(sent, seen, strict=True))
    return {
        "click_to_python_ms_median": round(median(waits), 1),
        "click_to_python_ms_max": round(waits[-1], 1),
        "clicks": len(waits),
        "state_back_after_reload_ms": round(reload_ms),
        "points_before_reload": points,
    }


def slow_down(repeats: int) -> dict[str, Any]:
    """Training time with a LiveView over training time without one."""
    import livelatent as ll

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = ll.write_example(folder / "blood.h5ad")
        atlas = ll.ingest(source, folder / "blood.zarr", label="bulk_labels", unlabelled=["CD19+ B"])
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for repeat in range(repeats + 1):
            for has_view in (False, True):
                run = ll.Run(ll.Cellular(atlas, patience=10_000), atlas, epochs=60)
                view = ll.LiveView(run) if has_view else None
                if view is not None:
                    view.session.settle(timeout_s=60)
                started = time.monotonic()
                run.start()
                run.wait()
                if repeat:  # the first round compiles
                    seconds[has_view].append(time.monotonic() - started)
                if view is not None:
                    view.close()
    ratios = [seen / alone for alone, seen in zip(seconds[False], seconds[True], strict=True)]
    return {
        "train_s_alone": round(median(seconds[False]), 2),
        "train_s_with_view": round(median(seconds[True]), 2),
        "slow_down_median": round(median(ratios) - 1, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clicks", type=int, default=10)
    args = parser.parse_args()
    result = clicks(args.clicks) | slow_down(args.repeats)
    print(json.dumps(result, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
