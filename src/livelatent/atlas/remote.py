"""Stores on other machines: where one lies, what may be shown of that, and its files, read with few requests."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from livelatent.atlas.remote_errors import refusal
from livelatent.atlas.remote_zarr import RemoteStore
from livelatent.atomic import write_pieces
from livelatent.errors import LivelatentError, StoreError
from livelatent.extras import how_to_install
from livelatent.paths import shown

AT_ONCE = 16
"""Small requests under way at a time."""
SMALL_BYTES = 2**22
S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class Address:
    """Where a remote store (or the folder that it lies in) is, and with which rights.

    Its text is the address without user, password and query. Pickled, it takes its options with it, credentials too:
    a Dask worker needs them. Those from environment variables stay where they are.

    Parameters
    ----------
    url
        `s3://bucket/NAME.zarr`, `gs://...`, `https://...` or `http://...`. The query of an http address (a token) goes
        along with every request.
    options
        `endpoint`, `region`, `anonymous`, `headers`, `timeout_s` (the longest silence, 30), `retries` (3); and any
        key that obstore knows for this kind of server, such as `access_key_id`.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        # `Path` makes one slash of two.
        self._url = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*):/+", lambda found: f"{found[1].lower()}://", url)
        self._options = dict(options or {})
        self.scheme = self._url.partition("://")[0]
        self._expected: Mapping[str, Mapping[str, Any]] = {}
        if self.scheme not in ("s3", "gs", "http", "https"):
            raise StoreError(
                f"{self}: stores are read from s3://, gs://, http:// and https://; got {self.scheme}://. Copy the "
                "store here, or mount it, and name that path."
            )
        if not self.bucket:
            what = "server" if self.scheme.startswith("http") else "bucket"
            raise StoreError(f"{self} names no {what}. Write it as {self.scheme}://{what.upper()}/NAME.zarr.")

    def __str__(self) -> str:
        return shown(self._url).rstrip("/")

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, (self._url, self._options)

    @property
    def bucket(self) -> str:
        """The bucket; for http the server."""
        return str(self).partition("://")[2].partition("/")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return unquote(str(self).rpartition("/")[2])

    @property
    def parent(self) -> "Address":
        """The folder that it lies in; itself where it is a whole bucket or server."""
        parts = urlsplit(self._url)
        above = parts.path.rstrip("/").rpartition("/")[0]
        return Address(parts._replace(path=above).geturl(), self._options)

    # Its files

    @functools.cached_property
    def objects(self) -> Any:
        """The obstore store whose root is this address."""
        try:
            from obstore.store import GCSStore, HTTPStore, S3Store
        except ImportError:
            raise StoreError(
                f"{self}: reading remote stores needs obstore, which is not installed: {how_to_install('remote')}"
            ) from None
        rest: dict[str, Any] = dict(self._options)
        timeout = timedelta(seconds=float(rest.pop("timeout_s", 30)))
        retries = int(rest.pop("retries", 3))
        client: dict[str, Any] = {"connect_timeout": timeout / 3, "read_timeout": timeout, "timeout": 20 * timeout}
        if headers := rest.pop("headers", None):
            client["default_headers"] = dict(headers)
        common: Any = {"client_options": client, "retry_config": {"max_retries": retries, "retry_timeout": 2 * timeout}}
        endpoint = rest.pop("endpoint", None)
        if endpoint is None and self.scheme == "s3":
            endpoint = next((os.environ[name] for name in S3_ENDPOINTS if os.environ.get(name)), None)
        # Whoever wrote http:// meant it; obstore wants it said twice.
        client["allow_http"] = (endpoint or self._url).startswith("http://")
        parts = urlsplit(self._url)
        if rest.pop("anonymous", False):
            rest["skip_signature"] = True
        problem: LivelatentError
        try:
            if self.scheme in ("http", "https"):
                return HTTPStore(self._url.removesuffix("/"), **common)
            prefix = unquote(parts.path.strip("/")) or None
            kind: Any = S3Store if self.scheme == "s3" else GCSStore
            if endpoint is not None:
                rest["endpoint" if self.scheme == "s3" else "base_url"] = endpoint
            return kind(self.bucket, prefix=prefix, **rest, **common)
        except Exception as error:
            problem = self._options_refused(error, rest)
        raise problem

    def _options_refused(self, error: Exception, rest: Mapping[str, Any]) -> LivelatentError:
        named = ", ".join(sorted(rest)) or "none"
        found = re.search(r"key: '(\w+)'", str(error))
        what = f"{found[1]!r} is none of them" if found else "one of them is not as obstore wants it"
        return StoreError(
            f"{self}: this server's storage options can't be used ({what}; got {named}). See "
            "https://developmentseed.org/obstore for their names."
        )

    def read(self, name: str) -> bytes | None:
        """One small file below this address; None where there is none."""
        import obstore

        problem: LivelatentError
        try:
            return bytes(obstore.get(self.objects, name).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            problem = self.refusal(name, error)
        raise problem

    def contents(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Several small files, in the order of their names."""
        yield from self._at_once(self.read, names)

    def listed(self) -> dict[str, dict[str, Any]] | None:
        """Size and e_tag of every file below this address; None where the server can't list (plain http)."""
        if self.scheme in ("http", "https"):
            return None
        import obstore

        problem: LivelatentError
        try:
            found = obstore.list(self.objects).collect()
            return {item["path"]: {"size": int(item["size"]), "e_tag": item["e_tag"]} for item in found}
        except Exception as error:
            problem = self.refusal("", error)
        raise problem

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Size of each of these files that exists: one listing, or (plain http) one HEAD for each."""
        found = self.listed()
        if found is not None:
            return {name: found[name]["size"] for name in names if name in found}
        return {name: size for name, size in self._at_once(self._size, names) if size is not None}

    def _size(self, name: str) -> int | None:
        import obstore

        problem: LivelatentError
        try:
            return int(obstore.head(self.objects, name)["size"])
        except FileNotFoundError:
            return None
        except Exception as error:
            problem = self.refusal(name, error)
        raise problem

    # Copying there and back

    def fetch(self, name: str, to: Path) -> None:
        """Copy one file here, a piece at a time."""
        import obstore

        problem: LivelatentError
        try:
            pieces = obstore.get(self.objects, name).stream(min_chunk_size=2**20)
            write_pieces(to, pieces)
            return
        except (LivelatentError, OSError) as error:
            if not isinstance(error, FileNotFoundError):
                raise
            problem = self.refusal(name, error)
        except Exception as error:
            problem = self.refusal(name, error)
        raise problem

    def put(self, name: str, file: Path, *, whole: bool) -> None:
        """Copy a file there, in one request or in parts."""
        import obstore

        problem: LivelatentError
        try:
            obstore.put(self.objects, name, file, use_multipart=not whole, chunk_size=32 * 2**20, max_concurrency=4)
            return
        except Exception as error:
            problem = self.refusal(name, error)
        raise problem

    def write(self, name: str, data: bytes) -> None:
        """Put a small file there."""
        import obstore

        problem: LivelatentError
        try:
            obstore.put(self.objects, name, data, use_multipart=False)
            return
        except Exception as error:
            problem = self.refusal(name, error)
        raise problem

    def remove(self, names: Sequence[str]) -> None:
        """Remove files there; one that is gone already is no error."""
        import obstore

        problem: LivelatentError
        try:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self.objects, name)
            return
        except Exception as error:
            problem = self.refusal(name, error)
        raise problem

    @staticmethod
    def _at_once(function: Callable[[str], Any], names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        ordered = sorted(names)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="livelatent-remote") as pool:
            try:
                yield from zip(ordered, pool.map(function, ordered), strict=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    @functools.cached_property
    def zarr_store(self) -> RemoteStore:
        """The same, as Zarr reads it."""
        return RemoteStore(self)

    def expect(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """From now on, a missing file of these (of a manifest) is an error where Zarr would read zeros."""
        self._expected = files

    def warm(self, prefix: str) -> None:
        """Fetch the small files below `prefix` together, for Zarr to find: it asks for one after the other."""
        facts = self._expected.items()
        names = [name for name, fact in facts if name.startswith(prefix) and fact["size"] <= SMALL_BYTES]
        for name, data in self.contents(name for name in names if not name.endswith("zarr.json")):
            if data is not None:
                self.zarr_store.fetched[name] = data

    def must_have(self, key: str) -> bool:
        """Whether a missing file of this name is damage."""
        return key in self._expected or re.fullmatch(r"(X|layers/[^/]+)/(data|indices|indptr)/c/\d+", key) is not None

    def refusal(self, name: str, error: Exception) -> LivelatentError:
        """What went wrong with a file, in our words only."""
        return refusal(f"{self}/{name}" if name else str(self), self.scheme, error)
