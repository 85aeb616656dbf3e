import threading

import pytest

from livelatent.widget.lanes import Lanes


class Desk:
    """Notes what is done; things of the slow lane wait until they may go on."""

    def __init__(self):
        self.done, self.may_go_on, self.began = [], threading.Event(), threading.Event()
        self.quick_done = threading.Event()

    def do(self, thing):
        if thing[0] == "slow":
            self.began.set()
            assert self.may_go_on.wait(60)
        self.done.append(thing)
        if thing == ("quick", 9):
            self.quick_done.set()


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def lanes(desk):
    made = Lanes(desk.do, lambda thing: thing[0])
    yield made
    desk.may_go_on.set()
    made.close()


def test_a_slow_thing_holds_up_its_own_lane_only_and_each_lane_keeps_its_order(desk, lanes):
    for number in range(3):
        lanes.put(("slow", number))
    assert desk.began.wait(60)
    for number in range(10):
        lanes.put(("quick", number))
    assert desk.quick_done.wait(60)
    assert desk.done == [("quick", number) for number in range(10)]
    desk.may_go_on.set()
    lanes.close(60)
    assert desk.done[10:] == [("slow", number) for number in range(3)]


def test_what_is_put_after_the_end_is_not_done(desk, lanes):
    lanes.close()
    lanes.put(("quick", 9))
    lanes.close()
    assert desk.done == []
