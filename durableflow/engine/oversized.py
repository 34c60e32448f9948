"""Work items that are larger than their worker's connection takes: answered in the worker's place.

To send one would break the stream, and the item would be the first to come on the next one, for
ever.  So a turn is given back with the reason, which parks its instance until a worker comes that
takes more; an activity fails, as everything does that is too large.
"""

from __future__ import annotations

import logging

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import PayloadTooLargeError
from durableflow.hub.lost_payloads import failed_activity
from durableflow.hub.payload_stream import PAYLOAD
from durableflow.hub.port import TaskHub
from durableflow.protocol import metadata as keys
from durableflow.protocol.metadata import Metadata

logger = logging.getLogger(__name__)


def limit_of(metadata: Metadata) -> int | None:
    """Return how large a message a stream takes, in bytes; None if it has not said."""
    said = keys.get(metadata, keys.MAX_MESSAGE_BYTES) or ""
    return int(said) if said.isdecimal() else None


def fits(item: pb.WorkItem, limit: int) -> bool:
    """Whether an item can be sent."""
    return item.ByteSize() <= limit


async def refuse(hub: TaskHub, item: pb.WorkItem, limit: int) -> None:
    """Answer an item that does not fit, and log it.

    Raises:
        CallError: the hub is in trouble itself.
    """
    token = item.completionToken
    if item.HasField("activityRequest"):
        activity = item.activityRequest
        instance_id = activity.orchestrationInstance.instanceId
        error = _too_large(item, limit, f"call of activity '{activity.name}'", instance_id)
        response = pb.ActivityResponse(
            instanceId=instance_id, taskId=activity.taskId, completionToken=token
        )
        await hub.complete_activity_task(failed_activity(response, error))
        return
    instance_id = item.orchestratorRequest.instanceId
    error = _too_large(item, limit, "next turn", instance_id)
    reason = keys.encode_text(f"{type(error).__name__}: {error}")
    await hub.abandon_orchestrator_task(
        pb.AbandonOrchestrationTaskRequest(completionToken=token),
        metadata=((keys.ABANDON_KIND, PAYLOAD), (keys.ABANDON_REASON, reason)),
    )


def _too_large(item: pb.WorkItem, limit: int, what: str, instance_id: str) -> PayloadTooLargeError:
    size = item.ByteSize()
    error = PayloadTooLargeError(
        f"The {what} of instance '{instance_id}' is too large for its worker: {size:,} bytes, of "
        f"which that worker accepts {limit:,}. Raise max_message_bytes for the worker and start "
        "it again.",
        place=what,
        size_bytes=size,
        limit_bytes=limit,
    )
    logger.error("%s", error)
    return error
