import base64
import json
import re
from dataclasses import replace

import pytest

from livelatent.session.state import Curves, FlagList, PrototypeView, Status
from livelatent.widget.export import page, shown_topics, write_html
from livelatent.widget.report import write_report

HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>"


def _state(text):
    [inlined] = re.findall(r'<script type="application/json" id="livelatent-state">(.*?)</script>', text, re.DOTALL)
    return json.loads(inlined)


@pytest.fixture
def hostile(finished):
    """All topics of a real session, every name of theirs replaced by one that would break out of a page."""
    finished.keep()
    status, curves, shown, table, flags, moments, values = shown_topics(finished)
    finished.drop_moment(moments.moments[0].id)
    bad = [replace(flag, reason=HOSTILE, label=HOSTILE, state="named", atlas=HOSTILE) for flag in flags.flags]
    return [
        replace(status, store=HOSTILE, query=HOSTILE, alarms=(HOSTILE,), notes=(HOSTILE,), vocabulary=(HOSTILE,)),
        replace(curves, series=tuple(replace(curve, name=HOSTILE + curve.name) for curve in curves.series)),
        replace(shown, label_names=tuple(HOSTILE + name for name in shown.label_names)),
        replace(table, names=tuple(HOSTILE + name for name in table.names)),
        replace(flags, flags=tuple(bad)),
        replace(moments, moments=(replace(moments.moments[0], stage=HOSTILE, values=((HOSTILE, "train", 1.0),)),)),
        replace(values, by="gene", name=HOSTILE, unit=HOSTILE, message=HOSTILE),
    ]


def test_hostile_names_neither_end_the_state_nor_leave_it_changed(hostile):
    text = page(hostile)
    state = _state(text)
    assert state["frames"][0]["store"] == HOSTILE and state["frames"][4]["flags"][0]["reason"] == HOSTILE
    # Three scripts' worth of tags at most: ours. Nothing else in the page opens or ends one.
    body = text[text.index("<body>") :]
    assert len(re.findall(r"<script", body)) == 2 and len(re.findall(r"</script", body)) == 2
    assert "<img" not in text.split("<body>")[0] and "<!--" not in text


def test_the_page_holds_the_sync_message_byte_for_byte(finished):
    topics = shown_topics(finished)
    state = _state(page(topics))
    assert [frame["kind"] for frame in state["frames"]] == [
        "status", "curves", "map", "prototypes", "flags", "moments", "values",
    ]  # fmt: skip
    assert len(state["buffers"]) == sum(frame["buffers"] for frame in state["frames"])
    n_curves = state["frames"][1]["buffers"]
    cells = base64.b64decode(state["buffers"][n_curves + 1])
    assert cells == topics[2].cell.astype("<u4").tobytes()


def test_the_page_may_load_nothing_and_names_no_folder(finished, tmp_path):
    text = write_html(finished, tmp_path / "r.html").read_text("utf8")
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert str(finished.atlas.path.parent) not in text and str(finished.run.folder.parent) not in text


def test_an_anonymous_page_does_not_name_the_store(finished, tmp_path):
    text = write_html(finished, tmp_path / "r.html", anonymise=True).read_text("utf8")
    assert finished.atlas.path.name not in text and "AAA" not in _state(text)["frames"][3]["medoids"]


def test_a_page_of_nothing_is_a_page():
    topics = [Status(), Curves(), PrototypeView(), FlagList()]
    assert _state(page(topics))["frames"][0]["state"] == "ready"


def test_a_report_takes_scores_that_are_known_and_draws_both(finished, finished_run, tmp_path, monkeypatch):
    # The map is a PCA here: waiting for another UMAP process would take longer than all the rest.
    from livelatent.session.layout import LayoutWorker

    monkeypatch.setattr(LayoutWorker, "wait_ready", lambda self, timeout_s: False)
    write_report(finished_run, finished.board.novelties[0], html=tmp_path / "r.html", png=tmp_path / "r.png")
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    state = _state((tmp_path / "r.html").read_text("utf8"))
    assert len(state["frames"][4]["flags"]) == len(finished.board.flags)


@pytest.mark.browser
def test_the_page_shows_everything_with_the_network_off(finished, hostile, tmp_path, browser):
    write_html(finished, tmp_path / "real.html")
    (tmp_path / "hostile.html").write_text(page(hostile), "utf8")
    n_points = sum(len(curve.steps) for curve in finished.curves().series if curve.split == "train")
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    context.set_offline(True)
    context.route(re.compile("^https?:"), lambda route: route.abort())
    for name in ("real", "hostile"):
        shown = context.new_page()
        requests, errors = [], []
        shown.on("request", lambda request, requests=requests: requests.append(request.url))
        shown.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        shown.on("dialog", lambda dialog, errors=errors: errors.append(dialog.message))
        address = (tmp_path / f"{name}.html").as_uri()
        shown.goto(address)
        shown.get_by_test_id("ll-root").wait_for()
        assert shown.get_by_test_id("ll-map").get_attribute("data-cells") == str(len(finished.latent_map().cell))
        assert shown.get_by_test_id("ll-curves").get_attribute("data-points") == str(n_points)
        assert shown.get_by_test_id("ll-prototypes").get_attribute("data-count") == str(
            len(finished.prototypes().names)
        )
        assert shown.get_by_test_id("ll-flag").count() == len(finished.board.flags) > 0
        assert shown.get_by_test_id("ll-flag").first.is_visible()
        assert shown.locator("img").count() == 0
        shown.screenshot(path=str(tmp_path / f"{name}.png"), full_page=True)
        assert requests == [address] and errors == []
    context.close()
