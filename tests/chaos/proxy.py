"""A TCP proxy that treats connections badly, at a test's command: ``Proxy``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from attrs import define

Side = Literal["requests", "replies"]


@define(eq=False)
class _Line:
    """One connection: what the client and the server are written to."""

    to_client: asyncio.StreamWriter
    to_server: asyncio.StreamWriter


class Proxy:
    """Passes bytes on between clients and a server, on a thread of its own.

    Its methods may be called from any other thread, and return when the damage is done.

    Args:
        port: The server's, on this machine.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.broken = 0  # connections
        self._server_port = port
        self._delay_seconds = 0.0
        self._lines: set[_Line] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._run(self._cancel_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self) -> None:
        """Take connections, always at the same port."""
        self._run(self._open())

    def cut(self) -> None:
        """Take no connections any more, and reset those that there are."""
        self._run(self._close())
        self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        self._break(_abort)

    def half_close(self, side: Side) -> None:
        """Tell one side of each connection that the other one has finished."""
        self._break(_close_requests if side == "requests" else _close_replies)

    def delay(self, seconds: float) -> None:
        """Hold up everything, on its way there and on its way back."""
        self._delay_seconds = seconds

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        # asyncio loses connections that it is just accepting when it closes; so it is to end first.
        for listening in self._server.sockets:
            self._loop.remove_reader(listening.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        self._server.close()

    def _run(self, coroutine: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def _break(self, how: Callable[[_Line], None]) -> None:
        async def break_all() -> None:
            for line in self._lines:
                self.broken += 1
                how(line)

        self._run(break_all())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            line = _Line(writer, back)
            self._lines.add(line)
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                self._lines.discard(line)
                back.transport.abort()
        except OSError:
            pass  # there is no server
        finally:
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()

    async def _cancel_rest(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


def _abort(line: _Line) -> None:
    line.to_client.transport.abort()
    line.to_server.transport.abort()


def _close_requests(line: _Line) -> None:
    if line.to_server.can_write_eof():
        line.to_server.write_eof()


def _close_replies(line: _Line) -> None:
    if line.to_client.can_write_eof():
        line.to_client.write_eof()
