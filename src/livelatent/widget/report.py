"""A run's page and picture without a notebook: nothing here imports ipywidgets."""

from collections.abc import Sequence
from pathlib import Path

from livelatent.atlas.atlas import Atlas
from livelatent.judge.cycle_lists import CycleSource
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.live import LiveSession
from livelatent.train.run import Run
from livelatent.widget.export import write_html, write_picture

__all__ = ["write_report"]


def write_report(
    run: Run,
    novelty: JudgedNovelty | Sequence[JudgedNovelty | None] | None = None,
    *,
    html: str | Path | None = None,
    png: str | Path | None = None,
    query: Atlas | None = None,
    anonymise: bool = False,
    cell_cycle: CycleSource | None = None,
) -> None:
    """Write the view of a run as an offline page, a picture, or both.

    Parameters
    ----------
    novelty
        What `find_novel` gave for the run's atlas, or a pair with the query's; None computes it.
    anonymise
        Numbers instead of the names of batches, files and single cells.
    cell_cycle
        Genes of S and G2M, as `find_novel` takes them, for flags that are computed here: a given `novelty` has its own.
    """
    session = LiveSession(run, query, cell_cycle=cell_cycle)
    try:
        if novelty is None:
            session.settle()
        else:
            session.settle([novelty] if isinstance(novelty, JudgedNovelty) else list(novelty))
        if html is not None:
            write_html(session, html, anonymise=anonymise)
        if png is not None:
            write_picture(session, png, anonymise=anonymise)
    finally:
        session.close()
