"""What becomes of work whose payloads are lost or too large: failures in place of results."""

from __future__ import annotations

from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import PayloadLostError, PayloadTooLargeError
from durableflow.protocol.failures import from_exception, to_message
from durableflow.protocol.payload_fields import PayloadSlot

PERMANENT: Final = (PayloadLostError, PayloadTooLargeError)
"""What no later try can change."""


def fail_task(slot: PayloadSlot, error: Exception) -> bool:
    """Turn the event of a task whose result is lost into one of its failure, if it is such.

    What is lost stays lost, so a history says the same whenever it is read.
    """
    event = slot.event
    if not isinstance(error, PERMANENT) or not isinstance(event, pb.HistoryEvent):
        return False
    details = _details(error)
    if event.HasField("taskCompleted"):
        number = event.taskCompleted.taskScheduledId
        event.taskFailed.taskScheduledId = number
        event.taskFailed.failureDetails.CopyFrom(details)
    elif event.HasField("subOrchestrationInstanceCompleted"):
        number = event.subOrchestrationInstanceCompleted.taskScheduledId
        event.subOrchestrationInstanceFailed.taskScheduledId = number
        event.subOrchestrationInstanceFailed.failureDetails.CopyFrom(details)
    else:
        return False
    return True


def failed_turn(response: pb.OrchestratorResponse, error: Exception) -> pb.OrchestratorResponse:
    """Make the answer that ends an instance by an error, in place of another answer.

    Args:
        response: Says which work item is answered.
    """
    failed = pb.OrchestratorResponse(
        instanceId=response.instanceId, completionToken=response.completionToken
    )
    end = failed.actions.add(id=-1).completeOrchestration
    end.orchestrationStatus = pb.ORCHESTRATION_STATUS_FAILED
    end.failureDetails.CopyFrom(_details(error))
    return failed


def failed_activity(response: pb.ActivityResponse, error: Exception) -> pb.ActivityResponse:
    """Make the answer that fails an activity for good, in place of another answer.

    Args:
        response: Says which work item is answered.
    """
    failed = pb.ActivityResponse(
        instanceId=response.instanceId,
        taskId=response.taskId,
        completionToken=response.completionToken,
    )
    failed.failureDetails.CopyFrom(_details(error))
    return failed


def _details(error: Exception) -> pb.TaskFailureDetails:
    return to_message(from_exception(error, non_retriable=True))
