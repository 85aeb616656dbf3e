import contextvars
import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from livelatent.session.commands import Commands
from livelatent.session.state import MARKS, Curve, Curves, LatentMap, Mark, Status
from livelatent.widget.credit import AHEAD, TIMEOUT_S
from livelatent.widget.frames import PROTOCOL
from livelatent.widget.publisher import Publisher

MAP = LatentMap(
    panel=2,
    layout=7,
    moved=None,
    age_s=0.0,
    n_total=9,
    xy=np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0]], np.float32),
    cell=np.array([3, 70_000, 5]),
    is_query=np.array([0, 1, 0]),
    label=np.array([0, 1, -1]),
    predicted=np.array([0, 1, 1]),
    batch=np.array([0, 0, 1]),
    given=np.array([-1, 0, -1]),
    p_value=np.array([np.nan, 0.5, 0.1], np.float32),
    flag=np.array([0, 1, 0]),
)


class Comm:
    """The boundary: takes messages as a comm does, on any thread."""

    def __init__(self):
        self.sent = []
        self.got_reply = threading.Event()

    def __call__(self, content, buffers):
        json.dumps(content, allow_nan=False)
        assert all(isinstance(buffer, bytes) for buffer in buffers)
        self.sent.append((content, buffers))
        if content["kind"] == "reply":
            self.got_reply.set()

    def kinds(self):
        kinds = [content["kind"] for content, _ in self.sent]
        self.sent.clear()
        return kinds


class Run:
    """A source whose topics the test changes by hand."""

    def __init__(self):
        self.status, self.n_points, self.version = Status(), 0, {"status": 1, "curves": 1}
        self.done = []
        self.commands = Commands({"pause": self._pause})

    def _pause(self, args):
        self.done.append(args)
        return {"state": "paused"}

    def versions(self):
        return dict(self.version)

    def topic(self, name, since=None):
        if name == "status":
            return self.status
        start = (since or {}).get(("loss", "train"), 0)
        steps = np.arange(start, self.n_points)
        return Curves(series=(Curve(name="loss", split="train", start=start, steps=steps, values=steps / 1),))

    def learn(self, n):
        self.n_points += n
        self.version["curves"] += 1

    def answer(self, rid, name, args):
        return self.commands.answer(rid, name, args)

    def lane(self, name):
        return self.commands.lane(name)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def parts():
    comm, run, clock = Comm(), Run(), Clock()
    return comm, run, clock, Publisher(comm, run, clock=clock)


def _ready(publisher, comm):
    publisher.handle({"kind": "ready", "view": "v", "proto": PROTOCOL})
    publisher.step()
    publisher.handle({"kind": "ack", "seq": comm.sent[-1][0]["seq"]})
    comm.sent.clear()


def test_nothing_is_sent_before_a_browser_is_there(parts):
    comm, run, _, publisher = parts
    run.learn(3)
    assert publisher.step() == [] and comm.sent == []


def test_ready_is_answered_with_the_whole_state(parts):
    comm, run, _, publisher = parts
    run.learn(3)
    publisher.handle({"kind": "ready", "view": "view-7", "proto": PROTOCOL})
    publisher.step()
    [(content, buffers)] = comm.sent
    assert content["kind"] == "sync" and content["view"] == "view-7"
    assert [frame["kind"] for frame in content["frames"]] == ["status", "curves"]
    assert [frame["buffers"] for frame in content["frames"]] == [0, 2]
    assert np.frombuffer(buffers[1], "<f4").tolist() == [0, 1, 2]


@pytest.mark.parametrize("answer", ["ack", "ping"])
def test_small_rounds_run_ahead_a_little_then_wait_and_only_the_latest_is_sent(parts, answer):
    comm, run, _, publisher = parts
    _ready(publisher, comm)
    for _ in range(AHEAD):
        run.learn(1)
        assert publisher.step() == ["curves"]
    assert not any("ack" in content for content, _ in comm.sent)  # nobody is asked for an answer
    for _ in range(5):
        run.learn(1)
        assert publisher.step() == []
    publisher.handle({"kind": answer, "seq": comm.sent[0][0]["seq"]})
    assert publisher.step() == ["curves"]
    content, buffers = comm.sent[-1]
    assert content["series"][0]["start"] == AHEAD
    assert np.frombuffer(buffers[1], "<f4").tolist() == list(range(AHEAD, AHEAD + 5))


def test_an_unpainted_map_holds_back_all_later_rounds():
    comm, run = Comm(), Moving()
    publisher = Publisher(comm, run, clock=Clock())
    _ready(publisher, comm)
    run.change(xy=MAP.xy + 1)
    assert publisher.step() == ["map"]
    [(content, _)] = comm.sent
    assert content["ack"] is True
    run.version["curves"] += 1
    assert publisher.step() == []
    publisher.handle({"kind": "ping", "seq": content["seq"] - 1})
    assert publisher.step() == []
    publisher.handle({"kind": "ack", "seq": content["seq"]})
    assert publisher.step() == ["curves"]


def test_a_browser_that_is_silent_gets_a_round_now_and_then(parts):
    _, run, clock, publisher = parts
    publisher.handle({"kind": "ready", "view": "v", "proto": PROTOCOL})
    assert publisher.step() == ["sync"]
    for _ in range(2):
        run.learn(1)
        clock.now += TIMEOUT_S - 0.01
        assert publisher.step() == []
        clock.now += 0.02
        assert publisher.step() == ["curves"]


@pytest.mark.parametrize("seq", [0, 10_000, None, "1", -1, True])
def test_an_ack_of_something_else_gives_no_credit(parts, seq):
    _, run, _, publisher = parts
    publisher.handle({"kind": "ready", "view": "v", "proto": PROTOCOL})
    publisher.step()
    publisher.handle({"kind": "ack", "seq": seq})
    run.learn(1)
    assert publisher.step() == []


def test_several_topics_are_one_message(parts):
    comm, run, _, publisher = parts
    _ready(publisher, comm)
    run.learn(2)
    run.version["status"] += 1
    assert publisher.step() == ["status", "curves"]
    [(content, buffers)] = comm.sent
    assert content["kind"] == "frames" and "ack" not in content
    assert [(frame["kind"], frame["seq"], frame["buffers"]) for frame in content["frames"]] == [
        ("status", content["seq"], 0),
        ("curves", content["seq"], 2),
    ]
    assert np.frombuffer(buffers[1], "<f4").tolist() == [0, 1]


def test_a_reloaded_page_gets_every_point_again_without_waiting_for_credit(parts):
    comm, run, _, publisher = parts
    _ready(publisher, comm)
    run.learn(4)
    publisher.step()
    comm.sent.clear()
    publisher.handle({"kind": "ready", "view": "again", "proto": PROTOCOL})
    publisher.step()
    [(content, buffers)] = comm.sent
    assert content["kind"] == "sync"
    assert np.frombuffer(buffers[0], "<u4").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("first", ["sync", "round"])
def test_a_topic_that_cannot_be_had_takes_no_other_with_it_and_is_told_of_once(parts, first):
    comm, run, _, publisher = parts
    whole = run.topic

    def broken(name, since=None):
        if name == "status":
            raise RuntimeError("no status")
        return whole(name, since)

    if first == "round":
        _ready(publisher, comm)
    run.topic = broken
    run.learn(2)
    run.version["status"] += 1
    if first == "sync":
        publisher.handle({"kind": "ready", "view": "v", "proto": PROTOCOL})
    publisher.step()
    (error, _), (content, _) = comm.sent
    assert error["kind"] == "error" and "status" in error["message"] and "no status" in error["message"]
    [curves] = content.get("frames", [content])
    assert curves["kind"] == "curves" and curves["series"][0]["n"] == 2
    assert publisher.step() == []
    publisher.handle({"kind": "ack", "seq": content["seq"]})
    run.topic = whole
    run.version["status"] += 1
    assert publisher.step() == ["status"]


class Moving(Run):
    """A source with a map that moves, and with marks."""

    def __init__(self):
        super().__init__()
        self.version = {"map": 1, "curves": 1}
        self.map, self.marks = MAP, (Mark(step=1, text="one"),)

    def topic(self, name, since=None):
        if name == "map":
            return self.map
        known = (since or {}).get(MARKS, 0)
        return Curves(marks=self.marks[known:], marks_start=known)

    def change(self, **columns):
        self.map = replace(self.map, layout=self.map.layout + 1, **columns)
        self.version["map"] += 1


@pytest.mark.parametrize("keeps", [True, False])
def test_a_page_that_keeps_columns_and_marks_is_not_sent_them_again(keeps):
    comm, run = Comm(), Moving()
    publisher = Publisher(comm, run, clock=Clock())
    ready = {"kind": "ready", "view": "v", "proto": PROTOCOL} | ({"keeps": True} if keeps else {})

    def sent():
        publisher.step()
        publisher.handle({"kind": "ack", "seq": comm.sent[-1][0]["seq"]})
        return comm.sent[-1]

    publisher.handle(ready)
    sent()
    run.change(xy=MAP.xy + 1)
    moved, buffers = sent()
    n = len(MAP.cell)
    still = ["cell", "label", "predicted", "batch", "p_value", "flag", "is_query", "given"]
    assert moved.get("kept", []) == (still if keeps else [])
    assert [len(buffer) for buffer in buffers[:1]] == [4 * n] and len(buffers) == (1 if keeps else 9)
    run.change(label=MAP.label[::-1].copy(), p_value=MAP.p_value.copy())  # equal, NaN and all
    assert [name for name in still if name not in sent()[0].get("kept", [])] == (["label"] if keeps else still)
    run.change(cell=MAP.cell[::-1].copy(), panel=9)  # other cells
    assert "kept" not in sent()[0]

    run.marks += (Mark(step=2, text="two"),)
    run.version["curves"] += 1
    curves, _ = sent()
    assert [mark["text"] for mark in curves["marks"]] == (["two"] if keeps else ["one", "two"])
    assert curves.get("marks_start") == (1 if keeps else None)

    publisher.handle(ready)
    whole, _ = sent()
    assert [mark["text"] for frame in whole["frames"] for mark in frame.get("marks", ())] == ["one", "two"]
    assert not any("kept" in frame for frame in whole["frames"])


def test_a_page_of_another_protocol_is_told_so(parts):
    comm, _, _, publisher = parts
    publisher.handle({"kind": "ready", "view": "v", "proto": 99})
    publisher.step()
    assert comm.kinds() == ["error"]


def test_a_ping_is_answered_at_once(parts):
    comm, _, _, publisher = parts
    publisher.handle({"kind": "ping", "t": 12.5})
    assert comm.sent == [({"kind": "pong", "t": 12.5}, [])]


@pytest.mark.parametrize("message", [None, [], "ready", {}, {"kind": 3}, {"kind": "eval", "code": "1"}])
def test_what_is_no_message_is_ignored(parts, message):
    comm, _, _, publisher = parts
    publisher.handle(message)
    assert publisher.step() == [] and comm.sent == []


def test_messages_leave_in_the_context_of_the_last_handler(parts):
    _, run, _, _ = parts
    shell = contextvars.ContextVar("shell", default="main")
    seen = []
    publisher = Publisher(lambda content, buffers: seen.append((content["kind"], shell.get())), run, clock=Clock())

    def handler():
        shell.set("subshell")
        publisher.handle({"kind": "ready", "view": "v", "proto": PROTOCOL})

    contextvars.copy_context().run(handler)
    thread = threading.Thread(target=publisher.step)
    thread.start()
    thread.join()
    assert seen == [("sync", "subshell")]


def test_a_command_sent_three_times_is_done_once_and_answered_each_time(parts):
    comm, run, _, publisher = parts
    publisher.start()
    try:
        for _ in range(3):
            comm.got_reply.clear()
            publisher.handle({"kind": "cmd", "rid": "a", "name": "pause", "args": {}})
            assert comm.got_reply.wait(10)
    finally:
        publisher.close()
    assert run.done == [{}]
    replies = [content for content, _ in comm.sent if content["kind"] == "reply"]
    assert replies == [{"kind": "reply", "rid": "a", "ok": True, "error": None, "result": {"state": "paused"}}] * 3


def test_a_browser_that_has_gone_does_not_stop_the_publisher(parts, caplog):
    _, run, clock, _ = parts

    def gone(content, buffers):
        raise RuntimeError("comm is closed")

    publisher = Publisher(gone, run, clock=clock)
    publisher.handle({"kind": "ready", "view": "v", "proto": PROTOCOL})
    assert publisher.step() == ["sync"]
    assert "could not be sent" in caplog.text


def test_the_thread_sends_without_being_asked_and_ends_when_closed():
    got = threading.Event()
    publisher = Publisher(lambda content, buffers: got.set(), Run())
    publisher.start()
    publisher.handle({"kind": "ready", "view": "v", "proto": PROTOCOL})
    assert got.wait(10)
    publisher.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("livelatent-publisher")]
