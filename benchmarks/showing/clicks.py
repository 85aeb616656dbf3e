"""From a click on Pause or Resume to Python acting on it, while training runs."""

import argparse
import json
from typing import Any

import numpy as np
from playwright.sync_api import Page

from browsing import ask_kernel
from notebooks import STAMP
from other_kernels import NotToBeHadError, ipykernel
from showing.quickstart import in_training

EARLIER = ("7.3.0", "6.31.0")
LISTEN = """() => {
    window.clicks = [];
    document.addEventListener("click", () => window.clicks.push(performance.timeOrigin + performance.now()), true);
}"""


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """The worst host's 95 % and each host's own; `missing` says what could not be had."""
    hosts: dict[str, Any] = {}
    missing: dict[str, str] = {}
    with in_training() as (page, release):
        hosts[f"ipykernel {release}"] = _told(_in_jupyter(page, args.clicks))
    for wanted in EARLIER:
        try:
            with in_training(ipykernel(wanted)) as (page, release):
                if release != wanted:
                    raise AssertionError(f"asked for ipykernel {wanted}, the kernel is {release}")
                hosts[f"ipykernel {release}"] = _told(_in_jupyter(page, args.clicks))
        except NotToBeHadError as error:
            missing[f"ipykernel {wanted}"] = str(error)
    try:
        from in_marimo import marimo_in_training

        with marimo_in_training() as (page, stamps, release):
            hosts[f"marimo {release}"] = _told(_waits(page, args.clicks, stamps))
    except NotToBeHadError as error:
        missing["marimo"] = str(error)
    return {"click_p95_ms": max(host["p95_ms"] for host in hosts.values()), "clicks": hosts, "missing": missing}


def _in_jupyter(page: Page, n_clicks: int) -> list[float]:
    ask_kernel(page, STAMP)
    return _waits(page, n_clicks, lambda: json.loads(ask_kernel(page, "import json; print(json.dumps(stamps))")))


def _waits(page: Page, n_clicks: int, stamps: Any) -> list[float]:
    """Milliseconds of each click; the clock of both ends is the machine's."""
    page.evaluate(LISTEN)
    for number in range(n_clicks):
        ours, other = ("ll-pause", "ll-resume") if number % 2 == 0 else ("ll-resume", "ll-pause")
        page.get_by_test_id(ours).click()
        page.get_by_test_id(other).wait_for()
        # Not in step with training, with publishing at 10 Hz, or with pings every two seconds.
        page.wait_for_timeout(150 + 61 * (number % 7))
    if n_clicks % 2:
        page.get_by_test_id("ll-resume").click()
        page.get_by_test_id("ll-pause").wait_for()
    sent = page.evaluate("() => window.clicks")
    acted = [at for _, at in stamps()]
    if len(sent) != len(acted):
        raise AssertionError(f"{len(sent)} clicks, of which Python acted on {len(acted)}")
    # Only Pause is clicked in training; Resume is answered while everything stands still.
    return [at - click for click, at in zip(sent, acted, strict=True)][0::2]


def _told(waits: list[float]) -> dict[str, Any]:
    median, p95, worst = np.quantile(waits, [0.5, 0.95, 1.0])
    return {"median_ms": round(median, 1), "p95_ms": round(p95, 1), "max_ms": round(worst, 1), "clicks": len(waits)}
