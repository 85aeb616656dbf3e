"""How far the kernel may run ahead of what browsers have painted."""

from collections.abc import Callable

__all__ = ["AHEAD", "TIMEOUT_S", "Credit"]

AHEAD = 8
"""Small messages that nobody has answered yet; a page's ping, which comes every 2 s anyway, answers for them."""
TIMEOUT_S = 5.0
"""A browser that does not answer for so long is closed or hidden: sending goes on, for whoever else looks."""


class Credit:
    """Counts what was sent and what has been painted; not thread-safe.

    A large message (a map) holds back all later ones until it is painted; a few small ones may be under way together.
    An answer to each would cost the kernel more than the message: it is received, announced on IOPub as begun and as
    ended, and handled.

    Parameters
    ----------
    clock
        Seconds, as `time.monotonic` counts them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sent = self._large = self._painted = 0
        self._sent_at = 0.0

    def sent(self, seq: int, *, is_large: bool) -> None:
        """Note down a message by its number."""
        self._sent, self._sent_at = seq, self._clock()
        if is_large:
            self._large = seq

    def painted(self, seq: object) -> None:
        """Take a browser's word for the last message that it painted; what was never sent is no answer."""
        if isinstance(seq, int) and not isinstance(seq, bool) and self._painted < seq <= self._sent:
            self._painted = seq

    @property
    def is_spent(self) -> bool:
        """Whether to wait before sending more."""
        owes = self._large > self._painted or self._sent - self._painted >= AHEAD
        return owes and self._clock() - self._sent_at < TIMEOUT_S
