"""durableflow over gRPC: engine, worker and client, each in a process of its own.

As a module that is run it is the worker: ``python -m benchmarks.systems.remote ADDRESS``.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.processes import Process
from benchmarks.systems.app import app
from benchmarks.systems.clients import ClientDriver


class Remote(ClientDriver):
    """See ``System``."""

    def __init__(self, client: object, database: Path, address: str, engine: Process) -> None:
        super().__init__(client)
        self.database = database
        self._address = address
        self._engine = engine
        self._worker = self._start_worker()

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._engine.pid, self._worker.pid)

    async def restart_worker(self) -> None:
        self.stop()
        self._worker = self._start_worker()

    def stop(self) -> None:
        self._worker.stop()

    def _start_worker(self) -> Process:
        worker = Process("benchmarks.systems.remote", self._address)
        worker.read_line()
        return worker


@contextmanager
def serving(database: Path) -> Iterator[tuple[str, Process]]:
    """Serve a file by our engine; yield its address and its process."""
    with Process("durableflow.engine", "--db", str(database)) as engine:
        yield engine.read_line().rpartition(" ")[2], engine


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Remote]:
    """Run it for the length of an ``async with`` block, keeping its files in a folder."""
    database = folder / "bench.db"
    with serving(database) as (address, engine):
        async with app.async_client(task_hub=address) as client:
            system = Remote(client, database, address, engine)
            try:
                yield system
            finally:
                system.stop()


if __name__ == "__main__":
    with app.running(task_hub=sys.argv[1]):
        print("ready", flush=True)
        sys.stdin.read()
