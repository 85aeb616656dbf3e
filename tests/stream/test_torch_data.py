import dataclasses
import io
import multiprocessing
import weakref

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from livelatent.atlas import ingest
from livelatent.errors import ColumnError, LabelError, ResumeError
from livelatent.stream.balance import Balance
from livelatent.stream.minibatch import Minibatch
from livelatent.stream.plan import StreamConfig
from livelatent.stream.scvi_form import ScviForm
from livelatent.stream.stream import Stream
from livelatent.stream.torch_data import StreamDataset
from streamed import stream_threads

SMALL = StreamConfig(minibatch_cells=50, block_cells=16, buffer_cells=120, seed=3)
FIELDS = ("x", "label", "batch", "cell", "total")


@pytest.fixture
def stream(tiny_atlas):
    with Stream(tiny_atlas, tiny_atlas.rows("train"), SMALL) as stream:
        yield stream


def cells(loader):
    return [given["cell"].tolist() for given in loader]


def cells_of(stream, epoch, step=0):
    return [minibatch.cell.tolist() for minibatch in stream.minibatches(epoch, step)]


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_dataloader_gives_the_minibatches_of_the_stream_epoch_after_epoch(stream):
    loader = DataLoader(StreamDataset(stream), batch_size=None)
    assert len(loader) == stream.n_steps
    for epoch in range(2):
        for given, wanted in zip(loader, stream.minibatches(epoch), strict=True):
            assert set(given) == {*FIELDS, "obs", "obsm"}
            assert all(torch.equal(given[name], getattr(wanted, name)) for name in FIELDS)


def test_set_epoch_names_the_next_one_and_epochs_go_on_from_there(stream):
    dataset = StreamDataset(stream)
    dataset.set_epoch(7)
    assert cells(dataset) == cells_of(stream, 7)
    assert cells(dataset) == cells_of(stream, 8)
    dataset.set_epoch(2)
    assert cells(dataset) == cells_of(stream, 2)


def test_an_epoch_that_was_broken_off_is_followed_by_the_next(stream):
    dataset = StreamDataset(stream)
    for _ in dataset:
        break
    assert cells(dataset) == cells_of(stream, 1)
    assert stream_threads() == []


@pytest.mark.parametrize("step", [0, 1, 6, 10])
def test_a_loaded_state_goes_on_with_the_very_next_minibatch(stream, step):
    assert stream.n_steps == 10
    dataset = StreamDataset(stream)
    dataset.set_epoch(1)
    iterator = iter(dataset)
    for _ in range(step):
        next(iterator)
    state = saved(dataset.state_dict())
    resumed = StreamDataset(stream)
    resumed.load_state_dict(state)
    # As those who know DistributedSampler write it.
    resumed.set_epoch(1)
    assert resumed.state_dict() == state
    assert cells(resumed) == cells_of(stream, 1, step)
    assert cells(resumed) == cells_of(stream, 2)


def test_a_balanced_stream_goes_on_too(tiny_atlas):
    config = dataclasses.replace(SMALL, balance=Balance(types=3, ring_cells=32))
    with Stream(tiny_atlas, tiny_atlas.rows("train"), config) as stream:
        dataset, resumed = StreamDataset(stream), StreamDataset(stream)
        iterator = iter(dataset)
        for _ in range(4):
            next(iterator)
        resumed.load_state_dict(saved(dataset.state_dict()))
        assert cells(resumed) == cells(iterator)


# torchdata's, of a function of torch that has had its day.
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("step", [0, 3, 10, "end"])
def test_a_stateful_dataloader_of_torchdata_goes_on_the_same(stream, step):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    loader = stateful(StreamDataset(stream), batch_size=None)
    if step == "end":
        assert len(cells(loader)) == 10
    else:
        iterator = iter(loader)
        for _ in range(step):
            next(iterator)
    resumed = stateful(StreamDataset(stream), batch_size=None)
    resumed.load_state_dict(loader.state_dict())
    # Of an epoch that was seen to end, torchdata begins the next.
    assert cells(resumed) == (cells_of(stream, 1) if step == "end" else cells_of(stream, 0, step))


def test_a_state_of_other_cells_another_cut_or_another_world_is_refused(tiny_atlas, stream):
    state = StreamDataset(stream).state_dict()
    rows = tiny_atlas.rows("train")
    with pytest.raises(ResumeError, match="other cells"):
        StreamDataset(Stream(tiny_atlas, rows[1:], SMALL)).load_state_dict(state)
    with pytest.raises(ResumeError, match="minibatch_cells 50 then, 1024 now"):
        StreamDataset(Stream(tiny_atlas, rows)).load_state_dict(state)
    with pytest.raises(ResumeError, match="shared by 1 processes and is by 2 now"):
        StreamDataset(Stream(tiny_atlas, rows, SMALL, rank=1, world=2)).load_state_dict(state)
    with pytest.raises(ResumeError, match="no saved position"):
        StreamDataset(stream).load_state_dict({"epoch": 3})


# Python warns of what forking with threads may do, and it does it: the worker gives the error and hangs in its exit.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_worker_processes_are_refused_with_what_to_do(stream, how):
    others = multiprocessing.active_children()
    loader = DataLoader(StreamDataset(stream), batch_size=None, num_workers=1, multiprocessing_context=how)
    with pytest.raises(ValueError, match=r"threads of its own.*num_workers=0"):
        next(iter(loader))
    for worker in set(multiprocessing.active_children()) - set(others):
        worker.terminate()


def test_two_ranks_share_an_epoch_in_as_many_steps_with_no_cell_twice(tiny_atlas):
    rows = tiny_atlas.rows("train")
    got = [cells(StreamDataset(Stream(tiny_atlas, rows, SMALL, rank=rank, world=2))) for rank in range(2)]
    assert len(got[0]) == len(got[1])
    assert sorted(np.concatenate([*got[0], *got[1]]).tolist()) == rows.tolist()


def test_what_the_consumer_drops_is_held_by_nobody(stream):
    iterator = iter(StreamDataset(stream))
    given = next(iterator)
    x = weakref.ref(given["x"])
    del given
    next(iterator)
    assert x() is None
    iterator.close()


def test_columns_come_along_in_both_forms(tiny_atlas):
    what = {"values": "counts", "obs": ["donor", "age"]}
    with Stream(tiny_atlas, np.arange(100), StreamConfig(minibatch_cells=40), **what) as stream:
        given, scvi = next(iter(StreamDataset(stream))), next(iter(StreamDataset(stream, form="scvi")))
    obs = tiny_atlas.obs.iloc[given["cell"].numpy()]
    donor = np.array(stream.obs_names["donor"])[given["obs"]["donor"]]
    np.testing.assert_array_equal(donor, obs["donor"])
    np.testing.assert_array_equal(given["obs"]["age"], obs["age"])
    np.testing.assert_array_equal(scvi["extra_categorical_covs"][:, 0], given["obs"]["donor"])
    np.testing.assert_array_equal(scvi["extra_continuous_covs"][:, 0], obs["age"])


def test_a_covariate_that_a_cell_lacks_is_a_category_of_its_own():
    form = ScviForm(["GENE0"], (), (), {"sex": ("f", "m"), "age": None})
    codes, zeros = torch.tensor([1, -1, 0], dtype=torch.int32), torch.zeros(3, dtype=torch.int64)
    minibatch = Minibatch(
        torch.zeros(3, 1), zeros, zeros, zeros, torch.zeros(3), obs={"sex": codes, "age": torch.ones(3)}
    )
    assert form.categorical == {"sex": ("f", "m", "(missing)")}
    given = form.tensors(minibatch)["extra_categorical_covs"]
    assert given.tolist() == [[1], [2], [0]]
    # What one_hot takes.
    assert given.dtype == torch.int64


def test_the_form_of_scvi_tools_is_counts_and_columns_of_codes(tiny_atlas):
    with Stream(tiny_atlas, np.arange(100), StreamConfig(minibatch_cells=40), values="counts") as stream:
        dataset = StreamDataset(stream, form="scvi")
        given = list(dataset)
        names = ScviForm.of_stream(stream)
    together = {name: torch.cat([one[name] for one in given]) for name in given[0]}
    cell = together["ind_x"][:, 0].numpy()
    assert sorted(cell) == list(range(100))
    assert {name: values.shape[1] for name, values in together.items()} == {
        "X": 300,
        "batch": 1,
        "labels": 1,
        "ind_x": 1,
    }
    np.testing.assert_array_equal(together["X"], tiny_atlas.to_anndata().X[cell].toarray())
    label = np.array([*tiny_atlas.label_names, "Unknown"])[together["labels"][:, 0]]
    wanted = tiny_atlas.obs["cell_type"].astype(object)
    wanted = wanted.where(wanted.notna() & (wanted != "unassigned"), "Unknown").to_numpy()[cell]
    assert (wanted == "Unknown").any()
    np.testing.assert_array_equal(label, wanted)
    np.testing.assert_array_equal(
        np.array(names.batches)[together["batch"][:, 0]], tiny_atlas.obs["donor"].to_numpy()[cell]
    )


def test_logarithms_are_refused_where_scvi_tools_takes_counts(stream):
    with pytest.raises(ValueError, match=r'delivers log1p.*values="counts"'):
        StreamDataset(stream, form="scvi")


def test_of_several_atlases_each_cell_says_which_and_scvi_tools_wants_batches_of_all(tiny_atlas, tiny_h5ad, tmp_path):
    other = ingest([tiny_h5ad[1]], tmp_path / "other.zarr", label="cell_type")
    with Stream([tiny_atlas, other], config=SMALL, values="counts") as stream:
        atlas = torch.cat([given["atlas"] for given in StreamDataset(stream)])
        assert torch.bincount(atlas).tolist() == [tiny_atlas.n_cells, other.n_cells]
        with pytest.raises(ColumnError, match=r"other\.zarr: no batch column.*`batch=`"):
            StreamDataset(stream, form="scvi")


def test_a_label_named_as_scvi_tools_names_the_absence_of_one_is_refused():
    form = ScviForm(["GENE0"], (), ("B cell", "Unknown"), {})
    with pytest.raises(LabelError, match=r'unlabelled=\["Unknown"\]'):
        _ = form.labels


def test_a_form_that_is_none_is_refused(stream):
    with pytest.raises(ValueError, match='"livelatent" or "scvi"'):
        StreamDataset(stream, form="numpy")
