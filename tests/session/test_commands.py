import threading

import pytest

from livelatent.errors import LabelError
from livelatent.session.commands import ANSWERS_KEPT, CommandError, Commands, cells, number, text, whole


def _commands(log):
    def act(args):
        log.append(args)
        if args.get("fail"):
            raise LabelError("no such name")
        if args.get("crash"):
            raise ZeroDivisionError("oops")
        return {"n": len(log)}

    return Commands({"act": act})


def test_a_repeated_rid_gets_the_first_answer_again():
    log = []
    commands = _commands(log)
    first = commands.answer("r1", "act", {"x": 1})
    again = commands.answer("r1", "act", {"x": 2})
    assert first == again and first.result == {"n": 1}
    assert log == [{"x": 1}]


def test_a_failure_is_remembered_too():
    log = []
    commands = _commands(log)
    assert commands.answer("r", "act", {"fail": True}).error == "no such name"
    assert commands.answer("r", "act", {}).ok is False
    assert len(log) == 1


def test_any_exception_becomes_an_answer():
    answer = _commands([]).answer("r", "act", {"crash": True})
    assert not answer.ok and answer.error == "ZeroDivisionError: oops"


@pytest.mark.parametrize(
    ("rid", "name", "args"),
    [
        (None, "act", {}),
        ("", "act", {}),
        ("x" * 201, "act", {}),
        ("r", "eval", {}),
        ("r", ["act"], {}),
        ("r", "act", [1]),
    ],
)
def test_what_is_no_command_is_refused_and_does_nothing(rid, name, args):
    log = []
    answer = _commands(log).answer(rid, name, args)
    assert not answer.ok and answer.error and log == []


def test_old_answers_are_forgotten():
    commands = _commands([])
    for number_of in range(ANSWERS_KEPT + 1):
        commands.answer(f"r{number_of}", "act", {})
    assert len(commands._answers) == ANSWERS_KEPT


@pytest.mark.parametrize("take", [whole, number, text])
@pytest.mark.parametrize("value", [None, True, [], {}])
def test_an_argument_of_another_kind_is_refused(take, value):
    with pytest.raises(CommandError, match="`key` must be"):
        take({"key": value}, "key")


@pytest.mark.parametrize(
    "value", [None, [1], [[0]], [[2, 1]], [[-1, 1]], [[0, "1"]], [[0, 1.5]], [[0, True]], [[0, 1, 2]]]
)
def test_cells_that_are_none_are_refused(value):
    with pytest.raises(CommandError, match="`cells`"):
        cells({"cells": value}, "cells", 2)


def test_cells_are_sorted_by_place():
    assert cells({"cells": [[1, 5], [0, 3], [1, 2], [False, 9]]}, "cells", 2) == [[3, 9], [5, 2]]


class Gate:
    """An act that waits until it is let through."""

    def __init__(self):
        self.began, self.may_end, self.n = threading.Event(), threading.Event(), 0

    def __call__(self, _args):
        self.n += 1
        self.began.set()
        assert self.may_end.wait(60)
        return {"n": self.n}


def test_a_command_that_takes_long_holds_up_no_other_and_is_done_once_though_asked_again_meanwhile():
    gate, answers = Gate(), []
    commands = Commands({"merge": gate, "label": lambda _: {}}, slow=["merge"])
    asking = [threading.Thread(target=lambda: answers.append(commands.answer("m", "merge", {}))) for _ in range(2)]
    for thread in asking:
        thread.start()
    assert gate.began.wait(60)
    assert commands.answer("l", "label", {}).ok
    assert answers == []
    gate.may_end.set()
    for thread in asking:
        thread.join(60)
    assert [answer.result for answer in answers] == [{"n": 1}, {"n": 1}]


@pytest.mark.parametrize(
    ("name", "lane"), [("merge", "slow"), ("label", "quick"), (["merge"], "quick"), (None, "quick")]
)
def test_only_what_is_known_to_be_slow_has_the_slow_lane(name, lane):
    assert Commands({}, slow=["merge"]).lane(name) == lane
