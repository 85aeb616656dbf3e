"""Several views of one run, and a view whose kernel was killed: what one says, the next says too."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from livelatent.atlas import Atlas
from livelatent.session.live import LiveSession
from watched import small_run

LABELS_WITHOUT_END = """
import itertools, json, sys
from livelatent.atlas import Atlas
from livelatent.session.live import LiveSession
from watched import small_run

session = LiveSession(small_run(Atlas.open(sys.argv[1]), sys.argv[2]))
for number in itertools.count():
    cells = [[0, number % 600], [0, (number * 7 + 1) % 600]]
    answer = session.answer(f"rid-{number}", "label", {"cells": cells, "name": f"type {number}"})
    print(json.dumps([answer.ok, answer.result["label"]]), flush=True)
    if number % 5 == 4:
        answer = session.answer(f"back-{number}", "undo", {})
        print(json.dumps([answer.ok, "undo"]), flush=True)
"""


def standing_after(n_commands: int) -> list[str]:
    """The names that stand after so many commands of `LABELS_WITHOUT_END`: five labels, then one of them undone."""
    standing: list[str] = []
    for command in range(n_commands):
        turn, place = divmod(command, 6)
        standing = standing[:-1] if place == 5 else [*standing, f"type {5 * turn + place}"]
    return standing


def test_two_sessions_on_one_run_show_the_same(own_atlas, tmp_path):
    run = small_run(own_atlas, tmp_path / "run", epochs=1)
    one, other = LiveSession(run, panel_cells=100), LiveSession(run, panel_cells=100)
    run.start()
    run.wait()
    for session in (one, other):
        session.settle([None], timeout_s=0.0)
    assert one.label([3, 4], "mine").n_saved == 1
    other.answer("r", "label", {"cells": [[0, 5]], "name": "yours"})
    one.answer("s", "undo", {})
    assert one.status() == other.status()
    assert (one.status().n_saved, one.status().n_undo, one.status().n_redo) == (1, 1, 1)
    assert one.board.flag_list() == other.board.flag_list()
    maps = [session.latent_map() for session in (one, other)]
    for column in ("cell", "label", "given", "xy"):
        np.testing.assert_array_equal(*(getattr(each, column) for each in maps))
    curves = [session.curves().series for session in (one, other)]
    assert [curve.name for curve in curves[0]] == [curve.name for curve in curves[1]]
    for mine, yours in zip(*curves, strict=True):
        np.testing.assert_array_equal(mine.steps, yours.steps)
        np.testing.assert_array_equal(mine.values, yours.values)
    own_atlas.labels.close()


@pytest.mark.timeout(120)
def test_a_killed_kernel_loses_no_label_that_was_acknowledged_and_undo_goes_on(own_atlas, tmp_path):
    own_atlas.labels.close()
    command = [sys.executable, "-c", LABELS_WITHOUT_END, str(own_atlas.path), str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        told = [process.stdout.readline() for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        told += process.stdout.readlines()  # what was told before it died
    acknowledged = [json.loads(line) for line in told if line.endswith("\n")]
    assert all(ok for ok, _ in acknowledged)

    atlas = Atlas.open(own_atlas.path)
    session = LiveSession(small_run(atlas, tmp_path / "another"))
    held = [step.what.partition(": ")[2] for step in session.board.ledger.history.undo]
    # One more may have reached the disk than was told.
    assert held in [standing_after(len(acknowledged) + more) for more in (0, 1)]
    n_before = session.status().n_undo
    assert session.answer("r", "undo", {}).ok and session.status().n_undo == n_before - 1
    assert session.answer("s", "redo", {}).ok and session.status().n_undo == n_before
    atlas.labels.close()
