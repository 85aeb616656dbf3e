"""LiveView: a run in a notebook."""

import logging
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from livelatent.atlas.atlas import Atlas
from livelatent.session.board import Saved
from livelatent.session.board_flag import BoardFlag
from livelatent.session.live import LiveSession
from livelatent.train.run import Run
from livelatent.widget.export import write_html, write_picture
from livelatent.widget.publisher import Publisher

__all__ = ["LiveView"]

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"


class LiveView(anywidget.AnyWidget):  # type: ignore[misc]
    """Loss curves, latent map, prototypes and flags of a run, live, with names that are saved.

    Parameters
    ----------
    query
        Another atlas to show and to score beside the run's own; it needs no labels.
    panel_cells
        How many cells the map shows.
    cpu_share
        The largest share of time that the view may take from training.

    Examples
    --------
    >>> view = LiveView(run, query=query)  # doctest: +SKIP
    >>> run.start()  # doctest: +SKIP
    >>> view  # doctest: +SKIP
    """

    _esm = STATIC / "widget.js"
    _css = STATIC / "widget.css"
    name = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        run: Run,
        query: Atlas | None = None,
        *,
        panel_cells: int = 20_000,
        cpu_share: float = 0.15,
        target_fpr: float = 0.05,
    ) -> None:
        self._session: LiveSession | None = None
        self._publisher: Publisher | None = None
        super().__init__(name=run.atlas.path.name)
        self._session = LiveSession(run, query, panel_cells=panel_cells, cpu_share=cpu_share, target_fpr=target_fpr)
        self._publisher = Publisher(self._to_browsers, self._session)
        self.on_msg(self._on_message)
        self._session.start()
        self._publisher.start()

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

    def to_html(self, path: str | Path, *, anonymise: bool = False) -> Path:
        """Write the view as one page that opens from disk with no network.

        Parameters
        ----------
        anonymise
            Numbers instead of the names of batches, files and single cells.
        """
        self.session.settle()
        return write_html(self.session, path, anonymise=anonymise)

    def to_png(self, path: str | Path, *, anonymise: bool = False) -> Path:
        """Draw the view: map, curves, prototypes and flags."""
        self.session.settle()
        return write_picture(self.session, path, anonymise=anonymise)

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

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and for readers without a kernel a line that says what stood here."""
        bundle = super()._repr_mimebundle_(**options)
        if self._session is None or not isinstance(bundle, tuple):
            return bundle
        status = self._session.status()
        said = (
            f"LiveView of {status.store}: {status.state}, epoch {status.epoch} of {status.epochs}, "
            f"{len(self._session.board.flags)} flags. Run the notebook, or open what `view.to_html(path)` wrote."
        )
        return ({**bundle[0], "text/plain": said}, *bundle[1:])
