import pytest

from watched import finish_once, settle_once


@pytest.fixture(scope="session")
def finished_run(tiny_h5ad, tmp_path_factory):
    """A finished run on an atlas of its own, whose hidden type is there to be found."""
    yield finish_once(tiny_h5ad, tmp_path_factory)


@pytest.fixture(scope="session")
def finished(finished_run):
    """A session on it, up to date, its map a UMAP."""
    session = settle_once(finished_run)
    yield session
    session.close()
    finished_run.atlas.labels.close()
