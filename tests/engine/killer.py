"""A program that dies by what it runs: the activity "deadly", or the turns of "deadly" instances.

Run as ``python -m tests.engine.killer FILE``.  It runs everything that it is offered until the
instance "last", which it starts itself, is finished and nothing happens any more; then it prints
the instances that are not finished, each with the reason that its state shows, and ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from tests.engine.driver import COMPLETED, Client, Worker, kinds, settle


async def turns(worker: Worker) -> None:
    while True:
        turn = await worker.turn()
        if turn.id.startswith("deadly turn"):
            os.kill(os.getpid(), signal.SIGKILL)
        if "taskCompleted" in kinds(turn.past + turn.new):
            await turn.finish()
        else:
            await turn.call("deadly" if turn.id.startswith("deadly activity") else "harmless")


async def activities(worker: Worker) -> None:
    while True:
        activity = await worker.activity()
        if activity.name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        await activity.complete()


async def main(file: str) -> None:
    engine = Engine(Path(file))
    await engine.open()
    client = Client(engine)
    async with Worker(engine) as worker:
        running = [asyncio.create_task(turns(worker)), asyncio.create_task(activities(worker))]
        await client.start(id="last", replace=[COMPLETED, pb.ORCHESTRATION_STATUS_RUNNING, 6])
        await client.completion("last")
        await settle(engine)
        for task in running:
            task.cancel()
        reply = await engine.query_instances(pb.QueryInstancesRequest())
        left = {
            state.instanceId: state.failureDetails.errorMessage
            for state in reply.orchestrationState
            if state.orchestrationStatus != COMPLETED
        }
        os.write(1, json.dumps(left).encode())
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
