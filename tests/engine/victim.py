"""A program to be killed: a busy hub that prints a line for whatever was acknowledged.

Run as ``python -m tests.engine.victim FILE ROUND``.  An order is one activity, then it waits for
the event "go", and its output is its id.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from durableflow.engine.engine import Engine
from tests.engine.driver import Client, Worker, kinds


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def orders(worker: Worker) -> None:
    """Run orders as they come, for ever."""

    async def turns() -> None:
        while True:
            turn = await worker.turn()
            events = kinds(turn.past + turn.new)
            if not turn.past:
                await turn.call("charge")
            elif "taskCompleted" in events and "eventRaised" in events:
                await turn.finish(f'"{turn.id}"')
            else:
                await turn.complete()

    async def activities() -> None:
        while True:
            await (await worker.activity()).complete()

    await asyncio.gather(turns(), activities())


async def customer(client: Client, instance_id: str) -> None:
    await client.start(id=instance_id)
    say(f"started {instance_id}")
    await client.raise_event(instance_id, "go")
    say(f"raised {instance_id}")
    await client.completion(instance_id)
    say(f"completed {instance_id}")


async def main(file: str, number: str) -> None:
    engine = Engine(Path(file))
    await engine.open()
    client = Client(engine)
    async with Worker(engine) as worker:
        running = asyncio.create_task(orders(worker))
        for first in range(0, 1000, 10):
            await asyncio.gather(*(customer(client, f"{number}-{first + n}") for n in range(10)))
        running.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
