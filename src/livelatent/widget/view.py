"""LiveView: a run, or a latent that is there already, in a notebook."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from livelatent.atlas.atlas import Atlas
from livelatent.atlas.shown_cells import named_arguments
from livelatent.errors import NothingToSeeError
from livelatent.judge.cycle_lists import CycleSource
from livelatent.session.board_flag import BoardFlag
from livelatent.session.ledger import Saved
from livelatent.session.live import LiveSession
from livelatent.session.out import board_table
from livelatent.session.picture import thumbnail
from livelatent.session.state import Moment, Status
from livelatent.session.watched import HasEye
from livelatent.train.run import Run
from livelatent.widget.export import page_name, shown_topics, write_html, write_picture
from livelatent.widget.opening import opened
from livelatent.widget.publisher import Publisher
from livelatent.widget.still import Still

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["LiveView"]

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"


class LiveView(anywidget.AnyWidget):  # type: ignore[misc]
    """Loss curves, latent map, prototypes and flags of a run, live, with names that are saved.

    Without a run, of an AnnData (in memory or backed) or an atlas with a latent in obsm: all but the curves.

    Parameters
    ----------
    run
        A `Run`, a `LightningWatch`; or an AnnData or Atlas, with `basis`.
    basis
        Of an AnnData or Atlas: the latent's name in obsm, such as `"X_scVI"`. Of two dimensions it is the map itself.
    label, batch, unlabelled
        Of an AnnData: obs columns with cell types and with the technical batch, and names that mean "no label".
        Cells without a label, and a tenth of the others, are scored for novelty.
    counts
        Of an AnnData: where counts or their logs are, `"X"`, `"raw"` or a layer's name. None looks for them; without
        any, flags have no marker genes.
    journal
        Of an AnnData: folder for labels given by hand. None: beside the file of a backed one, else a folder in the
        working directory named by a hash of the cells' names. The view says where; it is made at the first label.
    query
        Another atlas to show and to score beside the run's own; it needs no labels.
    panel_cells
        How many cells the map shows.
    cpu_share
        The largest share of one CPU core that looking at the model and laying out its map may take while it trains.
    target_fpr
        The share of known cells that may be flagged by mistake, in (0, 0.25]; the view's slider sets it later.
    cell_cycle
        Genes of S and G2M (a GMT file, a mapping, or two lists), as `find_novel` takes them: flags then say how many of
        their cells divide.

    Raises
    ------
    NothingToSeeError
        If `run` is nothing that can be shown, or an argument is given that is not for it.
    ColumnError
        If there is no such obsm or obs column, or no `basis` is named.
    LabelError
        If `target_fpr` is out of its range.
    ValueError
        If `cpu_share` is out of its range.
    SourceError
        If `cell_cycle` can't be read, or lacks a phase.

    Examples
    --------
    >>> view = LiveView(run, query=query)  # doctest: +SKIP
    >>> run.start()  # doctest: +SKIP
    >>> view  # doctest: +SKIP

    >>> LiveView(adata, basis="X_scVI", label="cell_type", batch="donor")  # doctest: +SKIP
    """

    _esm = STATIC / "widget.js"
    _css = STATIC / "widget.css"
    name = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        run: "Run | HasEye | Atlas | AnnData",
        query: Atlas | None = None,
        *,
        basis: str | None = None,
        label: str | None = None,
        batch: str | None = None,
        unlabelled: Sequence[str] = (),
        counts: str | None = None,
        journal: str | os.PathLike[str] | None = None,
        panel_cells: int = 20_000,
        cpu_share: float = 0.15,
        target_fpr: float = 0.05,
        cell_cycle: CycleSource | None = None,
    ) -> None:
        self._session: LiveSession | None = None
        self._publisher: Publisher | None = None
        watched = opened(run, basis, label=label, batch=batch, unlabelled=unlabelled, counts=counts, journal=journal)
        if not isinstance(watched, Run) and (given := named_arguments(query=query)):
            raise NothingToSeeError(f"{given}: for a Run only, whose model can embed other cells. Leave it out.")
        super().__init__(name=watched.atlas.path.name)
        self._session = LiveSession(
            watched, query, panel_cells=panel_cells, cpu_share=cpu_share, target_fpr=target_fpr, cell_cycle=cell_cycle
        )
        self._still = Still(lambda: thumbnail(shown_topics(self.session)))
        self._session.lookout.on_settled = self._still.renew
        self._publisher = Publisher(self._to_browsers, self._session)
        self.on_msg(self._on_message)
        self._session.start()
        self._publisher.start()

    @property
    def run(self) -> Any:
        """What the view shows now: after `retrain()` the new run, not the one that the view was made with."""
        return self.session.run

    @property
    def session(self) -> LiveSession:
        """What the view shows, without Jupyter."""
        if self._session is None:
            raise RuntimeError("this view is closed. Make a new one: `LiveView(run)`.")
        return self._session

    @property
    def novel(self) -> tuple[BoardFlag, ...]:
        """The flags shown now."""
        return self.session.board.flags

    def find(self) -> None:
        """Look for flags with the model as it is now; they appear when they are found."""
        self.session.find()

    def label(self, what: Any, name: str | None, *, query: bool = False) -> Saved:
        """Name cells; the name is on disk when this returns.

        Parameters
        ----------
        what
            A flag of `find_novel` or `view.novel`, a flag's number, or rows of the atlas (or a mask).
        name
            None takes the name given by hand away.
        query
            Whether rows are the query's.
        """
        return self.session.label(what, name, query=query)

    def retrain(self, epochs: int | None = None) -> None:
        """Train on with the labels given here, in a run of its own that this view then follows; returns at once.

        Parameters
        ----------
        epochs
            Of the longest stage; None takes a quarter of the run's, five at least.

        Raises
        ------
        LabelError
            If no label was given or taken back since the last training.
        """
        self.session.retrain(epochs)

    @property
    def cpu_share(self) -> float:
        """The largest share of one core that looking and layouts may take while it trains; may be set at any time."""
        return self.session.pace.cpu_share

    @cpu_share.setter
    def cpu_share(self, share: float | int) -> None:
        self.session.pace.cpu_share = share

    def place_all(self) -> None:
        """Show every cell: those outside the panel lie where their nearest cells of the panel lie.

        Above two million cells they are thinned, and none that is flagged is lost. The next layout shows the panel
        again, so this is for a run that has ended, or is paused.
        """
        self.session.place_all()

    def obs(self) -> "pd.DataFrame":
        """What the view knows of each cell of its atlas, by name: label, novelty_p, flag, predicted.

        Returns
        -------
        `label` is the one given by hand, else the column's own, else missing; `flag` is a flag's number, 0 for none;
        `novelty_p` is missing where a cell was not scored, `predicted` where it is not on the map.
        """
        return board_table(self.session)

    def write_obs(self, column: str = "livelatent_label") -> None:
        """Write the labels into a new obs column of the AnnData or the store; one that came with it is never touched.

        Raises
        ------
        ColumnError
            If `column` came with the data.
        """
        self.session.atlas.write_labels(column)

    def keep(self) -> Moment:
        """Keep the map as it is shown, to be held against another moment of training or against now."""
        return self.session.keep()

    @property
    def moments(self) -> tuple[Moment, ...]:
        """The moments kept."""
        return self.session.album.moments().moments

    def to_html(self, path: str | Path | None = None, *, anonymise: bool = False) -> Path:
        """Write the view as one page that opens from disk with no network.

        Parameters
        ----------
        path
            A file there already is replaced. None: `NAME-report.html` in the working directory, NAME being that of what
            is shown; `livelatent-report.html` of an anonymous page.
        anonymise
            Numbers instead of the names of batches, files and single cells.

        Returns
        -------
        Where it is.
        """
        self._settle()
        target = page_name(self.session, anonymise=anonymise) if path is None else path
        return write_html(self.session, target, anonymise=anonymise)

    def to_png(self, path: str | Path, *, anonymise: bool = False) -> Path:
        """Draw the view: map, curves, prototypes and flags."""
        self._settle()
        return write_picture(self.session, path, anonymise=anonymise)

    def _settle(self) -> None:
        self.session.settle()
        self._still.repeat()

    def close(self) -> None:
        """Stop watching the run; it trains on. Labels are on disk already."""
        publisher, session = self._publisher, self._session
        self._publisher = self._session = None
        if publisher is not None:
            publisher.close()
        if session is not None:
            session.close()
        super().close()

    def _to_browsers(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(content, buffers)

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        # Jupyter swallows what a handler raises; so it is logged here.
        try:
            if self._publisher is not None:
                self._publisher.handle(content)
        except Exception:
            log.exception("a message from the browser could not be handled")

    def _ipython_display_(self) -> None:
        """The widget, and below it the picture that stays when the kernel is gone."""
        from IPython.display import publish_display_data

        bundle = self._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {"text/plain": repr(self)}, {})
        publish_display_data(data, metadata)  # type: ignore[no-untyped-call]
        self._still.show()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and for readers without a kernel a line that says what stood here."""
        bundle = super()._repr_mimebundle_(**options)
        if self._session is None or not isinstance(bundle, tuple):
            return bundle
        status = self._session.status()
        said = (
            f"LiveView of {status.store}: {status.state}, {_epochs(status)}"
            f"{len(self._session.board.flags)} flags. Run the notebook, or open what `view.to_html()` wrote."
        )
        return ({**bundle[0], "text/plain": said}, *bundle[1:])


def _epochs(status: Status) -> str:
    """How far it has come; nothing where nothing trains."""
    return "" if status.epoch is None else f"epoch {status.epoch} of {status.epochs}, "
