"""The notebook loop as a notebook: the one in `examples/`, or one written for a user's own file."""

import json
from pathlib import Path
from typing import Any

from livelatent.atomic import write_text

INTRO = """# livelatent: from cells to a named type

One loop: a file becomes a chunked store on disk, the store streams into training, the view shows the model learn,
and a cluster that fits nothing known gets a name that is safe on disk. Run the cells from top to bottom."""

CYCLE = "cell_cycle = {!r}  # a GMT file with gene sets S and G2M: flags then say how many of their cells divide"

EXAMPLE = f"""from pathlib import Path

import livelatent as ll

# 700 labelled blood cells that ship inside scanpy. One type's label is hidden: it is what we want to discover.
source = ll.write_example("quickstart-data/blood.h5ad")
label, batch, hidden, counts = "bulk_labels", None, "CD19+ B", "X"
store = Path("quickstart-data/blood.zarr")
{CYCLE.format(None)}"""

STORE = """# Once: the file becomes a shuffled, chunked store, in bounded memory. Later: the store is opened.
if store.exists():
    atlas = ll.Atlas.open(store)
else:
    atlas = ll.ingest(source, store, label=label, batch=batch, unlabelled=[hidden], counts=counts, memory="4GB")
atlas"""

VIEW = """model = ll.Cellular(atlas)
run = ll.Run(model, atlas, epochs=50)
view = ll.LiveView(run, cell_cycle=cell_cycle)
run.start()  # in the background: the notebook stays free
view"""

WAIT_TEXT = """Watch it learn: loss curves, the map, the prototypes. Press **Pause** and **Resume** as you like; name
a flag by a click on its card. The next cell waits until training has ended, and leaves the view alive meanwhile."""

WAIT = "await run"

NOVEL_TEXT = """Clusters that fit no prototype, each with its reason. Naming one, here or in the view, writes to the
journal beside the store before it says so."""

NOVEL = """novel = ll.find_novel(view.run.model, atlas, cell_cycle=cell_cycle)
novel"""

NAME = """if len(novel):
    view.label(novel[0], "B cell?")
atlas.labels.current()[novel[0].rows][:3] if len(novel) else "no flags: try another label to hide\""""

WRITE_TEXT = (
    """The names become a new column of the store, which anndata and scanpy open as it is. The model goes anywhere."""
)

WRITE = """atlas.write_labels()  # obs["livelatent_label"]; your own column is never touched
view.run.model.save("quickstart-data/blood-model")
view.to_html("quickstart-data/report.html")  # the view as a page that needs no network"""


def quickstart_notebook(
    source: Path | None,
    *,
    label: str | None,
    batch: str | None,
    hide: str,
    counts: str,
    folder: Path,
) -> Path:
    """Give the notebook to open: the example's own, or one written beside the results on the user's file.

    Names from the file are written as Python literals, so that a column called `"); import os` stays a name.
    """
    shipped = Path(__file__).parent / "quickstart.ipynb"
    in_checkout = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
    if source is None:
        return in_checkout if in_checkout.exists() else shipped
    setting = (
        "from pathlib import Path\n\nimport livelatent as ll\n\n"
        f"source = {str(source.resolve())!r}\n"
        f"label, batch, hidden, counts = {label!r}, {batch!r}, {hide!r}, {counts!r}\n"
        f"store = Path({str((folder / 'quickstart.zarr').resolve())!r})\n{CYCLE.format(None)}"
    )
    target = folder / "quickstart.ipynb"
    write_text(target, notebook_json(setting))
    return target


def notebook_json(setting: str = EXAMPLE) -> str:
    """Give the notebook as JSON text, its first code cell being `setting`."""
    cells: list[tuple[str, str]] = [
        ("markdown", INTRO),
        ("code", setting),
        ("code", STORE),
        ("code", VIEW),
        ("markdown", WAIT_TEXT),
        ("code", WAIT),
        ("markdown", NOVEL_TEXT),
        ("code", NOVEL),
        ("code", NAME),
        ("markdown", WRITE_TEXT),
        ("code", WRITE),
    ]
    return notebook_of(cells)


def notebook_of(cells: list[tuple[str, str]]) -> str:
    """Give a notebook of these cells (kind and text) as JSON text."""
    notebook = {
        "cells": [_cell(number, kind, text) for number, (kind, text) in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    """Give one cell of a notebook of format 4.5."""
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell
