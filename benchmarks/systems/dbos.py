"""DBOS on SQLite, in one process, as its documentation shows it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from dbos import DBOS, DBOSConfig

POLL_SECONDS: Final = 0.02

_asleep = 0
_asleep_lock = threading.Lock()


@DBOS.step()
def increment(number: int) -> int:
    return number + 1


@DBOS.step()
async def increment_async(number: int) -> int:
    return number + 1


@DBOS.step()
def now() -> float:
    return time.monotonic()


@DBOS.workflow()
def chain(steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = increment(number)
    return number


@DBOS.workflow()
async def fan(width: int) -> int:
    return sum(await asyncio.gather(*[increment_async(i) for i in range(width)]))


@DBOS.workflow()
def stamps(steps: int) -> list[float]:
    return [now() for _ in range(steps)]


@DBOS.workflow()
def sleep(seconds: int) -> None:
    global _asleep
    with _asleep_lock:
        _asleep += 1
    DBOS.sleep(seconds)


_WORKFLOWS: Final = {"chain": chain, "stamps": stamps, "sleep": sleep}


class Dbos:
    """See ``System``; instances are handles of workflows."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.pids = (os.getpid(),)

    async def start(self, orchestrator: str, inputs: Sequence[int]) -> list[Any]:
        if orchestrator == "fan":
            return [await DBOS.start_workflow_async(fan, number) for number in inputs]
        workflow = _WORKFLOWS[orchestrator]
        return await asyncio.to_thread(
            lambda: [DBOS.start_workflow(workflow, number) for number in inputs]
        )

    async def wait_started(self, instances: Sequence[Any]) -> None:
        while _asleep < len(instances):
            await asyncio.sleep(POLL_SECONDS)

    async def wait(self, instances: Sequence[Any]) -> list[Any]:
        if instances and asyncio.iscoroutinefunction(instances[0].get_result):
            return [await instance.get_result() for instance in instances]
        return await asyncio.to_thread(lambda: [instance.get_result() for instance in instances])


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Dbos]:
    """Run it for the length of an ``async with`` block, keeping its files in a folder."""
    database = folder / "bench.sqlite"
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{database}",
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    yield Dbos(database)
    os._exit(0)  # destroying it waits for workflows that sleep, and so does leaving Python
