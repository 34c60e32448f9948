"""Instances as clients see them.  Pure."""

from __future__ import annotations

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.state import Instance
from durableflow.protocol.times import set_micros

# The error type under which a parked instance shows why it waits; the kind follows the dot.
PARKED = "durableflow.Parked"


def state_of(instance: Instance, *, payloads: bool) -> pb.OrchestrationState:
    """The complete state of an instance.

    Args:
        payloads: Also input and output; the custom status and failures are always there.
    """
    state = pb.OrchestrationState(
        instanceId=instance.instance_id,
        name=instance.name,
        orchestrationStatus=instance.status,  # type: ignore[arg-type]  # the stub wants its own int type
        tags=instance.tags,
    )
    state.executionId.value = instance.execution_id
    if instance.version is not None:
        state.version.value = instance.version
    set_micros(state.createdTimestamp, instance.created)
    set_micros(state.lastUpdatedTimestamp, instance.updated)
    if instance.scheduled is not None:
        set_micros(state.scheduledStartTimestamp, instance.scheduled)
    if instance.completed is not None:
        set_micros(state.completedTimestamp, instance.completed)
    if instance.custom_status is not None:
        state.customStatus.value = instance.custom_status
    if instance.parent is not None:
        parent = pb.ParentInstanceInfo.FromString(instance.parent)
        state.parentInstanceId.value = parent.orchestrationInstance.instanceId
    if payloads and instance.input is not None:
        state.input.value = instance.input
    if payloads and instance.output is not None:
        state.output.value = instance.output
    if instance.failure is not None:
        state.failureDetails.ParseFromString(instance.failure)
    elif instance.parked is not None:
        state.failureDetails.errorType = f"{PARKED}.{instance.parked.kind}"
        state.failureDetails.errorMessage = instance.parked.reason
    return state


def reply_of(instance: Instance | None, *, payloads: bool) -> pb.GetInstanceResponse:
    """The answer to GetInstance; an unknown id is no error."""
    if instance is None:
        return pb.GetInstanceResponse(exists=False)
    return pb.GetInstanceResponse(
        exists=True, orchestrationState=state_of(instance, payloads=payloads)
    )
