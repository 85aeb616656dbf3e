"""Paths as people write them: `~`, links, addresses."""

from pathlib import Path

import pytest

from livelatent.errors import SourceError, StoreError
from livelatent.paths import local_path, store_path


def test_an_address_is_refused_without_its_signature(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("https://x.org/a.h5ad?token=SECRET", Path("https://x.org/a.h5ad?token=SECRET"), "s3://SECRET/a"):
        with pytest.raises(SourceError, match="address") as caught:
            local_path(address, SourceError)
        assert "SECRET" not in str(caught.value)
    assert local_path("a:b/c.h5ad", SourceError) == Path("a:b/c.h5ad")


def test_home_is_written_out_and_links_are_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real.zarr").mkdir()
    (tmp_path / "link.zarr").symlink_to(tmp_path / "real.zarr")
    assert store_path("~/link.zarr", StoreError) == (tmp_path / "real.zarr").resolve()
