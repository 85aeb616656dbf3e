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


def child(folder: Path, how: str, n_random: int, numbers: str) -> tuple[list[dict[str, str]], int, str]:
    """Lines of a child process, how it ended, and the last that it said."""
    command = [sys.executable, hostile.__file__, str(folder), how, str(n_random), numbers]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    return [json.loads(line) for line in ended.stdout.splitlines()], ended.returncode, ended.stderr[-2000:]


def outcomes(folder: Path, how: str, n_random: int, numbers: str = "0::1") -> list[dict[str, str]]:
    """What came of the cases, each read in a child process that may die of it."""
    first, _, step = numbers.split(":")
    found = []
    while True:
        lines, code, said = child(folder, how, n_random, f"{first}::{step}")
        found += [line for line in lines if "came" in line]
        if code == 0:
            return found
        assert lines, said
        found.append({**lines[-1], "came": "died", "said": f"{code}: {said}"})
        first = str(int(lines[-1]["number"]) + int(step))


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
    found = outcomes(folder, "ingest", 1, "0::19")
    check(found, folder)
    assert {line["came"] for line in found} == {"refused", "same"}


def test_what_is_streamed_as_it_is_is_refused_by_name_or_what_anndata_reads(folder):
    found = outcomes(folder, "stream", 2, "0::8")
    check(found, folder)
    assert {line["came"] for line in found} == {"refused", "same"}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("how", "n_random"), [("read", 70), ("ingest", 8), ("stream", 30)])
def test_thousands_of_sources_are_refused_by_name_or_read_as_anndata_reads_them(folder, how, n_random):
    found = outcomes(folder, how, n_random)
    # HDF5 2.0 never comes back from some damaged heaps of strings, whoever asks it; nothing else may.
    died = [line for line in found if line["came"] == "died"]
    for line in died:
        number = int(line["number"])
        assert line["name"].split(":")[0] in ("csr.h5ad", "gzip.h5ad", "csc.h5ad", "dense.h5ad", "tenx.h5"), line
        assert child(folder, "plain", n_random, f"{number}:{number + 1}:1")[1] != 0, line
    assert len(died) < 0.01 * len(found)
    check([line for line in found if line["came"] != "died"], folder)
