"""What the machine allows: the disk, SQLite, gRPC in Python, threads.

As a module that is run it is a gRPC server that echoes: ``python -m benchmarks.limits``.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.processes import Process

PAGE: Final = bytes(4096)
MESSAGE: Final = bytes(100)
METHOD: Final = "/Echo/Echo"
AT_ONCE: Final = 20
REPETITIONS: Final = 3


async def measure(folder: Path) -> dict[str, float]:
    """Measure all of them, files being made in a folder."""
    with Process("benchmarks.limits") as server:
        address = server.read_line()
        sequential, concurrent = await _call(address, 1), await _call(address, AT_ONCE)
    return {
        "fdatasync": _median(lambda: _sync(folder / "page")) * 1e3,
        "sqlite_commits": 1 / _median(lambda: _commit(folder, "WAL")),
        "sqlite_commits_default": 1 / _median(lambda: _commit(folder, "DELETE")),
        "grpc_sequential": 1 / sequential,
        "grpc_concurrent": 1 / concurrent,
        "thread_hop": _median(_hop) * 1e6,
    }


def _sync(path: Path, times: int = 500) -> float:
    path.write_bytes(PAGE)
    descriptor = os.open(path, os.O_RDWR)
    begin = time.perf_counter()
    for _ in range(times):
        os.pwrite(descriptor, PAGE, 0)
        os.fdatasync(descriptor)
    seconds = time.perf_counter() - begin
    os.close(descriptor)
    return seconds / times


def _commit(folder: Path, mode: str, times: int = 500) -> float:
    with closing(sqlite3.connect(folder / f"{mode}.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, text TEXT)"
        )
        begin = time.perf_counter()
        for _ in range(times):
            connection.execute("INSERT INTO rows (text) VALUES ('one step of an orchestration')")
        return (time.perf_counter() - begin) / times


def _hop(times: int = 5_000) -> float:
    there: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    back: queue.SimpleQueue[int] = queue.SimpleQueue()

    def echo() -> None:
        while (number := there.get()) is not None:
            back.put(number)

    thread = threading.Thread(target=echo)
    thread.start()
    begin = time.perf_counter()
    for number in range(times):
        there.put(number)
        back.get()
    seconds = time.perf_counter() - begin
    there.put(None)
    thread.join()
    return seconds / times


async def _call(address: str, at_once: int, times: int = 3_000) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        echo: Any = channel.unary_unary(METHOD)

        async def caller(calls: int) -> None:
            for _ in range(calls):
                await echo(MESSAGE)

        await caller(100)
        begin = time.perf_counter()
        await asyncio.gather(*[caller(times // at_once) for _ in range(at_once)])
        return (time.perf_counter() - begin) / times


def _median(measure_once: Callable[[], float]) -> float:
    return statistics.median(measure_once() for _ in range(REPETITIONS))


class _Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        async def echo(request: bytes, context: Any) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(echo)


async def _serve() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
