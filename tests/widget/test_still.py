"""The picture that stays in a notebook, published by a real IPython shell."""

import base64

import pytest

from livelatent.session.picture import thumbnail
from livelatent.widget.still import Still
from livelatent.widget.view import LiveView
from watched import small_run, until


@pytest.fixture
def published():
    """What an IPython shell published, in order."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.display_pub = CapturingDisplayPublisher()
    yield shell.display_pub.outputs
    InteractiveShell.clear_instance()


def test_a_picture_takes_the_place_of_its_promise_when_training_has_ended(published, own_atlas, tmp_path):
    view = LiveView(small_run(own_atlas, tmp_path / "run"), panel_cells=100)
    view._ipython_display_()
    widget, promise = published
    assert "application/vnd.jupyter.widget-view+json" in widget["data"]
    assert "when training has ended" in promise["data"]["text/plain"] and "image/png" not in promise["data"]
    view.session.run.start()
    until(lambda: len(published) > 2)
    renewed = published[2]
    assert renewed["update"] and renewed["transient"] == promise["transient"]
    png = base64.b64decode(renewed["data"]["image/png"])
    assert png.startswith(b"\x89PNG") and 5_000 < len(png) <= 150_000
    # Displayed again, the picture is there at once.
    view._ipython_display_()
    assert published[-1]["data"]["image/png"] == renewed["data"]["image/png"]
    view.close()
    own_atlas.labels.close()


def test_a_picture_of_many_cells_is_drawn_smaller_rather_than_large(finished):
    whole, small = thumbnail(finished.topics()), thumbnail(finished.topics(), most_bytes=30_000)
    assert len(small) <= 30_000 < len(whole) <= 150_000


def test_a_picture_that_fails_is_logged_and_nothing_else_ends(published, caplog):
    def broken():
        raise OSError("no font was found")

    still = Still(broken)
    still.show()
    still.renew()
    assert "could not be left in the notebook" in caplog.text and len(published) == 1
