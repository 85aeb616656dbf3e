"""Benchmarks: that they measure what they say, on atlases of a moment."""

import importlib
from pathlib import Path

import pytest

import livelatent as ll

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def of_stream(name):
    return importlib.import_module(f"streaming.{name}")


@pytest.fixture(scope="module")
def sorted_file(tmp_path_factory):
    """Donor by donor."""
    path = tmp_path_factory.mktemp("atlas") / "donors.h5ad"
    ll.simulate(path, 6_000, 60, genes_per_cell=12, n_types=20, n_batches=20, order="donors", unlabelled=0.1, seed=1)
    return path


@pytest.fixture(scope="module")
def store(sorted_file):
    path = sorted_file.with_name("shuffled.zarr")
    ll.ingest(sorted_file, path, label="cell_type", batch="batch", unlabelled=["unassigned"], memory="1GB")
    return path


def test_every_task_and_section_of_the_stream_is_there():
    stream = importlib.import_module("stream")
    assert all(callable(getattr(of_stream(module), task)) for task, module in stream.TASKS.items())
    assert all(callable(of_stream(module).figures) for module in stream.SECTIONS.values())


def test_entropy_tells_a_shuffled_store_from_a_sorted_file(store, sorted_file, monkeypatch):
    monkeypatch.setattr(of_stream("ours"), "BUFFER", 1_024)
    monkeypatch.setattr(of_stream("ours"), "BLOCK", 256)
    shuffled, in_order = (of_stream("randomness").entropy(str(path), 256)["donor"] for path in (store, sorted_file))
    assert shuffled["ratio"] == pytest.approx(1, abs=0.01)
    assert in_order["ratio"] < 0.9
    assert shuffled["iid_bits"] == pytest.approx(in_order["iid_bits"])


def test_the_decode_limit_reads_every_cell_of_every_epoch(store):
    epochs = of_stream("decode").decoded_epochs(store)
    assert [sum(x.shape[0] for x in epochs(epoch)) for epoch in range(2)] == [6_000, 6_000]


def test_our_loader_delivers_what_peers_are_asked_for(store):
    loaders = of_stream("loaders")
    delivered = list(of_stream("ours").our_epochs(store)(0))
    for x in delivered:
        loaders.check(loaders.OURS, x)
    assert sum(x.shape[0] for x in delivered) == 6_000


def test_every_section_of_the_view_is_there_and_counts_the_bundle():
    widget = importlib.import_module("widget")
    sections = {name: importlib.import_module(f"showing.{name}") for name in widget.SECTIONS}
    assert all(callable(module.figures) for module in sections.values())
    bundle = Path(ll.__file__).parent / "widget" / "static" / "widget.js"
    assert sections["bundle"].figures(None)["bundle_kb"] == pytest.approx(bundle.stat().st_size / 1000, abs=0.05)
