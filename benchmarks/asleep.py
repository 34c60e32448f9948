"""W7: very many idle orchestrations, of which the owner is killed and served again.

As a module that is run it is the process that owns the file: ``python -m benchmarks.asleep FILE``.
It reads commands, and answers each with one line.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.processes import Process, Usage
from benchmarks.sizes import Sizes
from benchmarks.systems.app import app, sleep_or_go
from durableflow import AsyncClient

HOUR: Final = 3600
BATCH: Final = 500


def measure(folder: Path, sizes: Sizes) -> dict[str, float]:
    """Schedule, kill the owner, start another one, wake some."""
    database = str(folder / "bench.db")
    with Process("benchmarks.asleep", database) as owner:
        owner.read_line()
        schedule_seconds = _ask(owner, f"schedule {sizes.asleep}")
        owner.kill()
    begin = time.perf_counter()
    with Process("benchmarks.asleep", database) as owner:
        owner.read_line()
        ready_seconds = time.perf_counter() - begin
        rss_bytes = Usage.of((owner.pid,)).rss_bytes
        wake_seconds = _ask(owner, f"wake {sizes.woken} of {sizes.asleep}")
    return {
        "w7_schedule": schedule_seconds,
        "w7_memory": rss_bytes / 1e6,
        "w7_ready": ready_seconds,
        "w7_wake": wake_seconds,
    }


def _ask(owner: Process, command: str) -> float:
    owner.write_line(command)
    return float(owner.read_line())


async def _own(database: str) -> None:
    async with app.running(task_hub=f"sqlite:///{database}") as client:
        await client.get_orchestration_state(_name(0))
        print("ready", flush=True)
        while words := (await asyncio.to_thread(sys.stdin.readline)).split():
            begin = time.perf_counter()
            if words[0] == "schedule":
                await _schedule(client, int(words[1]))
            else:
                await _wake(client, int(words[1]), int(words[3]))
            print(time.perf_counter() - begin, flush=True)


async def _schedule(client: AsyncClient, count: int) -> None:
    for done in range(0, count, BATCH):
        names = [_name(number) for number in range(done, min(done + BATCH, count))]
        start = client.schedule_new_orchestration
        await asyncio.gather(*[start(sleep_or_go, input=HOUR, instance_id=name) for name in names])
        await asyncio.gather(*[client.wait_for_orchestration_start(name) for name in names])


async def _wake(client: AsyncClient, count: int, of: int) -> None:
    names = [_name(number) for number in range(0, of, of // count)][:count]
    await asyncio.gather(*[client.raise_orchestration_event(name, "go") for name in names])
    await asyncio.gather(*[client.wait_for_orchestration_completion(name) for name in names])


def _name(number: int) -> str:
    return f"asleep-{number}"


if __name__ == "__main__":
    asyncio.run(_own(sys.argv[1]))
