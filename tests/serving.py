"""Servers on loopback that remote stores are tested against: an S3 one, and a plain http one that knows ranges."""

import contextlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

KEY, SECRET = "AKIDTESTUSER", "s3cr3tS3CR3Ts3cr3t"


@dataclass
class Served:
    """A server that is up."""

    url: str
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, oldest first."""

    @property
    def options(self) -> dict[str, object]:
        """Storage options for the S3 server."""
        return {"endpoint": self.url, "region": "us-east-1", "access_key_id": KEY, "secret_access_key": SECRET}

    def client(self):
        """boto3's client, another implementation than ours."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )


@contextlib.contextmanager
def s3_server() -> Iterator[Served]:
    """moto's server in threads of this process."""
    import logging

    from moto.server import ThreadedMotoServer
    from werkzeug.serving import WSGIRequestHandler

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    served = Served(f"http://{host}:{port}")
    original = WSGIRequestHandler.log_request
    WSGIRequestHandler.log_request = lambda self, *_: served.requests.append(f"{self.command} {self.path}")
    try:
        yield served
    finally:
        WSGIRequestHandler.log_request = original
        server.stop()


class Ranged(http.server.BaseHTTPRequestHandler):
    """GET and HEAD of files below a folder; ranges; an optional token that the query must carry."""

    folder: ClassVar[Path]
    token: ClassVar[str | None] = None
    knows_ranges: ClassVar[bool] = True
    protocol_version = "HTTP/1.1"
    # Head and body in one packet, at once: else each answer waits 40 ms for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.server.served.requests.append(f"{self.command} {path}")  # type: ignore[attr-defined]
        file = self.folder / unquote(path).lstrip("/")
        if self.token is not None and query != f"token={self.token}":
            return self._answer(403, b"")
        if not file.is_file():
            return self._answer(404, b"")
        data = file.read_bytes()
        asked = self.headers.get("Range") if self.knows_ranges else None
        if asked is None:
            return self._answer(200, data)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(data) - int(last)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        return self._answer(206, data[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

    do_HEAD = do_GET

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def http_server(folder: Path, token: str | None = None, *, knows_ranges: bool = True) -> Iterator[Served]:
    """A plain file server."""
    handler = type("Handler", (Ranged,), {"folder": folder, "token": token, "knows_ranges": knows_ranges})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.served = Served(f"http://127.0.0.1:{server.server_address[1]}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.served  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def put_tree(served: Served, folder: Path, bucket: str, prefix: str) -> None:
    """Upload a folder with boto3."""
    client = served.client()
    for root, _, names in os.walk(folder):
        for name in names:
            file = Path(root) / name
            client.put_object(
                Bucket=bucket, Key=f"{prefix}/{file.relative_to(folder).as_posix()}", Body=file.read_bytes()
            )
