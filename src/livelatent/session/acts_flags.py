"""What a browser may do with flags: put aside, join, cut, and choose how strange a cell must be."""

from typing import Any

from livelatent.session.board import Board
from livelatent.session.commands import Act, CommandError, cells, number, whole

__all__ = ["flag_acts"]

MOST_MERGED = 1000


def flag_acts(board: Board) -> dict[str, Act]:
    """The commands on flags, by name (docs/protocol.md)."""
    return {
        "threshold": lambda args: {"n_flagged": board.threshold(number(args, "target_fpr"))},
        "dismiss": lambda args: {"flag": whole(args, "flag"), "state": board.dismiss(whole(args, "flag"))},
        "reopen": lambda args: {"flag": whole(args, "flag"), "state": board.reopen(whole(args, "flag"))},
        "merge": lambda args: _sizes(board, [board.merge(_flags(args))]),
        "split": lambda args: _split(board, args),
        "apart": lambda args: _apart(board, args),
    }


def _flags(args: dict[str, Any]) -> list[int]:
    value = args.get("flags")
    if not isinstance(value, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        raise CommandError("`flags` must be a list of flags' numbers.")
    if not 2 <= len(value) <= MOST_MERGED:
        raise CommandError(f"a merge takes 2 to {MOST_MERGED:,} flags; {len(value)} were named.")
    return value


def _split(board: Board, args: dict[str, Any]) -> dict[str, Any]:
    flag, chosen = whole(args, "flag"), cells(args, "cells", len(board.places))
    return _sizes(board, [board.split(flag, chosen), flag])


def _apart(board: Board, args: dict[str, Any]) -> dict[str, Any]:
    board.apart(whole(args, "flag"))
    return {"n_flags": len(board.flags)}


def _sizes(board: Board, flags: list[int]) -> dict[str, Any]:
    """The first flag, and how many cells each has: `[[flag, n_cells], ...]`."""
    return {"flag": flags[0], "flags": [[one, len(board.flag(one).rows)] for one in flags]}
