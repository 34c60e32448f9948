"""The HTTP of probes: what is answered, and to whom."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from durableflow.errors import SettingsError
from durableflow.worker.health import HealthServer
from tests.unit.worker.probing import get

SECONDS = 20


class Bench:
    def __init__(self) -> None:
        self.reason: str | None = None
        self.server = HealthServer({"/readyz": lambda: self.reason}, host="127.0.0.1", port=0)

    async def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, object]]:
        return await asyncio.to_thread(get, f"{self.server.address}{path}", method)

    async def send(self, data: bytes) -> bytes:
        """Send anything, and return the whole answer."""
        host, _, port = self.server.address.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    await made.server.start()
    yield made
    made.server.stop()


async def test_a_check_that_finds_nothing_is_ok(bench: Bench) -> None:
    assert await bench.get("/readyz") == (200, {"status": "ok"})


async def test_a_check_that_finds_something_is_told_with_the_reason(bench: Bench) -> None:
    bench.reason = 'no stream from "here"'

    assert await bench.get("/readyz?verbose") == (
        503,
        {"status": "failed", "reason": 'no stream from "here"'},
    )


async def test_a_head_gets_the_status_alone(bench: Bench) -> None:
    assert await bench.get("/readyz", "HEAD") == (200, {})


async def test_other_methods_are_refused(bench: Bench) -> None:
    assert (await bench.get("/readyz", "POST"))[0] == 405


async def test_an_unknown_path_is_told_the_known_ones(bench: Bench) -> None:
    assert await bench.get("/") == (404, {"status": "unknown", "paths": ["/readyz"]})


@pytest.mark.parametrize(
    "request_",
    [b"", b"GET /readyz", b"\x00" * 100, b"x" * 100_000],
    ids=["nothing", "half", "zeros", "much"],
)
async def test_what_is_no_request_gets_no_answer_and_does_no_harm(
    bench: Bench, request_: bytes
) -> None:
    with contextlib.suppress(ConnectionError):  # it may hang up before everything is sent
        assert await bench.send(request_) == b""

    assert (await bench.get("/readyz"))[0] == 200


async def test_bytes_that_are_no_text_are_a_path_that_is_unknown(bench: Bench) -> None:
    answer = await bench.send(b"GET /\xff\xfe HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_nobody_is_answered_after_the_end(bench: Bench) -> None:
    bench.server.stop()

    with pytest.raises(OSError, match="refused"):
        await bench.get("/readyz")


async def test_an_address_of_another_machine_is_refused() -> None:
    server = HealthServer({}, host="192.0.2.1", port=8080)

    with pytest.raises(SettingsError, match=r"at http://192\.0\.2\.1:8080 .*another health_port"):
        await server.start()
