"""Vectors per cell, read by rows: those of plain anndata, or an error."""

import anndata
import numpy as np
import pytest

from damage import flip
from livelatent.atlas import Atlas
from livelatent.errors import ColumnError, StoreError


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "int8", "bool"])
@pytest.mark.parametrize(("start", "stop"), [(0, 607), (606, 9999), (5, 5), (90, 333), (300, 20)])
def test_rows_are_slices_of_what_anndata_reads(own_atlas: Atlas, kind: str, start: int, stop: int) -> None:
    own_atlas.write_obsm("X_ref", (np.random.default_rng(0).normal(size=(607, 5)) * 3).astype(kind))
    wanted = anndata.read_zarr(own_atlas.path).obsm["X_ref"].astype(np.float32)
    rows = own_atlas.obsm_rows("X_ref")
    got = rows.read(start, stop)
    assert got.dtype == np.float32 and got.shape[1] == rows.n_dims == 5 and (got == wanted[start:stop]).all()


def test_streamed_vectors_are_read_too(own_atlas: Atlas) -> None:
    latent = np.random.default_rng(0).normal(size=(607, 4)).astype(np.float32)
    latent[:300] = 0  # the fill value
    with own_atlas.obsm_writer("X_long", 4) as writer:
        for part in np.array_split(latent, 7):
            writer.append(part)
    assert (own_atlas.obsm_rows("X_long").read(100, 500) == latent[100:500]).all()


def test_vectors_written_anew_are_never_mixed_with_the_old(own_atlas: Atlas) -> None:
    old, new = (np.full((607, 3), value, np.float32) for value in (1, 2))
    own_atlas.write_obsm("X_ref", old)
    held = own_atlas.obsm_rows("X_ref")
    assert (held.read(0, 9) == 1).all() and own_atlas.obsm_rows("X_ref") is held
    own_atlas.write_obsm("X_ref", new)
    with pytest.raises(StoreError, match="was written again while it was read"):
        held.read(0, 9)
    assert (own_atlas.obsm_rows("X_ref").read(0, 9) == 2).all()


def test_what_is_no_table_of_numbers_is_refused(own_atlas: Atlas) -> None:
    own_atlas.write_obsm("X_ref", np.zeros((607, 2)))
    with pytest.raises(ColumnError, match=r'obsm has no "X_reff". Did you mean \'X_ref\'\? It has: X_ref'):
        own_atlas.obsm_rows("X_reff")
    own_atlas.write_obsm("X_text", np.full((607, 2), "a", dtype=object))
    with pytest.raises(ColumnError, match="no table of numbers"):
        own_atlas.obsm_rows("X_text")


def test_a_flipped_bit_is_an_error_that_names_the_rows(own_atlas: Atlas) -> None:
    own_atlas.write_obsm("X_ref", np.random.default_rng(0).normal(size=(607, 5)))
    shard = own_atlas.path / "obsm" / "X_ref" / "c" / "0" / "0"
    for place in (0.1, 0.5, 0.9):
        whole = shard.read_bytes()
        flip(shard, int(place * len(whole)), 3)
        with pytest.raises(StoreError, match="obsm/X_ref, rows 5 to 39, is damaged"):
            Atlas.open(own_atlas.path).obsm_rows("X_ref").read(5, 40)
        shard.write_bytes(whole)
