"""Remote stores: read like the local one, with few requests, bounded time, and no credential in anything said."""

import copy
import logging
import pickle
import shutil
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from livelatent.atlas import Atlas
from livelatent.atlas.remote import Address
from livelatent.errors import LabelError, LivelatentError, NoPermissionError, StoreError
from livelatent.paths import shown
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream
from serving import KEY, SECRET, Served, http_server, put_tree, s3_server

TOKEN = "t0kenT0KENt0ken"
PASSWORD = "p4ssw0rdP4SS"
QUICK = {"timeout_s": 0.6, "retries": 1}


@pytest.fixture(scope="module")
def s3() -> Iterator[Served]:
    with s3_server() as served:
        yield served


@pytest.fixture(scope="module")
def bucket(s3: Served, tiny_atlas: Atlas) -> str:
    """The tiny store in a bucket, as another client put it there."""
    s3.client().create_bucket(Bucket="lab")
    put_tree(s3, tiny_atlas.path, "lab", "atlases/tiny.zarr")
    s3.client().upload_file(str(tiny_atlas.path.with_name("tiny.manifest.json")), "lab", "atlases/tiny.manifest.json")
    return "s3://lab/atlases/tiny.zarr"


@pytest.fixture(scope="module")
def http(tiny_atlas: Atlas) -> Iterator[Served]:
    with http_server(tiny_atlas.path.parent, token=TOKEN) as served:
        yield served


@pytest.fixture(params=["s3", "http"])
def remote(request: pytest.FixtureRequest) -> Atlas:
    if request.param == "s3":
        s3 = request.getfixturevalue("s3")
        return Atlas.open(request.getfixturevalue("bucket"), storage_options=s3.options)
    return Atlas.open(signed(request.getfixturevalue("http")))


def signed(http: Served, name: str = "tiny.zarr", token: str = TOKEN) -> str:
    """An address with a password and a token in it."""
    return f"{http.url.replace('://', f'://ann:{PASSWORD}@')}/{name}?token={token}"


# Reading


def test_everything_that_is_read_is_as_in_the_local_store(remote: Atlas, tiny_atlas: Atlas) -> None:
    assert remote.obs.equals(tiny_atlas.obs) and (remote.genes == tiny_atlas.genes).all()
    assert remote.uuid == tiny_atlas.uuid and remote.label_names == tiny_atlas.label_names
    for split in (None, "train", "validation"):
        assert (remote.rows(split, labelled=True) == tiny_atlas.rows(split, labelled=True)).all()
    for start, stop in ((0, 607), (90, 333), (606, 607), (5, 5)):
        assert (remote.read_rows(start, stop) != tiny_atlas.read_rows(start, stop)).nnz == 0
    rows = np.arange(3, 607, 65)
    assert (remote.read_cells(rows) != tiny_atlas.read_cells(rows)).nnz == 0
    here, there = tiny_atlas.to_anndata(rows), remote.to_anndata(rows)
    assert (here.X != there.X).nnz == 0 and here.obs.equals(there.obs) and here.var.equals(there.var)
    for part in ("indptr", "indices", "data"):
        assert (np.asarray(getattr(remote.csr(), part)[:]) == np.asarray(getattr(tiny_atlas.csr(), part)[:])).all()


@pytest.mark.parametrize("remote", [pytest.param("s3", marks=pytest.mark.slow), "http"], indirect=True)
def test_minibatches_are_those_of_the_local_store(remote: Atlas, tiny_atlas: Atlas) -> None:
    config = StreamConfig(minibatch_cells=50, block_cells=16, buffer_cells=128, seed=3)
    streams = [Stream(atlas, atlas.rows("train"), config) for atlas in (remote, tiny_atlas)]
    n_seen = 0
    for epoch in range(2):
        for there, here in zip(*(stream.minibatches(epoch) for stream in streams), strict=True):
            for name in ("x", "label", "batch", "cell", "total"):
                assert (getattr(there, name) == getattr(here, name)).all()
            n_seen += len(here.cell)
    assert n_seen == 2 * len(tiny_atlas.rows("train"))
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("remote", [pytest.param("s3", marks=pytest.mark.slow), "http"], indirect=True)
def test_passes_give_what_they_give_locally(remote: Atlas, tiny_atlas: Atlas) -> None:
    from livelatent.atlas.passes import gene_moments

    rows, total = tiny_atlas.rows("train"), tiny_atlas.mean_total
    here, there = (gene_moments(atlas, rows, mean_total=total) for atlas in (tiny_atlas, remote))
    assert (here.mean == there.mean).all() and (here.variance == there.variance).all()


def test_a_stretch_of_cells_costs_a_request_for_each_array_and_shard(
    bucket: str, s3: Served, tiny_atlas: Atlas
) -> None:
    atlas = Atlas.open(bucket, storage_options=s3.options)
    pointers, shard = atlas.csr().indptr, int(atlas.csr().data.shards[0])
    for start, stop in ((10, 40), (100, 220), (0, 607)):
        atlas.read_rows(start, stop)  # the shards' indices are known now
        s3.requests.clear()
        atlas.read_rows(start, stop)
        n_shards = (int(pointers[stop]) - 1) // shard - int(pointers[start]) // shard + 1
        assert len(s3.requests) == 2 * n_shards, s3.requests


def test_opening_reads_names_by_one_listing(bucket: str, s3: Served, tiny_atlas: Atlas) -> None:
    s3.requests.clear()
    Atlas.open(bucket, storage_options=s3.options)
    assert sum("list-type" in request for request in s3.requests) <= 2
    assert not any(request.startswith("HEAD") for request in s3.requests)
    read = [request for request in s3.requests if "/X/data/c/" in request or "/X/indices/c/" in request]
    assert read == []


def test_options_come_from_the_usual_environment(bucket: str, s3: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert Atlas.open(bucket).n_cells == 607
    assert Atlas.open(Path(bucket)).n_cells == 607  # a Path makes one slash of two


def test_a_bucket_of_google_is_read_by_its_own_client(s3: Served, bucket: str, tiny_atlas: Atlas) -> None:
    """GCS answers the same XML requests as S3; without a signature moto shows what is public."""
    client = s3.client()
    client.put_bucket_acl(Bucket="lab", ACL="public-read")
    for item in client.get_paginator("list_objects_v2").paginate(Bucket="lab").search("Contents[]"):
        client.put_object_acl(Bucket="lab", Key=item["Key"], ACL="public-read")
    options = {"endpoint": s3.url, "anonymous": True}
    atlas = Atlas.open("gs://lab/atlases/tiny.zarr", storage_options=options)
    assert (atlas.read_rows(50, 90) != tiny_atlas.read_rows(50, 90)).nnz == 0


@pytest.mark.parametrize("remote", [pytest.param("s3", marks=pytest.mark.slow), "http"], indirect=True)
def test_an_atlas_travels_to_a_worker_of_a_cluster(remote: Atlas, tiny_atlas: Atlas) -> None:
    for again in (pickle.loads(pickle.dumps(remote)), copy.deepcopy(remote)):
        assert (again.read_rows(3, 9) != tiny_atlas.read_rows(3, 9)).nnz == 0
    array = pickle.loads(pickle.dumps(remote.csr().data))
    assert (array[:100] == tiny_atlas.csr().data[:100]).all()


@pytest.mark.slow
def test_a_real_worker_reads_it(bucket: str, s3: Served, tiny_atlas: Atlas) -> None:
    from distributed import Client, LocalCluster

    from livelatent.atlas.passes import gene_moments

    atlas = Atlas.open(bucket, storage_options=s3.options)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        rows, total = atlas.rows(), atlas.mean_total
        there = gene_moments(atlas, rows, mean_total=total, client=client)
    assert (there.mean == gene_moments(tiny_atlas, rows, mean_total=total).mean).all()


# Labels and writing


@pytest.mark.parametrize("remote", [pytest.param("s3", marks=pytest.mark.slow), "http"], indirect=True)
def test_a_remote_store_is_labelled_in_a_folder_that_is_named(remote: Atlas, tmp_path: Path) -> None:
    assert remote.labels.entries == () and set(remote.labels.current()) == {None}
    assert remote.labels.vocabulary == () and remote.labels.undo() is None
    for write in (lambda: remote.labels.label([1], "x"), lambda: remote.labels.add_name("x")):
        with pytest.raises(LabelError, match=r"Atlas\.open\(address, journal="):
            write()
    address = remote.path
    named = Atlas.open(address, journal=tmp_path / "mine")
    named.labels.label([1, 2], "here")
    named.labels.close()
    again = pickle.loads(pickle.dumps(named))
    assert again.labels.current()[:4].tolist() == [None, "here", "here", None]
    assert (tmp_path / "mine" / "journal.jsonl").exists()


def test_nothing_is_written_to_a_remote_store(remote: Atlas) -> None:
    for write in (lambda: remote.write_obsm("X_a", np.zeros((607, 2))), lambda: remote.write_labels()):
        with pytest.raises(StoreError, match=r"copy_to\(\"tiny\.zarr\"\)"):
            write()


@pytest.mark.slow
def test_a_run_on_it_asks_for_a_folder_and_goes_on_from_there(
    bucket: str, s3: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from livelatent.models.cellular import Cellular
    from livelatent.train.run import Run

    for name, value in (("ENDPOINT_URL", s3.url), ("ACCESS_KEY_ID", KEY), ("SECRET_ACCESS_KEY", SECRET)):
        monkeypatch.setenv(f"AWS_{name}", value)
    remote = Atlas.open(bucket)
    model = Cellular(remote, n_genes=20, n_latent=4)
    assert model.atlas_path == bucket
    with pytest.raises(StoreError, match="folder="):
        Run(model, remote)
    run = Run(model, remote, epochs=1, folder=tmp_path / "run")
    run.start()
    run.wait()
    assert Run.resume(tmp_path / "run").atlas.uuid == remote.uuid
    said = "".join(path.read_text() for path in (tmp_path / "run").rglob("*.json"))
    assert not secrets_in(said) and bucket in said


# What goes wrong


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (TOKEN, PASSWORD, SECRET) if secret in text]


def everything_about(error: BaseException) -> str:
    """All that a traceback, a log or a pickle of an error would hold."""
    parts = ["".join(traceback.format_exception(error)), repr(error), str(error.args)]
    seen: list[BaseException | None] = [error]
    while (last := seen[-1]) is not None and len(seen) < 20:
        parts += [repr(last), *map(str, getattr(last, "__notes__", []))]
        seen.append(last.__cause__ or last.__context__)
    return "\n".join(parts)


def gone(folder: Path) -> None:
    shutil.rmtree(folder / "tiny.zarr")


def without_root(folder: Path) -> None:
    (folder / "tiny.zarr" / "zarr.json").unlink()


def without_shard(folder: Path) -> None:
    (folder / "tiny.zarr" / "X" / "data" / "c" / "3").unlink()


def without_column(folder: Path) -> None:
    shutil.rmtree(folder / "tiny.zarr" / "obs" / "age")


def cut_shard(folder: Path) -> None:
    path = folder / "tiny.zarr" / "X" / "data" / "c" / "3"
    path.write_bytes(path.read_bytes()[:-1])


def changed_metadata(folder: Path) -> None:
    path = folder / "tiny.zarr" / "obs" / "zarr.json"
    path.write_bytes(path.read_bytes().replace(b"age", b"eag"))


def broken_manifest(folder: Path) -> None:
    (folder / "tiny.manifest.json").write_text("{")


@pytest.fixture
def broken(tiny_atlas: Atlas, tmp_path: Path) -> Iterator[tuple[Path, str, Served]]:
    """A copy of the store that may be broken, and its signed address."""
    shutil.copytree(tiny_atlas.path, tmp_path / "tiny.zarr")
    shutil.copy(tiny_atlas.path.with_name("tiny.manifest.json"), tmp_path)
    with http_server(tmp_path, token=TOKEN) as served:
        yield tmp_path, signed(served), served


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (gone, "no Zarr v3 store"),
        (without_root, "no Zarr v3 store"),
        (without_shard, "X/data/c/3 is missing"),
        (without_column, "obs/age/.* is missing"),
        (cut_shard, "X/data/c/3 has"),
        (changed_metadata, "obs/zarr.json is not as it was written"),
        (broken_manifest, "manifest.json is damaged"),
    ],
)
def test_a_remote_store_that_is_not_whole_is_refused_on_opening(
    broken: tuple[Path, str, Served], damage: Callable[[Path], None], said: str
) -> None:
    folder, address, _ = broken
    damage(folder)
    with pytest.raises(StoreError, match=said) as caught:
        Atlas.open(address)
    assert not secrets_in(everything_about(caught.value))


def test_without_a_manifest_missing_shards_are_still_refused(broken: tuple[Path, str, Served]) -> None:
    folder, address, _ = broken
    (folder / "tiny.manifest.json").unlink()
    assert Atlas.open(address).n_cells == 607
    without_shard(folder)
    with pytest.raises(StoreError, match="X/data/c/3 is missing"):
        Atlas.open(address)


@pytest.mark.parametrize("is_index_known", [False, True])
def test_a_shard_that_goes_missing_later_is_an_error_not_zeros(
    broken: tuple[Path, str, Served], is_index_known: bool
) -> None:
    folder, address, _ = broken
    atlas = Atlas.open(address)
    first = np.searchsorted(atlas.csr().indptr, 3 * int(atlas.csr().data.shards[0]))
    if is_index_known:
        atlas.read_rows(int(first) + 2, int(first) + 4)
    without_shard(folder)
    config = StreamConfig(minibatch_cells=50, block_cells=16, buffer_cells=128)
    for read in (
        lambda: atlas.read_rows(int(first) + 1, int(first) + 3),
        lambda: atlas.read_rows(0, 607),
        lambda: list(Stream(atlas, atlas.rows(), config).minibatches(0)),
    ):
        with pytest.raises(StoreError, match="X/data/c/3 is missing") as caught:
            read()
        assert not secrets_in(everything_about(caught.value))


def test_a_flipped_bit_in_a_shard_is_an_error_that_names_it(broken: tuple[Path, str, Served]) -> None:
    folder, address, _ = broken
    atlas = Atlas.open(address)
    path = folder / "tiny.zarr" / "X" / "data" / "c" / "2"
    data = bytearray(path.read_bytes())
    data[200] ^= 8
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError, match="X/data/c/2") as caught:
        atlas.read_rows(0, 607)
    assert not secrets_in(everything_about(caught.value))


def test_a_server_that_refuses_is_said_to(http: Served, s3: Served, bucket: str) -> None:
    with pytest.raises(NoPermissionError, match="403") as caught:
        Atlas.open(signed(http, token="wrong"))
    assert not secrets_in(everything_about(caught.value))
    s3.client().create_bucket(Bucket="private")
    s3.client().put_object(Bucket="private", Key="x.zarr/zarr.json", Body=b"{}")
    with pytest.raises(NoPermissionError, match=r"s3://private/x\.zarr.*AWS_ACCESS_KEY_ID"):
        Atlas.open("s3://private/x.zarr", storage_options={"endpoint": s3.url, "anonymous": True})


def test_without_credentials_the_way_out_is_said_soon(s3: Served, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NoPermissionError, match=r"no credentials were found\. Set AWS_ACCESS_KEY_ID"):
        Atlas.open(bucket, storage_options={"endpoint": s3.url, "region": "us-east-1", **QUICK})


def test_a_bucket_that_is_not_there_is_said_so(s3: Served) -> None:
    with pytest.raises(StoreError, match=r"s3://nobody/x\.zarr is no Zarr v3 store"):
        Atlas.open("s3://nobody/x.zarr", storage_options=s3.options)


def test_a_server_that_nobody_runs_ends_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for address, options in (
        (f"http://ann:{PASSWORD}@127.0.0.1:{port}/x.zarr?token={TOKEN}", QUICK),
        (
            "s3://lab/x.zarr",
            {"endpoint": f"http://127.0.0.1:{port}", "access_key_id": KEY, "secret_access_key": SECRET, **QUICK},
        ),
    ):
        with pytest.raises(StoreError, match=r"can't be reached \(nobody answers there") as caught:
            Atlas.open(address, storage_options=options)
        assert not secrets_in(everything_about(caught.value))


def test_a_server_that_never_answers_ends_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(StoreError, match="no answer came in time"):
            Atlas.open(f"http://127.0.0.1:{silent.getsockname()[1]}/x.zarr", storage_options=QUICK)


def test_a_server_without_ranges_is_named_and_a_copy_is_the_way_out(tiny_atlas: Atlas, tmp_path: Path) -> None:
    with http_server(tiny_atlas.path.parent, knows_ranges=False) as served:
        remote = Atlas.open(f"{served.url}/tiny.zarr")
        with pytest.raises(StoreError, match=r"part of a file.*livelatent copy"):
            remote.read_rows(3, 9)
        here = remote.copy_to(tmp_path / "here.zarr")
    assert (here.read_rows(3, 9) != tiny_atlas.read_rows(3, 9)).nnz == 0


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("ftp://x/y.zarr", None, "s3://, gs://, http:// and https://"),
        ("s3://", None, "names no bucket"),
        ("https://?x", None, "names no server"),
        ("s3://lab/y.zarr", {"secret_acess_key": SECRET}, "'secret_acess_key' is none of them"),
        ("s3://lab/y.zarr", {"secret_access_key": 5, "token": SECRET}, "not as obstore wants it; got"),
        ("y.zarr", {"anonymous": True}, "path on this machine"),
    ],
)
def test_an_address_or_option_that_is_none_is_refused(address: str, options: dict | None, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        Atlas.open(address, storage_options=options)
    assert not secrets_in(everything_about(caught.value))


def test_no_credential_comes_out_anywhere(
    http: Served, s3: Served, bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    said = []
    for address, options in ((signed(http), None), (bucket, s3.options)):
        atlas = Atlas.open(address, journal=tmp_path / "mine", storage_options=options)
        atlas.labels.label([3], "T", how={"kind": "rows"})
        atlas.labels.close()
        place = atlas.path
        assert isinstance(place, Address)
        said += [repr(atlas), str(place), repr(place), repr(place.zarr_store), str(place.zarr_store)]
        said += [repr(atlas.csr().data), repr(atlas.csr()), place.name, repr(place.parent), str(vars(atlas))]
        adata = atlas.to_anndata([1, 2])
        said += [str(adata.uns), repr(adata)]
        for method, wrong in ((atlas.read_rows, ("a", 3)), (atlas.labels.label, ([], "x")), (atlas.write_labels, ())):
            with pytest.raises((LivelatentError, TypeError)) as caught:
                method(*wrong)
            said.append(everything_about(caught.value))
    said += [path.read_text() for path in (tmp_path / "mine").iterdir() if path.suffix in (".jsonl", ".json")]
    said.append(caplog.text)
    assert secrets_in("\n".join(said)) == []


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("s3://bucket/a/blood.zarr", "s3://bucket/a/blood.zarr"),
        ("s3:/bucket/blood.zarr", "s3://bucket/blood.zarr"),
        (f"https://ann:{PASSWORD}@x.org:8080/a/b.zarr?X-Amz-Signature={TOKEN}#{SECRET}", "https://x.org:8080/a/b.zarr"),
        (f"https://ann:p@ss{PASSWORD}@x.org/b.zarr", "https://x.org/b.zarr"),
        (f"HTTPS://x.org?{TOKEN}", "https://x.org"),
        ("/home/ann/b.zarr?x", "/home/ann/b.zarr?x"),
    ],
)
def test_what_is_shown_of_an_address(address: str, text: str) -> None:
    assert shown(address) == text
