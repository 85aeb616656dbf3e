"""The example on a real scvi-tools model, in an environment of its own: its pins are not ours."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_scvi_model_is_watched_as_it_learns(tmp_path):
    python = os.environ.get("LIVELATENT_SCVI_PYTHON")
    if python is None:
        pytest.skip("LIVELATENT_SCVI_PYTHON names no Python with scvi-tools, scanpy and livelatent's dependencies")
    done = subprocess.run(
        [python, "-W", "ignore", ROOT / "examples" / "scvi_live.py", "12"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "done: epoch 12 of 12" in done.stdout
    assert "('reconstruction_loss', 'train')" in done.stdout and "('loss', 'validation')" in done.stdout
    assert (tmp_path / "scvi_live.html").stat().st_size > 150_000
