"""What moving payloads may cost, and whom it asks for access."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from durableflow import PayloadDeniedError
from durableflow.protocol.payload_fields import PAYLOADS
from durableflow_blob import BlobPayloads
from tests.blob.conftest import ROOT, Storage, emulator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LARGE = json.dumps("large payload " * 500)


def write(plugin: BlobPayloads, text: str) -> str:
    return plugin.encode(PAYLOADS["ActivityResponse.result"], text, instance_id="i")


def read(plugin: BlobPayloads, reference: str) -> str:
    return plugin.decode(PAYLOADS["ActivityRequest.input"], reference, instance_id="i")


@pytest.mark.parametrize("case", ["compressed", "plain", "bomb"])
def test_moving_a_payload_takes_a_few_times_its_size_in_memory(storage: Storage, case: str):
    # In a process of its own, and not through the proxy, which needs memory, too.
    account = emulator.connection_string(storage.port)
    command = [sys.executable, "-m", "tests.blob.peak", account, storage.container, case]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    times = [float(line) for line in done.stdout.split()]
    assert times
    assert max(times) < 5


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_there_are_never_more_requests_at_once_than_allowed(storage: Storage, method: str):
    limit = 3
    texts = [f"{number}{LARGE}" for number in range(2 * limit)]
    references = [write(storage.plugin(), text) for text in texts] if method == "GET" else []
    lock, crowded = threading.Lock(), threading.Event()
    under_way = most = 0

    def count(asked: str, path: str) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
            if most > limit:
                crowded.set()
        crowded.wait(0.3)  # for one too many
        with lock:
            under_way -= 1

    storage.fault = count
    plugin = storage.plugin(max_concurrency=limit)
    with ThreadPoolExecutor(len(texts)) as threads:
        if method == "GET":
            assert list(threads.map(lambda each: read(plugin, each), references)) == texts
        else:
            assert len(set(threads.map(lambda each: write(plugin, each), texts))) == len(texts)

    assert most == limit


def test_what_takes_several_requests_to_move_comes_back_whole(storage: Storage):
    # Not through the proxy, which takes its time.  The client of Azure stores in blocks above 64 MiB.
    settings: dict[str, Any] = {"container_name": storage.container, "cache_bytes": 0}
    plugin = BlobPayloads(
        connection_string=emulator.connection_string(storage.port), compress=False, **settings
    )
    text = json.dumps("0123456789abcdef" * 4_200_000)
    reference = write(plugin, text)

    assert read(plugin, reference) == text
    plugin.close()
    (name,) = storage.names()
    with storage.client() as container:
        blocks, _ = container.get_blob_client(name).get_block_list()
    assert len(blocks) > 1


# Credentials


class Tokens(BaseHTTPRequestHandler):
    """Where Azure's machines get the tokens of their identity; this one has none."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = b'{"error": "invalid_request", "error_description": "no such identity"}'
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the identity of this machine is asked for."""
    asked: list[str] = []
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")  # and no others
    handler = type("Handler", (Tokens,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/")
        monkeypatch.setenv("IDENTITY_HEADER", "of this machine")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


ACCOUNT = "https://127.0.0.1:1"


class Mine:
    """A credential of the user's own."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.asked += scopes
        raise LookupError("mine has none")


def test_an_account_is_reached_by_the_default_credential(asked: list[str]):
    plugin = BlobPayloads(account_url=ACCOUNT)
    with pytest.raises(PayloadDeniedError, match=f"{ACCOUNT}.*'Storage Blob Data Contributor'"):
        write(plugin, LARGE)
    plugin.close()

    assert asked
    assert all("storage.azure.com" in path for path in asked)


def test_a_credential_that_is_given_is_used_instead(asked: list[str]):
    mine = Mine()
    plugin = BlobPayloads(account_url=ACCOUNT, credential=mine)
    with pytest.raises(LookupError, match="mine has none"):
        write(plugin, LARGE)
    plugin.close()

    assert set(mine.asked) == {"https://storage.azure.com/.default"}
    assert asked == []
