import pytest

from livelatent.session.live import LiveSession
from watched import hidden_atlas, small_run


@pytest.fixture(scope="session")
def finished_run(tiny_h5ad, tmp_path_factory):
    """A finished run on an atlas of its own, whose hidden type is there to be found."""
    folder = tmp_path_factory.mktemp("finished")
    run = small_run(hidden_atlas(tiny_h5ad, folder), folder / "run", epochs=8)
    run.start()
    run.wait()
    return run


@pytest.fixture(scope="session")
def finished(finished_run):
    """A session on it, up to date, its map a UMAP."""
    session = LiveSession(finished_run)
    session.settle()
    yield session
    session.close()
    finished_run.atlas.labels.close()
