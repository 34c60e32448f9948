"""Answers liveness and readiness probes over HTTP: ``HealthServer``.

It runs on the hub loop, so a loop that hangs does not answer, which is the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from durableflow.errors import SettingsError

_LARGEST_REQUEST: Final = 8 * 1024
_PATIENCE_SECONDS: Final = 5.0

Check = Callable[[], str | None]
"""Returns why something is not as it should be; None: it is."""


class HealthServer:
    """Serves the outcome of checks: 200, or 503 with the reason.

    Args:
        checks: By path.
        port: 0 takes any that is free.
    """

    def __init__(self, checks: Mapping[str, Check], *, host: str, port: int) -> None:
        self._checks = checks
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it serves, for example ``http://127.0.0.1:8080``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            SettingsError: the address is taken, or not this machine's.
        """
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=_LARGEST_REQUEST
            )
        except OSError as error:
            raise SettingsError(
                f"Health probes cannot be served at {self.address} ({error.strerror or error}). "
                "Choose another health_port or health_host."
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What asks may vanish, or send anything; none of that is worth a word.
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(request))
                await writer.drain()
        writer.close()

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        check = self._checks.get(path)
        if check is None:
            paths = list(self._checks)
            return _response(method, HTTPStatus.NOT_FOUND, {"status": "unknown", "paths": paths})
        if method not in ("GET", "HEAD"):
            return _response(method, HTTPStatus.METHOD_NOT_ALLOWED, {"status": "unknown"})
        reason = check()
        if reason is None:
            return _response(method, HTTPStatus.OK, {"status": "ok"})
        return _response(
            method, HTTPStatus.SERVICE_UNAVAILABLE, {"status": "failed", "reason": reason}
        )


def _response(method: str, status: HTTPStatus, body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body).encode() + b"\n"
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(text)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    head = "".join(f"{line}\r\n" for line in (*lines, ""))
    return head.encode() + (b"" if method == "HEAD" else text)
