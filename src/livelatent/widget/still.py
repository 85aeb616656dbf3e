"""A picture of the view that stays in the notebook, for readers without a kernel: GitHub, nbviewer, a colleague."""

import contextvars
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

__all__ = ["Still"]

log = logging.getLogger(__name__)

PROMISE = "A picture of this view comes here when training has ended, for readers without a kernel."


class Still:
    """One output below the view, empty but for a promise until there is something to see.

    Parameters
    ----------
    draw
        Makes the PNG.
    """

    def __init__(self, draw: Callable[[], bytes]) -> None:
        self._draw = draw
        self._shown: list[tuple[str, contextvars.Context]] = []
        self._png: bytes | None = None
        self._is_due = False
        """Whether there was something to see before the view was displayed."""

    def show(self) -> None:
        """Publish the output where the view is being displayed; in no notebook nothing happens."""
        publish = _publisher()
        if publish is None:
            return
        # What comes from another thread later must still know the cell that it belongs to.
        name, context = uuid.uuid4().hex, contextvars.copy_context()
        self._shown.append((name, context))
        publish(_bundle(self._png), {}, transient={"display_id": name})
        if self._is_due and self._png is None:
            # Drawing takes a second, which the cell need not wait for.
            threading.Thread(target=self.renew, name="livelatent-picture", daemon=True).start()

    def renew(self) -> None:
        """Draw the picture, and put it where it was promised; called from any thread."""
        publish = _publisher()
        self._is_due = True
        if publish is None or not self._shown:
            return
        try:
            self._png = self._draw()
            for name, context in self._shown:
                context.copy().run(publish, _bundle(self._png), {}, transient={"display_id": name}, update=True)
        except Exception:
            # A picture is a courtesy: the view that it is of works without it.
            log.exception("the view's picture could not be left in the notebook")

    def repeat(self) -> None:
        """Publish the last picture once more, from the cell that runs: a notebook that is executed by nbconvert takes
        nothing that comes from a thread when the view's own cell has ended.
        """
        publish = _publisher()
        if publish is not None and self._png is not None:
            for name, _ in self._shown:
                publish(_bundle(self._png), {}, transient={"display_id": name}, update=True)

    @property
    def png(self) -> bytes | None:
        """The last picture."""
        return self._png


def _bundle(png: bytes | None) -> dict[str, Any]:
    if png is None:
        return {"text/plain": PROMISE}
    return {"image/png": png, "text/plain": "A picture of the view above."}


def _publisher() -> Callable[..., None] | None:
    """What publishes in the shell that runs; None where none does."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return None if shell is None else _encoded(shell.display_pub.publish)


def _encoded(publish: Callable[..., None]) -> Callable[..., None]:
    """A notebook's messages are JSON: a PNG goes as base64."""
    import base64

    def send(data: dict[str, Any], metadata: dict[str, Any], **options: Any) -> None:
        ready = {kind: base64.b64encode(v).decode() if isinstance(v, bytes) else v for kind, v in data.items()}
        publish(ready, metadata, **options)

    return send
