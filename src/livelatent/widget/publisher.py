"""One thread that tells browsers what is new: the latest of each topic, in one message a round, as far as credit goes.

Without credit a slow browser falls half a minute behind and clicks with it. Nothing here ever waits for a browser.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from livelatent.session.commands import Answer
from livelatent.session.state import MARKS, Curves, LatentMap, Status, Topic
from livelatent.widget.credit import Credit
from livelatent.widget.frames import PROTOCOL, Frame, encode_round, encode_sync, finite
from livelatent.widget.lanes import Lanes

log = logging.getLogger(__name__)

SHORTEST_GAP_S = 1.0
"""Between rounds that nobody asked for. A view may take 2 % from training, and most of what a round takes is the page's
painting: on two cores without a GPU it slows the trainer down on the other one."""
SMALL = (Status, Curves)
"""Topics that change all the time and never grow large."""

Send = Callable[[dict[str, Any], list[bytes]], None]


class Source(Protocol):
    """Where the topics come from."""

    def versions(self) -> dict[str, int]:
        """Per topic a number that grows with every change."""
        ...

    def topic(self, name: str, since: Mapping[tuple[str, str], int] | None = None) -> Topic:
        """The latest of one topic; `since` says how many points of each curve are known already."""
        ...

    def answer(self, rid: object, name: object, args: object) -> Answer:
        """Do a command."""
        ...

    def lane(self, name: object) -> str:
        """Commands of one lane are done one after the other; those of others need not wait for them."""
        ...


class Publisher:
    """Sends what changed in `source`, and answers what browsers say.

    Parameters
    ----------
    send
        Takes a message's content and buffers to every browser that shows the view.
    clock
        Seconds, as `time.monotonic` counts them.
    """

    def __init__(self, send: Send, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._send_now = send
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        """Somebody has asked for something: what came of it is shown at once."""
        self._closed = threading.Event()
        self._context: contextvars.Context | None = None
        self._seq = 0
        self._sent: dict[str, int] = {}
        self._points: dict[tuple[str, str], int] = {}
        self._keeps = False
        self._map: LatentMap | None = None
        self._credit = Credit(clock)
        self._wants_sync: str | None = None
        self._has_view = False
        self._commands: Lanes[dict[str, Any]] = Lanes(self._command, lambda message: source.lane(message.get("name")))
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin publishing."""
        self._thread = threading.Thread(target=self._publish, name="livelatent-publisher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop publishing; what is being sent is sent."""
        self._closed.set()
        self._at_once()
        self._commands.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    # What browsers say: handlers only check, note down and answer

    def handle(self, message: object) -> None:
        """Take one message from a browser; called on whatever thread Jupyter likes."""
        # A front end's message is handled on the (sub)shell that may send while a cell blocks.
        self._context = contextvars.copy_context()
        if not isinstance(message, dict):
            return
        match message.get("kind"):
            case "ready":
                self._on_ready(message)
            case "ack":
                self._on_painted(message.get("seq"))
            case "ping":
                self._on_painted(message.get("seq"))
                self.tell({"kind": "pong", "t": message.get("t")})
            case "cmd":
                self._commands.put(message)

    def _on_ready(self, message: dict[str, Any]) -> None:
        if message.get("proto") not in (None, PROTOCOL):
            self.tell(
                {
                    "kind": "error",
                    "message": f"this page speaks protocol {message.get('proto')}, the kernel {PROTOCOL}: "
                    "reload the page after updating livelatent.",
                }
            )
            return
        with self._lock:
            self._wants_sync = str(message.get("view", ""))[:200]
            self._has_view = True
            self._keeps = message.get("keeps") is True
        self._at_once()

    def _on_painted(self, seq: object) -> None:
        with self._lock:
            was_spent = self._credit.is_spent
            self._credit.painted(seq)
            is_free = was_spent and not self._credit.is_spent
        if is_free:
            self._wake.set()

    # What is sent

    def tell(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Send now, outside the credit: replies and errors. A browser that has gone is no error here."""
        with self._send_lock:
            try:
                context = self._context
                if context is None:
                    self._send_now(content, buffers or [])
                else:
                    context.copy().run(self._send_now, content, buffers or [])
            except Exception:
                log.exception("a message of kind %r could not be sent", content.get("kind"))

    def step(self) -> list[str]:
        """Send what is new if credit allows; the topics that were sent."""
        frame, topics = self._due()
        if frame is not None:
            self.tell(frame.content, frame.buffers)
        return topics

    def _due(self) -> tuple[Frame | None, list[str]]:
        with self._lock:
            if not self._has_view:
                return None, []
            view, self._wants_sync = self._wants_sync, None
            if view is None and self._credit.is_spent:
                return None, []
        versions = self._source.versions()
        if view is not None:
            return self._sync(view, versions), ["sync"]
        # Versions are read before topics: a change in between is sent twice rather than lost.
        names = [name for name, version in versions.items() if version != self._sent.get(name)]
        if not names:
            return None, []
        topics = self._topics(names, self._points)
        self._sent.update({name: versions[name] for name in names})
        return (self._round(topics) if topics else None), names

    def _sync(self, view: str, versions: dict[str, int]) -> Frame:
        topics = self._topics(versions, None)
        frame = encode_sync(topics, view=view, seq=self._seq + 1)
        self._points.clear()
        self._sent = dict(versions)
        self._note(topics, is_large=True)
        return frame

    def _round(self, topics: list[Topic]) -> Frame:
        is_large = not all(isinstance(topic, SMALL) for topic in topics)
        news = [_with_news(topic) if isinstance(topic, Curves) else topic for topic in topics]
        frame = encode_round(news, self._seq + 1, self._map if self._keeps else None, is_answered=is_large)
        self._note(topics, is_large=is_large)
        return frame

    def _topics(self, names: Iterable[str], known: Mapping[tuple[str, str], int] | None) -> list[Topic]:
        """The latest of these; one that can't be had takes no other with it, and is told of once."""
        topics = []
        for name in names:
            try:
                topics.append(self._source.topic(name, known))
            except Exception as error:
                log.exception("the view's %s could not be brought up to date", name)
                self.tell({"kind": "error", "message": f"The view's {name} could not be brought up to date: {error}"})
        return topics

    def _note(self, topics: list[Topic], *, is_large: bool) -> None:
        """Count a message, and remember what browsers have then: the map, and points and marks of the curves."""
        with self._lock:
            self._seq += 1
            self._credit.sent(self._seq, is_large=is_large)
        for topic in topics:
            if isinstance(topic, LatentMap):
                self._map = topic
            elif isinstance(topic, Curves):
                self._points |= {(one.name, one.split): one.start + len(one.steps) for one in topic.series}
                if self._keeps:
                    self._points[MARKS] = topic.marks_start + len(topic.marks)

    # The threads

    def _publish(self) -> None:
        while not self._closed.is_set():
            started = self._clock()
            with self._lock:
                if not self._credit.is_spent:
                    self._hurry.clear()
            try:
                self.step()
            except Exception as error:
                log.exception("the view could not be brought up to date")
                self.tell({"kind": "error", "message": f"The view could not be brought up to date: {error}"})
            self._wake.wait(SHORTEST_GAP_S)
            self._wake.clear()
            # Acks may wake this thread at any time; frames still keep their distance.
            self._hurry.wait(max(0.0, SHORTEST_GAP_S - (self._clock() - started)))

    def _at_once(self) -> None:
        self._hurry.set()
        self._wake.set()

    def _command(self, message: dict[str, Any]) -> None:
        answer = self._source.answer(message.get("rid"), message.get("name"), message.get("args"))
        result = finite(answer.result)
        self.tell({"kind": "reply", "rid": answer.rid, "ok": answer.ok, "error": answer.error, "result": result})
        self._at_once()


def _with_news(curves: Curves) -> Curves:
    """Without the curves that have no new point."""
    return replace(curves, series=tuple(curve for curve in curves.series if len(curve.steps)))
