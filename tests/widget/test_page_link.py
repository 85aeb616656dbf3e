"""The page's end of the wire, on the mock host: handshake, credit, gaps, silence, and nothing left behind."""

import pytest
from playwright.sync_api import expect

from mock_page import CLAIMS_A_GPU, COUNTS_WHAT_IS_HELD, next_frame, sent, wait_for_sent

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


def test_a_frame_that_asks_for_it_is_acknowledged_and_a_ping_tells_of_the_others(host):
    page = host()
    page.evaluate("() => mock.deliver(mock.data.mapFrame(mock.run))")
    seq = page.evaluate("() => mock.run.seq")
    page.wait_for_function("seq => mock.sent.some(m => m.kind === 'ack' && m.seq === seq)", arg=seq)
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")
    page.wait_for_function("seq => mock.sent.some(m => m.kind === 'ping' && m.seq === seq + 1)", arg=seq)
    assert not any(ack["seq"] > seq for ack in sent(page, "ack"))


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


@pytest.mark.parametrize("script", ["", CLAIMS_A_GPU], ids=["canvas", "webgl"])
def test_fifty_views_opened_and_closed_leave_nothing(host, script):
    page = host(script=COUNTS_WHAT_IS_HELD + ";" + script)
    page.evaluate("() => mock.unmount()")
    before = page.evaluate("() => [held(), nContexts()]")
    page.evaluate(
        """async () => {
            for (let i = 0; i < 50; i++) {
                mock.open();
                await new Promise(done => setTimeout(done, 5));
                mock.unmount();
            }
        }"""
    )
    after = page.evaluate("() => [held(), nContexts()]")
    assert after[0] == before[0]
    assert after[0]["contexts"] == 0
    assert after[1] == before[1] + (50 if script else 0)  # with a card each view had a context of its own
    assert page.evaluate("() => [mock.nListeners(), document.getElementById('place').childElementCount]") == [0, 0]
    n_sent = page.evaluate("() => mock.sent.length")
    page.evaluate("() => mock.deliver(mock.data.statusFrame(mock.run))")
    next_frame(page)
    assert page.evaluate("() => mock.sent.length") == n_sent


def test_a_hidden_tab_acknowledges_at_once_since_it_never_paints(host):
    page = host()
    acks = page.evaluate(
        """async () => {
            Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
            window.requestAnimationFrame = () => 0;
            const acked = (seq) => mock.sent.some((m) => m.kind === "ack" && m.seq === seq);
            mock.deliver(mock.data.mapFrame(mock.run));
            const at_once = acked(mock.run.seq);
            delete document.hidden;
            mock.deliver(mock.data.mapFrame(mock.run));
            const before_paint = acked(mock.run.seq);
            // A host may scroll our frame out of sight: animation frames stop though the page is not hidden.
            await new Promise((done) => setTimeout(done, 1500));
            return [at_once, before_paint, acked(mock.run.seq)];
        }"""
    )
    assert acks == [True, False, True]


def test_a_kernel_that_has_gone_is_said_to_be_disconnected(host):
    page = host(has_clock=True)
    page.evaluate("() => { mock.isSilent = true; }")
    page.clock.run_for(4_000)
    expect(page.get_by_test_id("ll-banner")).to_contain_text("busy")
    page.clock.run_for(10_000)
    expect(page.get_by_test_id("ll-banner")).to_contain_text("disconnected")
