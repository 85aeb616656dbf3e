"""Shared by the tests of passes."""

import pytest

from livelatent.atlas import passes


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks also for a tiny atlas."""
    monkeypatch.setattr(passes, "CHUNK_CELLS", 100)
