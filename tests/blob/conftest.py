"""A storage account for each test: Azurite, behind a proxy that counts, and fails as told."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import attrs
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from durableflow import App
from durableflow_blob import BlobPayloads

ROOT = Path(__file__).parents[2]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


emulator = load(ROOT / "tests" / "azurite" / "emulator.py")

Fault = Callable[[str, str], str | None]


def no_fault(method: str, path: str) -> str | None:
    return None


@attrs.define(eq=False)
class Storage:
    """A container of its own in the emulator, and the proxy before it.

    Attributes:
        fault: Told the method and path of a request, names what is to go wrong, if anything.
        requests: Method, path and Host header of each request.
        connections: How many are open at present.
    """

    port: int
    proxy_port: int = 0
    container: str = attrs.field(factory=lambda: f"c{uuid4().hex}")
    fault: Fault = no_fault
    requests: list[tuple[str, str, str]] = attrs.field(factory=list)
    failed: threading.Event = attrs.field(factory=threading.Event)
    connections: int = 0
    disconnected: threading.Condition = attrs.field(factory=threading.Condition)
    released: threading.Event = attrs.field(factory=threading.Event)

    @property
    def connection_string(self) -> str:
        return str(emulator.connection_string(self.proxy_port))

    @property
    def account_url(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port}/{emulator.ACCOUNT}"

    def plugin(self, **settings: Any) -> BlobPayloads:
        defaults: dict[str, Any] = {"threshold_bytes": 1000, "container_name": self.container}
        return BlobPayloads(connection_string=self.connection_string, **(defaults | settings))

    def count(self, method: str) -> int:
        """How many requests about blobs there were."""
        return sum(m == method and p.count("/") > 2 for m, p, _ in self.requests)

    def is_left_alone(self) -> bool:
        """Wait for the last connection to be closed, and return whether it was."""
        with self.disconnected:
            return self.disconnected.wait_for(lambda: self.connections == 0, 10)

    def client(self) -> ContainerClient:
        """Another way to the container, not through the proxy."""
        service = BlobServiceClient.from_connection_string(emulator.connection_string(self.port))
        return service.get_container_client(self.container)

    def names(self) -> list[str]:
        with self.client() as container:
            return sorted(container.list_blob_names())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage: Storage

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        storage = self.storage
        with storage.disconnected:
            storage.connections += 1
        with contextlib.suppress(OSError):  # the client went away
            super().handle()
        with storage.disconnected:
            storage.connections -= 1
            storage.disconnected.notify_all()

    def pass_on(self) -> None:
        body = self._body()
        storage = self.storage
        storage.requests.append((self.command, self.path, self.headers["Host"]))
        fault = storage.fault(self.command, self.path)
        if fault is not None:
            storage.failed.set()
        if fault == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif fault == "hang":
            self.storage.released.wait(30)
            self.close_connection = True
        elif fault is not None and fault.isdecimal():
            self._answer(int(fault), [("x-ms-error-code", "ServerBusy")], b"")
        elif fault == "redirect":
            self._answer(302, [("Location", "http://127.0.0.2:1/elsewhere")], b"")
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = pass_on  # noqa: N815  # the server's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes, fault: str | None) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.storage.port)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        skipped = {"transfer-encoding", "connection", "keep-alive", "date", "server"}
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in skipped]
        upstream.close()
        if fault == "late":  # it is done, and nobody hears of it yet
            self.storage.released.wait(30)
        if fault == "corrupt":
            content = bytes(len(content) - 1) + b"\x01"
        if fault == "shorten":
            content = content[: len(content) // 2]
        self._answer(answer.status, kept, content, truncated=fault == "truncate")

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        *,
        truncated: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if truncated:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture(scope="session")
def azurite() -> Iterator[int]:
    with emulator.running() as port:
        yield port


@pytest.fixture
def storage(azurite: int) -> Iterator[Storage]:
    storage = Storage(azurite)
    handler = type("Handler", (_Handler,), {"storage": storage})
    with _Server(("127.0.0.1", 0), handler) as server:
        storage.proxy_port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield storage
        storage.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let settings name the plugin, as if its package were installed."""
    site = tmp_path / "site"
    information = site / "blob_plugin-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: blob-plugin\nVersion: 1\n")
    points = "[durableflow]\nblob = durableflow_blob:BlobPayloads\n"
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(site)
    invalidate_caches()


@pytest.fixture(params=["in process", "over gRPC"])
def task_hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A task hub; over gRPC it belongs to another app, which serves nothing."""
    address = f"sqlite:///{tmp_path / 'hub.db'}"
    if request.param == "in process":
        yield address
        return
    with App("owner", task_hub=address).client() as owner:
        owner.get_orchestration_state("nobody")
        yield address
