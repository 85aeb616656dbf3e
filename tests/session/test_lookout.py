"""When a look is due: by a clock that the test moves, on a run whose state the test sets."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from livelatent.session import pace as pace_module
from livelatent.session import retry as retry_module
from livelatent.session.live import LiveSession
from watched import small_run


class Desk:
    """The lookout of a session that was not started, and what it does when; each look takes one second."""

    def __init__(self, session, monkeypatch):
        self.now, self.done, self.broken, self.find_s = 0.0, [], None, 6.0
        for module in (pace_module, retry_module):
            monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.status = SimpleNamespace(state="training", step=5, epoch=3)
        self.lookout, looks = session.lookout, session.lookout._looks
        looks.scene = SimpleNamespace(
            run=SimpleNamespace(status=self.status, history=SimpleNamespace(marks=())),
            finder=SimpleNamespace(can_judge=True, has_begun=True),
        )
        self.sight = looks.sight
        monkeypatch.setattr(looks, "map", lambda: self._do("map", 1.0))
        monkeypatch.setattr(looks, "flags", lambda: self._do("flags", self.find_s))
        monkeypatch.setattr(looks, "all_cells", lambda: self._do("cells", 9.0))

    def _do(self, what, seconds):
        self.done.append((what, round(self.now)))
        self.now += seconds
        if what == "map":
            self.sight.n_looks += 1
        return what != self.broken

    def until(self, moment):
        """Let time go by, in fifths of a second, while it trains on."""
        while self.now < moment:
            self.lookout._work_once()
            self.now += 0.2
            self.status.step += self.status.state == "training"
        return self.done


@pytest.fixture
def desk(own_atlas, tmp_path, monkeypatch):
    session = LiveSession(small_run(own_atlas, tmp_path / "run"), cpu_share=0.1)
    session.lookout._looked_at = session.lookout._key()
    yield Desk(session, monkeypatch)
    session.close()
    own_atlas.labels.close()


def moments(done, what):
    return [moment for kind, moment in done if kind == what]


def test_flags_are_looked_for_right_after_a_look_and_the_next_map_comes_in_time(desk):
    done = desk.until(125)
    assert [what for what, _ in done][:5] == ["map", "map", "map", "flags", "map"]
    maps, [find, *_] = moments(done, "map"), moments(done, "flags")
    assert maps[:3] == [0, 10, 20] and maps[2] < find <= 22
    # Each look takes 1 s, and one in 29 s leaves 1.9 s of a tenth for the 6 s that the flags took.
    assert maps[3:6] == pytest.approx([49, 78, 107], abs=1)


def test_no_flags_are_looked_for_while_the_last_ones_are_not_paid_off(desk):
    desk.find_s = 20.0
    done = desk.until(450)
    first, second, *_ = moments(done, "flags")
    paid = [moment for moment in moments(done, "map") if first < moment < second]
    assert second - first > 20.0 / 0.1
    assert max(b - a for a, b in pairwise(paid)) <= 30


def test_what_a_person_asks_for_comes_at_once_and_is_paid_in_instalments(desk):
    desk.until(5)
    desk.lookout._wants_place = True
    done = desk.until(80)
    assert moments(done, "cells") == [5]
    maps = moments(done, "map")
    assert maps[1] == 29


def test_a_look_that_fails_is_tried_again_later_and_later_still(desk):
    desk.status.state, desk.broken = "done", "map"
    done = desk.until(81)
    assert done[0] == ("flags", 0)
    assert moments(done, "map") == pytest.approx([6, 17, 38, 79], abs=1)
    desk.broken = None
    desk.until(170)
    n_tries = len(moments(done, "map"))
    assert moments(done, "map")[-1] == pytest.approx(160, abs=2)
    desk.until(400)
    assert len(moments(done, "map")) == n_tries


def test_flags_that_fail_keep_no_map_back_and_what_stands_then_is_settled(desk):
    settled = []
    desk.lookout.on_settled = lambda: settled.append(round(desk.now))
    desk.status.state, desk.broken = "done", "flags"
    done = desk.until(30)
    assert [what for what, _ in done[:2]] == ["flags", "map"]
    desk.lookout._tell_settled()
    assert settled


def test_what_failed_before_a_training_began_is_tried_at_once_when_it_begins(desk):
    desk.status.state, desk.broken = "ready", "map"
    desk.until(400)
    desk.status.state, desk.broken, began = "training", None, desk.now
    done = desk.until(began + 3)
    assert ("map", round(began)) in done


def test_looks_that_take_their_whole_share_pay_what_is_owed_all_the_same(desk):
    pace = desk.lookout.pace
    pace.cpu_share = 0.02  # of a look of 1 s: one in 50 s

    def owe():
        desk.now += 10.0

    pace.timed(owe, in_instalments=True)
    desk.lookout._looks_at_find = 10**6
    done = desk.until(4000)
    assert pace.owed_s == 0
    assert len(moments(done, "map")) + 10 <= 0.02 * desk.now + 1
