"""A connection to a server that a test can cut at a moment of its choice."""

from __future__ import annotations

import asyncio
from typing import Literal

Direction = Literal["requests", "replies"]


class Proxy:
    """Passes bytes on to a server, until it is told to swallow them or to break off.

    Args:
        address: ``host:port`` of the server.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._swallowing: Direction | None = None
        self.swallowed = asyncio.Event()

    async def start(self) -> str:
        """Listen, and return the address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def swallow(self, direction: Direction) -> None:
        """Pass nothing on in this direction any more; ``swallowed`` tells of the first bytes."""
        self._swallowing = direction

    async def break_off(self) -> None:
        """Stop listening and cut every connection."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers += [writer, back]
        self._tasks += [
            asyncio.create_task(self._pump(reader, back, "requests")),
            asyncio.create_task(self._pump(there, writer, "replies")),
        ]

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        while data := await reader.read(65536):
            if direction == self._swallowing:
                self.swallowed.set()
            else:
                writer.write(data)
        writer.close()
