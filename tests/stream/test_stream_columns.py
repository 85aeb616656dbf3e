import numpy as np
import pytest
import torch

from livelatent.atlas import ingest
from livelatent.errors import ColumnError, StoreError
from livelatent.stream.columns import columns_of
from livelatent.stream.stream import Stream
from livelatent.stream.together import Together
from streamed import LAYOUT, SMALL, held, uneven_adata

EVERY = ["stage", "sex", "donor", "age", "score", "is_smoker"]
ROWS = np.union1d(np.arange(0, 211, 3), np.arange(48, 131))


def named(codes, names):
    return [names[code] if code >= 0 else None for code in codes.tolist()]


def test_columns_of_every_kind_come_with_their_cells(uneven):
    atlas = uneven("uint16")
    with Stream(atlas, ROWS, SMALL, obs=EVERY) as stream:
        # In each category's own order, that of no cell too.
        assert stream.obs_names == {
            "stage": ("early", "never", "late"),
            "sex": ("f", "m"),
            "donor": tuple(held(atlas).obs["donor"].cat.categories),
            "age": None,
            "score": None,
            "is_smoker": None,
        }
        got = list(stream.minibatches(1))
    n_missing = dict.fromkeys(EVERY, 0)
    for m in got:
        assert list(m.obs) == EVERY
        for name, names in stream.obs_names.items():
            column = held(atlas).column(name, m.cell)
            if names is None:
                assert m.obs[name].dtype == torch.float32
                wanted = np.array([np.nan if value is None else value for value in column], np.float32)
                np.testing.assert_array_equal(m.obs[name], wanted)
                n_missing[name] += int(torch.isnan(m.obs[name]).sum())
            else:
                assert m.obs[name].dtype == torch.int32
                assert named(m.obs[name], names) == column
                n_missing[name] += int((m.obs[name] == -1).sum())
    assert n_missing["sex"] > 0 and n_missing["score"] > 0 and n_missing["stage"] == 0


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_vectors_come_with_their_cells_whatever_the_order(uneven, is_sparse):
    atlas = uneven("float32")
    for rows in (ROWS, None):
        with Stream(atlas, rows, SMALL, obsm=["X_ref"], sparse=is_sparse) as stream:
            for m in stream.minibatches(4):
                assert m.obsm["X_ref"].dtype == torch.float32
                np.testing.assert_array_equal(m.obsm["X_ref"], held(atlas).obsm["X_ref"][m.cell])


def test_a_column_of_two_atlases_has_one_set_of_names_the_firsts_in_front(uneven, other, tmp_path):
    adata = uneven_adata("uint16", n_cells=60, seed=4)
    adata.obs["stage"] = adata.obs["stage"].cat.rename_categories({"never": "larva", "early": "egg"})
    adata.write_h5ad(tmp_path / "third.h5ad")
    third = ingest(tmp_path / "third.h5ad", tmp_path / "third.zarr", layout=LAYOUT)
    atlases = [uneven("uint16"), third]
    with Stream(atlases, None, SMALL, obs=["stage", "age", "sex"], obsm=["X_ref"]) as stream:
        assert stream.obs_names["stage"] == ("early", "never", "late", "egg", "larva")
        n_of_third = 0
        for m in stream.minibatches(0):
            for number, atlas in enumerate(atlases):
                mine = (m.atlas == number).numpy()
                cell = m.cell.numpy()[mine]
                for name in ("stage", "sex"):
                    codes = m.obs[name].numpy()[mine]
                    assert named(codes, stream.obs_names[name]) == held(atlas).column(name, cell)
                np.testing.assert_array_equal(m.obs["age"].numpy()[mine], held(atlas).column("age", cell))
                np.testing.assert_array_equal(m.obsm["X_ref"].numpy()[mine], held(atlas).obsm["X_ref"][cell])
                n_of_third += number * len(cell)
    assert n_of_third == 60


def test_a_column_that_is_not_there_is_refused_by_name(uneven, other):
    with pytest.raises(ColumnError, match=r'uint16\.zarr: obs has no "stages".*Did you mean \'stage\''):
        Stream(uneven("uint16"), obs=["age", "stages"])
    with pytest.raises(ColumnError, match=r'uint16\.zarr: obsm has no "X_pca".*It has: X_ref'):
        Stream(uneven("uint16"), obsm=["X_pca"])


def test_text_in_one_atlas_and_numbers_in_another_are_refused(uneven, other, copied):
    changed = copied(other)
    changed.obs["age"] = changed.obs["age"].astype(str)
    with pytest.raises(ColumnError, match=r"uint16\.zarr: numbers, other\.zarr: text"):
        columns_of(Together([uneven("uint16"), changed], 8), ["age"], [])


def test_vectors_of_other_lengths_are_refused(uneven, other, copied):
    changed = copied(other)
    changed.write_obsm("X_ref", np.zeros((90, 5), np.float32))
    with pytest.raises(ColumnError, match=r'obsm "X_ref" has 3 and 5 columns in different atlases'):
        Stream([uneven("uint16"), changed], obsm=["X_ref"])


def test_what_comes_along_is_counted(uneven):
    together = Together([uneven("uint16")], 8)
    columns = columns_of(together, ["age", "stage"], ["X_ref"])
    assert columns.n_numbers == 5


def test_a_damaged_vector_reaches_the_consumer_with_its_rows(uneven, copied):
    atlas = copied(uneven("uint16"))
    with Stream(atlas, None, SMALL, obsm=["X_ref"]) as stream:
        for file in (atlas.path / "obsm" / "X_ref" / "c").rglob("*"):
            if file.is_file():
                file.write_bytes(file.read_bytes()[:9])
        with pytest.raises(StoreError, match=r"uint16\.zarr: obsm/X_ref, rows \d+ to \d+,"):
            list(stream.minibatches(0))
