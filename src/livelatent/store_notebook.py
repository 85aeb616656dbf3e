"""A notebook that is ready for a store: open, train, watch, name what is new."""

from pathlib import Path

from livelatent.atlas.atlas import Atlas
from livelatent.atomic import write_text
from livelatent.judge.cycle_lists import cycle_lists
from livelatent.quickstart import CYCLE, NOVEL, NOVEL_TEXT, WAIT, WAIT_TEXT, WRITE_TEXT, notebook_of

__all__ = ["store_cells", "write_store_notebook"]


def write_store_notebook(atlas: Atlas, folder: Path, *, cell_cycle: Path | None = None) -> tuple[Path, bool]:
    """Write `NAME.ipynb` for a store unless it is there already; its path, and whether it is new.

    Parameters
    ----------
    cell_cycle
        A GMT file with genes of S and G2M, by which the notebook's flags say how many of their cells divide.

    Raises
    ------
    SourceError
        If that file can't be read, or lacks a phase.
    """
    if cell_cycle is not None:
        cycle_lists(cell_cycle)
    target = folder / f"{atlas.path.name.removesuffix('.zarr')}.ipynb"
    if target.exists():
        return target, False
    write_text(target, notebook_of(store_cells(atlas, cell_cycle=cell_cycle)))
    return target, True


def store_cells(atlas: Atlas, *, cell_cycle: Path | None = None) -> list[tuple[str, str]]:
    """The notebook's cells, kind and text. Names from the store are Python literals, or left out."""
    has_labels = bool(atlas.label_names)
    facts = f"{atlas.n_cells:,} cells x {atlas.n_genes:,} genes"
    facts += f", {len(atlas.label_names)} labels" if has_labels else ", no labels"
    facts += f", {len(atlas.batch_names)} batches" if atlas.batch_names else ""
    path = str(atlas.path.absolute() if isinstance(atlas.path, Path) else atlas.path)
    cycle = None if cell_cycle is None else str(cell_cycle.absolute())
    opened = f"import livelatent as ll\n\natlas = ll.Atlas.open({path!r})\n{CYCLE.format(cycle)}\natlas"
    model = "ll.Cellular(atlas)" if has_labels else "ll.BetaVAE(atlas)  # it needs no labels"
    view = (
        f"model = {model}\nrun = ll.Run(model, atlas)\nview = ll.LiveView(run, cell_cycle=cell_cycle)\n"
        "run.start()  # in the background: the notebook stays free\nview"
    )
    name = 'if len(novel):\n    view.label(novel[0], "a name?")  # saved when it returns'
    write = (
        'atlas.write_labels()  # obs["livelatent_label"]; your own columns are never touched\n'
        f"view.run.model.save({atlas.path.name.removesuffix('.zarr') + '-model'!r})\n"
        f"view.to_html({atlas.path.name.removesuffix('.zarr') + '.html'!r})  # the view as a page that needs no network"
    )
    cells = [("markdown", f"# A store, ready to be learnt\n\n{facts}."), ("code", opened), ("code", view)]
    cells += [("markdown", WAIT_TEXT), ("code", WAIT)]
    if has_labels:
        cells += [("markdown", NOVEL_TEXT), ("code", NOVEL), ("code", name)]
    return [*cells, ("markdown", WRITE_TEXT), ("code", write)]
