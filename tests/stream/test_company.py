"""Whatever else runs or is set in the process: the same minibatches, bit for bit."""

import contextlib
import dataclasses
import threading

import anndata
import dask
import dask.diagnostics
import numcodecs.blosc
import numpy as np
import pytest
import torch
import zarr

from livelatent.atlas import Atlas, array_reader
from livelatent.stream.balance import Balance
from livelatent.stream.stream import Stream
from streamed import SMALL, bits

KINDS = {
    "natural": {"config": SMALL, "obsm": ["X_ref"]},
    "balanced": {"config": dataclasses.replace(SMALL, balance=Balance(types=2, ring_cells=14)), "sparse": True},
}


def delivered(path, kind):
    """Two epochs of a store that is opened now."""
    with Stream(Atlas.open(path), None, obs=["stage"], **KINDS[kind]) as stream:
        return [bits(m) for epoch in range(2) for m in stream.minibatches(epoch)]


@pytest.fixture(scope="module")
def path(uneven):
    return uneven("uint32").path


@pytest.fixture(scope="module")
def alone(path):
    return {kind: delivered(path, kind) for kind in KINDS}


@contextlib.contextmanager
def blosc_threads(use, n):
    before = numcodecs.blosc.use_threads, numcodecs.blosc.set_nthreads(n)
    numcodecs.blosc.use_threads = use
    try:
        yield
    finally:
        numcodecs.blosc.use_threads = before[0]
        numcodecs.blosc.set_nthreads(before[1])


@contextlib.contextmanager
def torch_threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def refuse(*_, **__):
    raise AssertionError("the stream named no scheduler")


SETTINGS = {
    "Zarr's own codecs": lambda: zarr.config.set(
        {"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}
    ),
    "Rust's codecs": lambda: zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}),
    "one at a time": lambda: zarr.config.set(
        {"async.concurrency": 1, "threading.max_workers": 1, "codec_pipeline.batch_size": 1}
    ),
    "many at a time": lambda: zarr.config.set({"async.concurrency": 64, "threading.max_workers": 16}),
    "blosc with threads": lambda: blosc_threads(True, 4),
    "blosc without": lambda: blosc_threads(False, 1),
    "torch with one thread": lambda: torch_threads(1),
    "another scheduler of Dask": lambda: dask.config.set(scheduler=refuse),
    "processes of Dask": lambda: dask.config.set(scheduler="processes", num_workers=2),
    "Dask's profiler": lambda: dask.diagnostics.Profiler(),
    "Dask's ways with tasks": lambda: dask.config.set(
        {"optimization.fuse.active": True, "tokenize.ensure-deterministic": True}
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_global_setting_changes_nothing(path, alone, setting):
    with SETTINGS[setting]():
        for kind, wanted in alone.items():
            assert delivered(path, kind) == wanted


def test_an_active_cluster_is_not_used_and_changes_nothing(path, alone):
    from distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        # Whoever names no scheduler gives it the work.
        assert dask.delayed(sum)([1, 2]).compute() == 3
        (seen,) = tasks_of(client)
        for kind, wanted in alone.items():
            assert delivered(path, kind) == wanted
        assert tasks_of(client) == {seen}


def tasks_of(client):
    """All that its scheduler has ever known."""
    return client.run_on_scheduler(lambda dask_scheduler: {entry[0] for entry in dask_scheduler.transition_log})


@pytest.mark.parametrize("setting", ["Zarr's own codecs", "Rust's codecs", "one at a time"])
def test_what_zarr_reads_is_what_we_read(path, alone, monkeypatch, setting):
    asked = []
    # A store in codecs that we do not know.
    monkeypatch.setattr(array_reader, "is_readable", lambda array: asked.append(array.name) or False)
    with SETTINGS[setting]():
        for kind, wanted in alone.items():
            assert delivered(path, kind) == wanted
    assert set(asked) == {"/X/data", "/X/indices"}


def test_two_streams_at_once_give_what_each_gives_alone(path, alone):
    got = {}

    def deliver(kind, number):
        got[kind, number] = delivered(path, kind)

    threads = [threading.Thread(target=deliver, args=(kind, number)) for kind in KINDS for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert got == {(kind, number): alone[kind] for kind in KINDS for number in range(2)}


def test_two_threads_with_a_stream_each_of_one_atlas(path, alone):
    atlas, got = Atlas.open(path), {}

    def deliver(kind):
        with Stream(atlas, None, obs=["stage"], **KINDS[kind]) as stream:
            got[kind] = [bits(m) for epoch in range(2) for m in stream.minibatches(epoch)]

    threads = [threading.Thread(target=deliver, args=(kind,)) for kind in KINDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert got == alone


# It warns of what its documentation says of a store with few cells.
@pytest.mark.filterwarnings("ignore")
def test_beside_another_loader_of_the_same_store(path, alone):
    annbatch = pytest.importorskip("annbatch")
    stop, n_loaded, failed = threading.Event(), [], []

    def load():
        try:
            with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
                loader = annbatch.Loader(
                    batch_size=20,
                    chunk_size=10,
                    preload_nchunks=4,
                    shuffle=True,
                    rng=np.random.default_rng(0),
                    to="torch",
                )
                group = zarr.open_group(path, mode="r")
                obs = anndata.io.read_elem(group["obs"])[["donor"]]
                loader.add_adata(anndata.AnnData(X=anndata.io.sparse_dataset(group["X"]), obs=obs))
                while not stop.is_set():
                    n_loaded.append(sum(minibatch["X"].shape[0] for minibatch in loader))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        while thread.is_alive() and (not n_loaded or len(n_loaded) < 3):
            for kind, wanted in alone.items():
                assert delivered(path, kind) == wanted
    finally:
        stop.set()
        thread.join(120)
    assert failed == [] and set(n_loaded) == {211}
