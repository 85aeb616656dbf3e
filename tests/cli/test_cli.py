"""Every command as a process, as a person or a script runs it."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import anndata
import pytest
from typer.testing import CliRunner

from watched import until

COMMANDS = (
    "ingest",
    "append",
    "simulate",
    "info",
    "qc",
    "doctor",
    "copy",
    "train",
    "embed",
    "annotate",
    "novel",
    "benchmark",
    "labels",
    "lab",
    "report",
    "demo",
)


def process(*words: object, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command that pip installed."""
    program = Path(sys.executable).with_name("livelatent")
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, cwd=folder, timeout=240)


def livelatent(*words: object, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """The same without a process of its own, which imports torch for 3 to 10 seconds."""
    from livelatent.cli import app

    with contextlib.chdir(folder or Path.cwd()):
        done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def answer(*words: object, folder: Path | None = None, run: Any = livelatent) -> Any:
    """What a command that ended well printed with --json: one object, and nothing else."""
    done = run(*words, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_h5ad):
    """A folder with an ingested store and a trained model, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("shell")
    made = answer(
        *("ingest", *tiny_h5ad, folder / "tiny.zarr", "--label", "cell_type", "--batch", "donor"),
        *("--unlabelled", "unassigned", "--memory", "1GB"),
        run=process,
    )
    assert (made["cells"], made["genes"]) == (607, 300)
    # test_an_interrupted_training_says_how_to_go_on trains in a process of its own.
    trained = answer("train", folder / "tiny.zarr", "--out", folder / "model", "--epochs", 2, "--genes", 100)
    assert trained["state"] == "done"
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command):
    done = livelatent(command, "--help")
    assert done.returncode == 0
    assert f"Example: livelatent {command}" in " ".join(done.stdout.split())


def test_info_counts_what_the_files_hold(home, tiny_adatas):
    facts = answer("info", home / "tiny.zarr")
    names = [name for adata in tiny_adatas.values() for name in adata.obs["cell_type"].astype(object)]
    assert facts["labels"] == {name: names.count(name) for name in ("B cell", "NK cell", "T cell", "monocyte")}
    assert facts["unlabelled_cells"] == sum(name not in facts["labels"] for name in names)
    assert sum(facts["batches"].values()) == facts["cells"] == len(names)
    assert facts["splits"]["validation"] == facts["splits"]["calibration"] == 61 - 1


def test_embed_writes_what_anndata_reads(home):
    facts = answer("embed", home / "tiny.zarr", home / "model", "--name", "X_mine")
    latent = anndata.read_zarr(home / "tiny.zarr").obsm["X_mine"]
    assert latent.shape == (facts["cells"], facts["dimensions"]) == (607, 100)


def test_annotate_gives_every_cell_a_known_label(home):
    facts = answer("annotate", home / "tiny.zarr", home / "model", "--out", home / "labels.csv")
    with open(home / "labels.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == facts["cells"] == 607
    assert {row["label"] for row in rows} <= {"B cell", "NK cell", "T cell", "monocyte"}
    assert facts["unassigned"] == sum(row["assigned"] == "unassigned" for row in rows)
    assert "x regression on genes" in facts["notes"][0] and "whole batch" in facts["notes"][0]


@pytest.mark.slow  # test_compare.py sees to the rows; this adds the shell
def test_benchmark_prints_every_row_and_writes_what_was_asked_for(tiny_h5ad, tmp_path):
    facts = answer(
        *("benchmark", tiny_h5ad[0], "--label", "cell_type", "--batch", "donor", "--unlabelled", "unassigned"),
        *("--seeds", 1, "--epochs", 1, "--max-cells", 150, "--no-peers", "--table", "t.md", "--figure", "f.png"),
        folder=tmp_path,
    )
    assert [row["method"] for row in facts["rows"]] == ["lr_raw", "lr_pca", "knn_pca", "livelatent", "cellular"]
    assert facts["held_out"] == "each of 2 groups of donor" and "150 of" in facts["notes"][-1]
    assert "| logistic regression, genes |" in (tmp_path / "t.md").read_text()
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    refused = livelatent("benchmark", tiny_h5ad[0], folder=tmp_path)
    assert refused.returncode == 1 and "--label" in refused.stderr


def test_benchmark_looks_at_where_it_will_write_before_it_begins(tiny_h5ad, tmp_path):
    for option in ("--out", "--table", "--figure"):
        place = f"no/where/{'x.png' if option == '--figure' else 'x.json'}"
        ended = livelatent("benchmark", tiny_h5ad[0], "--label", "cell_type", option, place, folder=tmp_path)
        assert ended.returncode == 2
        assert option in ended.stderr and "no/where" in ended.stderr


def test_benchmark_looks_for_the_column_to_hold_out_by_before_it_ingests(tiny_h5ad, tmp_path):
    ended = livelatent(
        "benchmark", tiny_h5ad[0], "--label", "cell_type", "--by", "donors", "--memory", "1KB", folder=tmp_path
    )
    # Ingest would have refused the memory.
    assert ended.returncode == 1
    assert "obs has no \"donors\". Did you mean 'donor'?" in " ".join(ended.stderr.split())


def test_novel_scores_the_cells_that_training_has_not_seen(home):
    facts = answer("novel", home / "tiny.zarr", home / "model", "--out", home / "flags.csv")
    info = answer("info", home / "tiny.zarr")
    assert facts["cells_scored"] >= info["unlabelled_cells"]
    assert facts["cells_flagged"] <= facts["cells_scored"]
    with open(home / "flags.csv") as file:
        assert len(list(csv.DictReader(file))) == sum(flag["cells"] for flag in facts["flags"])


def test_labels_are_logged_undone_and_written(home):
    from livelatent.atlas.atlas import Atlas

    atlas = Atlas.open(home / "tiny.zarr")
    atlas.labels.label(atlas.rows()[:3], "=HYPERLINK(1)", how={"kind": "test"})
    atlas.labels.close()
    assert [entry["new"] for entry in answer("labels", "log", home / "tiny.zarr")["entries"]] == ["=HYPERLINK(1)"]
    answer("labels", "write", home / "tiny.zarr")
    written = anndata.read_zarr(home / "tiny.zarr").obs["livelatent_label"]
    assert (written.iloc[:3] == "=HYPERLINK(1)").all()
    assert answer("labels", "undo", home / "tiny.zarr")["entry"]["event"] == "undo"
    assert answer("labels", "redo", home / "tiny.zarr")["entry"]["event"] == "redo"
    assert "=HYPERLINK(1)" in livelatent("labels", "log", home / "tiny.zarr").stdout


def test_a_refusal_of_a_process_is_one_message_too(tmp_path):
    done = process("info", "nowhere.zarr", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("error:") == 1 and "nowhere.zarr" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("info", "nowhere.zarr"), "nowhere.zarr"),
        (("ingest", "nowhere.h5ad", "new.zarr"), "nowhere.h5ad"),
        (("ingest", "broken.h5ad", "new.zarr"), "broken.h5ad"),
        (("demo", "broken.h5ad", "--label", "cell_type", "--no-lab"), "broken.h5ad"),
        (("novel", "nowhere.zarr", "nomodel"), "nowhere.zarr"),
        (("demo", "nowhere.h5ad", "--label", "cell_type", "--no-lab"), "nowhere.h5ad"),
        (("ingest", "broken.h5ad", "s3://bucket/new.zarr"), "s3://"),
        (("ingest", "broken.h5ad", "/proc/new.zarr"), "broken.h5ad"),
    ],
)
def test_a_refusal_is_one_message_on_stderr_and_nothing_on_disk(tmp_path, words, said):
    (tmp_path / "broken.h5ad").write_bytes(b"\x89HDF\r\n\x1a\nrubbish")
    done = livelatent(*words, folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broken.h5ad"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ingest", "FILE", "new.zarr", "--memory", "4 potatoes"), "4GB"),
        (("ingest", "FILE", "/proc/new.zarr"), "/proc"),
        (("labels", "write", "STORE", "--column", ".."), "slash"),
        (("train", "STORE", "--out", "STORE"), "no model replaces it"),
        (("train", "STORE", "--out", "m", "--device", "gpu9"), "gpu9"),
        (("annotate", "STORE", "MODEL", "--out", "/proc/x.csv"), "/proc/x.csv"),
    ],
)
def test_what_only_shows_later_is_one_message_too(home, tiny_h5ad, tmp_path, words, said):
    places = {"FILE": tiny_h5ad[0], "STORE": home / "tiny.zarr", "MODEL": home / "model"}
    done = livelatent(*(places.get(word, word) for word in words), folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("error:") == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert answer("info", home / "tiny.zarr")["cells"] == 607


def test_an_interrupted_training_says_how_to_go_on(home, tmp_path):
    from livelatent.train.run import Run

    program = Path(sys.executable).with_name("livelatent")
    out = tmp_path / "unfinished"
    before = set((home / "tiny.runs").glob("*"))
    training = subprocess.Popen(
        [program, "train", home / "tiny.zarr", "--out", out, "--epochs", "5000"], stderr=subprocess.PIPE, text=True
    )
    until(lambda: [one for one in home.glob("tiny.runs/*/state.json") if one.parent not in before])
    training.send_signal(signal.SIGINT)
    said = training.communicate(timeout=60)[1]
    (folder,) = set((home / "tiny.runs").glob("*")) - before
    assert training.returncode == 130 and not out.exists()
    assert f"Run.resume('{folder}')" in said and "Traceback" not in said
    assert Run.resume(folder).status.state == "ready"


def test_lab_serves_jupyterlab_until_it_is_told_to_end(tmp_path):
    program = Path(sys.executable).with_name("livelatent")
    own = {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path), "BROWSER": "true"}
    server = subprocess.Popen(
        [program, "lab"], cwd=tmp_path, env=os.environ | own, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: list(tmp_path.glob("jpserver-*.json")) or server.poll() is not None)
        facts = json.loads(next(tmp_path.glob("jpserver-*.json")).read_text())
        with urllib.request.urlopen(f"{facts['url']}lab?token={facts['token']}") as page:
            assert page.status == 200
            assert b"JupyterLab" in page.read()
        # What ends it ends the server, which takes its file away then.
        server.terminate()
        server.wait(60)
        assert not list(tmp_path.glob("jpserver-*.json"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_the_demo_asks_for_the_label_column_it_needs(tmp_path, tiny_h5ad):
    done = livelatent("demo", tiny_h5ad[0], "--no-lab", folder=tmp_path)
    assert done.returncode == 1
    assert "--label" in done.stderr
    named = livelatent("demo", tiny_h5ad[0], "--label", "cell_type", "--hide", "neuron", "--no-lab", folder=tmp_path)
    assert named.returncode == 1
    assert "neuron" in named.stderr and "monocyte" in named.stderr
