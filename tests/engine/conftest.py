"""Engines that close themselves, on a file of the test or in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from durableflow.engine.clock import Clock
from durableflow.engine.engine import Engine
from tests.engine.driver import Client, LoopTime, ManualClock, Worker

OpenEngine = Callable[..., Awaitable[Engine]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def loop_time() -> LoopTime:
    return LoopTime()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
async def opened(file: Path) -> AsyncIterator[OpenEngine]:
    """Open engines on the test's file; ``opened()`` after ``close`` is a restart."""
    engines: list[Engine] = []

    async def opening(path: Path | None = file, clock: Clock | None = None) -> Engine:
        engine = Engine(path, clock=clock)
        await engine.open()
        engines.append(engine)
        return engine

    yield opening
    for engine in engines:
        await engine.close()


@pytest.fixture
async def engine(opened: OpenEngine) -> Engine:
    return await opened()


@pytest.fixture
def client(engine: Engine) -> Client:
    return Client(engine)


@pytest.fixture
async def worker(engine: Engine) -> AsyncIterator[Worker]:
    """A worker that takes everything."""
    async with Worker(engine) as worker:
        yield worker
