"""Corrupted and hostile sources: never a crash, never a write; one clear error, or what plain anndata reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hostile

FINE = ("refused", "same")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "bases").mkdir()
    hostile.write_bases(folder / "bases")
    return folder


def outcomes(folder: Path, how: str, n_random: int, numbers: str = ":") -> list[dict[str, str]]:
    """What came of the cases, each read by a child process of its own kind."""
    command = [sys.executable, hostile.__file__, str(folder), how, str(n_random), numbers]
    child = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    last = lines[-1] if lines else "nothing was run"
    assert child.returncode == 0, f"it died in {last} ({child.returncode}): {child.stderr[-2000:]}"
    return [line for line in lines if "came" in line]


def check(found: list[dict[str, str]], folder: Path) -> None:
    wrong = [line for line in found if line["came"] not in FINE]
    assert not wrong, "\n".join(map(str, wrong[:10]))
    nameless = [line for line in found if line["came"] == "refused" and str(folder / "case") not in line["said"]]
    assert not nameless, nameless[:5]


def test_two_hundred_sources_are_refused_by_name_or_read_as_anndata_reads_them(folder):
    found = outcomes(folder, "read", 2)
    check(found, folder)
    assert len(found) >= 200
    # The damage is real, and not all of it is refused wholesale.
    came = [line["came"] for line in found]
    assert came.count("refused") > 100 and came.count("same") > 30
    assert all(case in {line["name"] for line in found} for case in hostile.HDF5_EDITS)


def test_an_ingest_that_is_refused_leaves_nothing_and_one_that_is_not_holds_what_anndata_reads(folder):
    found = outcomes(folder, "ingest", 1, "::13")
    check(found, folder)
    assert {line["came"] for line in found} == {"refused", "same"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("how", "n_random"), [("read", 60), ("ingest", 8)])
def test_thousands_of_sources_are_refused_by_name_or_read_as_anndata_reads_them(folder, how, n_random):
    check(outcomes(folder, how, n_random), folder)
