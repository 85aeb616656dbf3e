"""What a browser may ask for: checked, done once, answered the same however often it is asked."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from livelatent.errors import LivelatentError

__all__ = ["Answer", "CommandError", "Commands"]

ANSWERS_KEPT = 1024
"""Repeats come within seconds; older answers are forgotten."""


class CommandError(LivelatentError, ValueError):
    """A command that is none, or whose arguments are not what it takes."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The reply to one command."""

    rid: str
    ok: bool
    error: str | None = None
    result: dict[str, Any] | None = None


Act = Callable[[dict[str, Any]], dict[str, Any]]


class Commands:
    """Does each command once, by its `rid`: a repeated one gets the first answer again.

    The browser sends a command again until it has been answered, so the same name may arrive three times and
    must be in the journal once.

    Parameters
    ----------
    acts
        What each command does, by its name.
    slow
        Names of those that may take seconds.
    """

    def __init__(self, acts: dict[str, Act], slow: Collection[str] = ()) -> None:
        self._acts = acts
        self._slow = frozenset(slow)
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._doing: set[str] = set()
        self._lock = threading.Condition()

    def lane(self, name: object) -> str:
        """Commands of one lane are to be done one after the other; a quick one never waits for a slow one."""
        return "slow" if isinstance(name, str) and name in self._slow else "quick"

    def answer(self, rid: object, name: object, args: object) -> Answer:
        """Do a command, or repeat its answer; every error becomes an answer."""
        if not isinstance(rid, str) or not 0 < len(rid) <= 200:
            return Answer(rid=str(rid)[:200], ok=False, error="a command needs a `rid`, a short text.")
        with self._lock:
            self._lock.wait_for(lambda: rid not in self._doing)
            if rid in self._answers:
                return self._answers[rid]
            self._doing.add(rid)
        answer = self._do(rid, name, args)
        with self._lock:
            self._doing.remove(rid)
            self._answers[rid] = answer
            while len(self._answers) > ANSWERS_KEPT:
                self._answers.popitem(last=False)
            self._lock.notify_all()
        return answer

    def _do(self, rid: str, name: object, args: object) -> Answer:
        try:
            if not isinstance(name, str) or name not in self._acts:
                raise CommandError(f"there is no command {str(name)[:80]!r}; there are {', '.join(self._acts)}.")
            if args is not None and not isinstance(args, dict):
                raise CommandError(f"{name}: its arguments come as an object.")
            return Answer(rid=rid, ok=True, result=self._acts[name](args or {}))
        except LivelatentError as error:
            return Answer(rid=rid, ok=False, error=str(error))
        except Exception as error:
            # A page may send anything; whatever that leads to is told to the page, and goes no further.
            return Answer(rid=rid, ok=False, error=f"{type(error).__name__}: {error}")


def whole(args: dict[str, Any], key: str) -> int:
    """A whole number among a command's arguments."""
    value = args.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CommandError(f"`{key}` must be a whole number; got {str(value)[:80]!r}.")
    return value


def number(args: dict[str, Any], key: str) -> float:
    """A number among a command's arguments."""
    value = args.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CommandError(f"`{key}` must be a number; got {str(value)[:80]!r}.")
    return float(value)


def text(args: dict[str, Any], key: str) -> str:
    """A text among a command's arguments."""
    value = args.get(key)
    if not isinstance(value, str):
        raise CommandError(f"`{key}` must be a text; got {str(value)[:80]!r}.")
    return value


def cells(args: dict[str, Any], key: str, n_places: int) -> list[list[int]]:
    """Pairs `[is_query, row]` among a command's arguments, sorted by place."""
    value = args.get(key)
    if not isinstance(value, list):
        raise CommandError(f"`{key}` must be a list of [is_query, row].")
    chosen: list[list[int]] = [[] for _ in range(n_places)]
    for pair in value:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not isinstance(pair[0], int)
            or not isinstance(pair[1], int)
            or isinstance(pair[1], bool)
            or not 0 <= int(pair[0]) < n_places
        ):
            raise CommandError(f"`{key}` holds {str(pair)[:80]!r}, which is no [is_query, row] of this view.")
        chosen[int(pair[0])].append(pair[1])
    return chosen
