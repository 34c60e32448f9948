"""A process that takes part in a task hub: ``python participant.py FILE ROLE [serve]``.

Prints "open" once it is in, serves everything that comes if it is told to, and leaves in good
order when its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.joining import FileTaskHub
from durableflow.errors import CallError
from durableflow.hub.options import HubOptions
from durableflow.protocol.actions import complete_orchestration


async def serve(hub: FileTaskHub) -> None:
    """Finish every instance with the id of this process's role, again after each lost stream."""
    while True:
        try:
            async for item in hub.get_work_items(pb.GetWorkItemsRequest()):
                if item.HasField("orchestratorRequest"):
                    response = pb.OrchestratorResponse(
                        instanceId=item.orchestratorRequest.instanceId,
                        completionToken=item.completionToken,
                        actions=[
                            complete_orchestration(1, pb.ORCHESTRATION_STATUS_COMPLETED, result="1")
                        ],
                    )
                    await hub.complete_orchestrator_task(response)
        except CallError:
            continue


async def main(file: str, role: str, *rest: str) -> None:
    hub = FileTaskHub(Path(file), HubOptions(role="worker" if role == "worker" else "client"))
    await hub.open()
    serving = asyncio.create_task(serve(hub)) if rest else None
    print("open", flush=True)  # noqa: T201 - the test reads it
    await asyncio.to_thread(sys.stdin.read)
    if serving is not None:
        serving.cancel()
    await hub.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
