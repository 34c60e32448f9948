"""A program that fills a hub with idle instances and prints how much memory that took.

Run as ``python -m tests.engine.idle FILE COUNT BYTES``: instances with inputs of so many bytes that
all wait for an event.  Prints the growth of the process's peak memory, in bytes.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from durableflow.engine.engine import Engine
from tests.engine.driver import Client, Worker


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def fill(client: Client, worker: Worker, first: int, count: int, text: str) -> None:
    for start in range(first, first + count, 100):
        ids = [f"{n}" for n in range(start, min(start + 100, first + count))]
        await asyncio.gather(*(client.start(id=one, input=text) for one in ids))
        turns = [await worker.turn() for _ in ids]
        await asyncio.gather(*(turn.complete() for turn in turns))


async def main(file: str, count: str, size: str) -> None:
    engine = Engine(Path(file))
    await engine.open()
    client = Client(engine)
    text = "x" * int(size)
    async with Worker(engine, sessions=True) as worker:
        await fill(client, worker, 0, 300, text)
        before = peak_bytes()
        await fill(client, worker, 300, int(count), text)
        print(peak_bytes() - before)  # noqa: T201  # read by the test
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
