"""`livelatent report` and `livelatent lab`: the ways out of the shell into a page or a notebook."""

import base64
import json
import os
import re

import pytest
from test_cli import answer, livelatent

from livelatent.train.folders import run_folder
from watched import small_run, until


def state_in(page):
    """The topics that an offline page holds, by kind."""
    inlined = re.search(r'id="livelatent-state">(.*?)</script>', page.read_text(), re.DOTALL)
    assert inlined is not None
    state = json.loads(inlined.group(1))
    assert all(base64.b64decode(buffer) is not None for buffer in state["buffers"])
    return {frame["kind"]: frame for frame in state["frames"]}


@pytest.mark.slow  # a map by UMAP in a new process, and a reference: half a minute
def test_a_run_that_was_cut_off_becomes_a_page(finished_run, tmp_path):
    # Of the atlas without batches: to hold each back in turn costs half a minute.
    run = small_run(finished_run.atlas, tmp_path / "run", epochs=500, patience=1000)
    run.start()
    until(lambda: run.status.epoch >= 2)
    run.stop()
    run.wait()
    step = json.loads((run.folder / "state.json").read_text())["step"]
    genes = [str(gene) for gene in run.atlas.genes]
    (tmp_path / "c.gmt").write_text("S\t\t" + "\t".join(genes[75:95]) + "\nG2M\t\t" + "\t".join(genes[:9]) + "\n")
    told = answer("report", run.folder, "--cell-cycle", tmp_path / "c.gmt", "--out", tmp_path / "page.html")
    assert (told["run"], told["step"]) == (str(run.folder), step)
    topics = state_in(tmp_path / "page.html")
    assert topics["status"]["step"] == step and topics["map"]["n"] == 607
    assert {one["name"] for one in topics["curves"]["series"]} >= {"loss"}
    assert topics["flags"]["n_scored"] > 0 and all(flag["phases"] for flag in topics["flags"]["flags"])
    # Where it lies is nobody's business but the owner's.
    assert str(tmp_path) not in (tmp_path / "page.html").read_text()


def test_of_a_store_the_run_that_was_begun_last_is_meant(own_atlas, tmp_path):
    for age, name in enumerate(["b", "c", "a"]):
        folder = tmp_path / "tiny.runs" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        os.utime(folder / "config.json", (1_000_000 + age, 1_000_000 + age))
    assert run_folder(own_atlas.path) == tmp_path / "tiny.runs" / "a"
    assert run_folder(tmp_path / "tiny.runs" / "b") == tmp_path / "tiny.runs" / "b"


@pytest.mark.parametrize("what", ["nothing", "store"])
def test_a_folder_without_a_run_is_refused_in_one_line(own_atlas, tmp_path, what):
    path = own_atlas.path if what == "store" else tmp_path
    done = livelatent("report", path)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "no runs lie beside it" in done.stderr


def test_lab_prepares_a_notebook_for_the_store_and_leaves_one_that_is_there_alone(own_atlas, tmp_path):
    import nbformat  # late: 2 s of CPU, which every process of a run would pay

    done = livelatent("lab", own_atlas.path, "--write-only", folder=tmp_path)
    assert done.returncode == 0 and "written" in done.stdout
    path = tmp_path / "tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for source in code:
        compile(source.replace("await run", "run.wait()"), "cell", "exec")
    opened: dict = {}
    exec(code[0], opened)
    assert opened["atlas"].uuid == own_atlas.uuid
    assert "607 cells x 300 genes, 4 labels, 3 batches" in notebook.cells[0].source
    assert "ll.Cellular(atlas)" in code[1] and "ll.LiveView(run, " in code[1]
    assert opened["cell_cycle"] is None
    path.write_text("mine")
    done = livelatent("lab", own_atlas.path, "--write-only", folder=tmp_path)
    assert done.returncode == 0 and path.read_text() == "mine" and "as it is" in done.stdout


def test_lab_puts_the_genes_of_the_cycle_into_view_and_search(own_atlas, tmp_path):
    genes = [str(gene) for gene in own_atlas.genes]
    gmt = tmp_path / "it's.gmt"
    gmt.write_text("S\t\t" + "\t".join(genes[:9]) + "\nG2M\t\t" + "\t".join(genes[9:20]) + "\n")
    done = livelatent("lab", own_atlas.path, "--cell-cycle", "it's.gmt", "--write-only", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    code = ["".join(cell["source"]) for cell in json.loads((tmp_path / "tiny.ipynb").read_text())["cells"]]
    scope: dict = {}
    exec(code[1], scope)
    assert scope["cell_cycle"] == str(gmt)
    assert "ll.LiveView(run, cell_cycle=cell_cycle)" in code[2]
    assert "ll.find_novel(view.run.model, atlas, cell_cycle=cell_cycle)" in code[6]
    done = livelatent("lab", own_atlas.path, "--cell-cycle", gmt, "--write-only", folder=tmp_path)
    assert "opened as it is, without --cell-cycle" in done.stdout.replace("\n", " ")
    gmt.write_text("S\t\tGENE1\n")
    done = livelatent("lab", own_atlas.path, "--cell-cycle", gmt, "--write-only", folder=tmp_path / "..")
    assert done.returncode == 1 and "G2M" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_report_without_one_of_the_phases_is_refused_before_the_run_is_read(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")  # which no run can be read from
    gmt = tmp_path / "cycle.gmt"
    gmt.write_text("S\t\tGENE1\n")
    done = livelatent("report", tmp_path / "run", "--cell-cycle", gmt, "--out", tmp_path / "page.html")
    assert done.returncode == 1 and "G2M" in done.stderr and not (tmp_path / "page.html").exists()


def test_lab_of_a_store_without_labels_learns_without_them(tiny_h5ad, tmp_path):
    from livelatent.atlas import ingest
    from livelatent.store_notebook import store_cells

    cells = store_cells(ingest(tiny_h5ad[:1], tmp_path / 'it"s.zarr'))
    text = "\n".join(source for _, source in cells)
    assert "ll.BetaVAE(atlas)" in text and "find_novel" not in text and "no labels" in text
    for kind, source in cells:
        if kind == "code":
            compile(source.replace("await run", "run.wait()"), "cell", "exec")
