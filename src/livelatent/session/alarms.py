"""What is wrong now, by what it is about: said until it is taken back."""

import threading

__all__ = ["Alarms"]


class Alarms:
    """A few messages, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: dict[str, str] = {}

    def set(self, what: str, message: str | None) -> None:
        """Say this about `what`; None takes it back."""
        with self._lock:
            self._messages.pop(what, None)
            if message is not None:
                self._messages[what] = message

    def __contains__(self, what: object) -> bool:
        with self._lock:
            return what in self._messages

    @property
    def messages(self) -> tuple[str, ...]:
        """All of them, the oldest first."""
        with self._lock:
            return tuple(self._messages.values())
