"""durableflow in one process: worker, client and engine, ``synchronous=FULL``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchmarks.replaying import microseconds_per_step
from benchmarks.systems.app import app
from benchmarks.systems.clients import ClientDriver


class InProcess(ClientDriver):
    """See ``System``."""

    def __init__(self, database: Path) -> None:
        super().__init__(None)
        self.database = database
        self.pids = (os.getpid(),)
        self._running = AsyncExitStack()

    async def open(self) -> None:
        self.client = await self._running.enter_async_context(
            app.running(task_hub=f"sqlite:///{self.database}")
        )

    async def close(self) -> None:
        await self._running.aclose()

    async def restart_worker(self) -> None:
        await self.close()
        await self.open()

    def replay_alone(self, steps: int) -> float | None:
        return microseconds_per_step(steps)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[InProcess]:
    """Run it for the length of an ``async with`` block, keeping its files in a folder."""
    system = InProcess(folder / "bench.db")
    await system.open()
    try:
        yield system
    finally:
        await system.close()
