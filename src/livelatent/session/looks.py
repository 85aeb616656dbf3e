"""What is done when a view looks: map, flags, all cells; each alone may fail, and says so until it works again."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from livelatent.session.alarms import Alarms
from livelatent.session.board import Board
from livelatent.session.flag_table import JudgedNovelty
from livelatent.session.look import Eye, Naming
from livelatent.session.sight import Sight
from livelatent.session.values import Values
from livelatent.session.watched import LASTING, Sees, Watched

__all__ = ["Looks", "Scene"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Scene:
    """What is looked at, and through what."""

    run: Watched
    finder: Sees


class Looks:
    """Brings map, values and flags up to date with a scene; one thread at a time.

    Parameters
    ----------
    scene
        May be replaced between two looks.
    """

    def __init__(self, scene: Scene, sight: Sight, values: Values, board: Board, alarms: Alarms) -> None:
        self.scene = scene
        self.sight = sight
        self._values, self._board, self._alarms = values, board, alarms
        self._judged: tuple[Scene, int] | None = None
        """At which step of what flags were last looked for."""

    def map(self) -> bool:
        """Embed the panel and lay it out; whether that went well."""
        return self._attempt("map", self._map)

    def flags(self) -> bool:
        """Score the cells with the model as it is now; whether that went well."""
        return self._attempt("flags", self._flags)

    def all_cells(self) -> bool:
        """Place all cells on a layout of the very weights that embed them; whether that went well."""
        return self._attempt("placing of all cells", self._all_cells)

    def take(self, novelties: Sequence[JudgedNovelty | None]) -> None:
        """Show these scores, of the model as it is now, at the threshold that they come with."""
        padded = self._padded(novelties)
        scored = [novelty for novelty in padded if novelty is not None]
        target_fpr = float(scored[0].target_fpr) if scored else None
        self._board.show(padded, self.scene.finder.eye().sha256(), target_fpr)

    def annotate(self) -> None:
        """Replace the nearest prototype by the classifier's prediction once there is a classifier."""
        look = self.sight.look
        if look is not None and self.can_be_judged:
            self.sight.predict(self._naming(self.scene.finder.eye()), look)

    @property
    def can_be_judged(self) -> bool:
        """Whether nothing moves, and there is something to judge: a run that was killed and is open again as well."""
        finder = self.scene.finder
        return self.scene.run.status.state in (*LASTING, "ready") and finder.has_begun and finder.can_judge

    def _padded(self, novelties: Sequence[JudgedNovelty | None]) -> list[JudgedNovelty | None]:
        """One for each place, None where nothing was scored."""
        return [*novelties, *[None] * (len(self._board.places) - len(novelties))]

    def _attempt(self, what: str, work: Callable[[], None]) -> bool:
        """Do one part of a look; an error is logged and shown until the part works again."""
        try:
            work()
        except Exception as error:
            log.exception("the %s could not be brought up to date", what)
            message = str(error) or type(error).__name__
            self._alarms.set(what, f"The {what} could not be brought up to date: {message}")
            return False
        self._alarms.set(what, None)
        return True

    def _map(self) -> None:
        self._see(self.scene.finder.eye())

    def _see(self, eye: Eye) -> None:
        self.sight.see(eye, self.scene.run.status.epoch)
        self._values.refresh()
        if self._judged == (self.scene, eye.step):
            self.annotate()  # each map is a new one, and begins with the nearest prototypes

    def _flags(self) -> None:
        finder = self.scene.finder
        eye = finder.eye()
        with self._board.computing():
            target_fpr = self._board.target_fpr
            found = finder.find(eye, self.sight.shown_query, target_fpr)
            self._board.show_found(self._padded(found), eye.sha256(), target_fpr)
        self._judged = (self.scene, eye.step)
        self.annotate()

    def _all_cells(self) -> None:
        eye = self.scene.finder.eye()
        if self.sight.look is None or self.sight.look.step != eye.step:
            self._see(eye)
        # Where the classifier has named the panel's cells, it names the others too.
        self.sight.place_all(eye, self._naming(eye) if self.sight.is_classified else None)

    def _naming(self, eye: Eye) -> Naming:
        finder = self.scene.finder
        return lambda atlas, rows: finder.predict(eye, atlas, rows)
