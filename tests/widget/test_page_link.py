"""The page's end of the wire, on the mock host: handshake, credit, gaps, silence, and nothing left behind."""

import pytest
from playwright.sync_api import expect

from mock_page import next_frame, sent, wait_for_sent

pytestmark = pytest.mark.browser


def test_a_gap_in_the_sequence_brings_the_whole_state_back(host):
    page = host()
    before = int(page.get_by_test_id("ll-curves").get_attribute("data-points") or 0)
    page.evaluate(
        """() => {
            mock.data.advance(mock.run, 40);
            mock.data.curvesFrame(mock.run, false);     // lost on the way
            mock.data.advance(mock.run, 2);
            mock.deliver(mock.data.curvesFrame(mock.run, false));
        }"""
    )
    assert len(wait_for_sent(page, "ready", 2)) == 2
    train_points = page.evaluate(
        "() => Object.values(mock.run.points).filter(p => p.split === 'train').reduce((n, p) => n + p.steps.length, 0)"
    )
    assert train_points > before
    expect(page.get_by_test_id("ll-curves")).to_have_attribute("data-points", str(train_points))


def test_every_frame_is_acknowledged(host):
    page = host()
    page.evaluate("() => mock.deliver(mock.data.mapFrame(mock.run))")
    seq = page.evaluate("() => mock.run.seq")
    page.wait_for_function("seq => mock.sent.some(m => m.kind === 'ack' && m.seq === seq)", arg=seq)


@pytest.mark.parametrize("query", ["views=2", "views=1", "bare"])
def test_a_model_has_one_session_however_many_views(host, query):
    page = host(query)
    assert page.evaluate("() => mock.nListeners()") == 1
    assert len(sent(page, "ready")) == 1
    page.evaluate("() => mock.deliver(mock.data.mapFrame(mock.run))")
    seq = page.evaluate("() => mock.run.seq")
    page.wait_for_function("seq => mock.sent.some(m => m.kind === 'ack' && m.seq === seq)", arg=seq)
    assert [ack["seq"] for ack in sent(page, "ack")].count(seq) == 1
    expect(page.get_by_test_id("ll-flag")).to_have_count(6 if query == "views=2" else 3)


def test_a_silent_kernel_is_said_to_be_busy_and_the_action_waits(host):
    page = host()
    page.evaluate("() => { mock.isSilent = true; }")
    page.get_by_test_id("ll-pause").click()
    expect(page.get_by_test_id("ll-banner")).to_contain_text("kernel busy, 1 action queued", timeout=15_000)
    page.evaluate("() => { mock.isSilent = false; }")
    expect(page.get_by_test_id("ll-state")).to_have_text("paused", timeout=30_000)
    expect(page.get_by_test_id("ll-banner")).to_be_hidden(timeout=15_000)
    assert len({command["rid"] for command in sent(page, "cmd")}) == 1


def test_fifty_views_opened_and_closed_leave_nothing(host):
    page = host()
    page.evaluate(
        """async () => {
            for (let i = 0; i < 50; i++) {
                mock.unmount();
                mock.open();
                await new Promise(done => setTimeout(done, 5));
            }
        }"""
    )
    assert page.evaluate("() => mock.nListeners()") == 1
    expect(page.get_by_test_id("ll-root")).to_have_count(1)
    page.evaluate("() => mock.unmount()")
    assert page.evaluate("() => [mock.nListeners(), document.getElementById('place').childElementCount]") == [0, 0]
    before = page.evaluate("() => mock.sent.length")
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")
    next_frame(page)
    assert page.evaluate("() => mock.sent.length") == before
