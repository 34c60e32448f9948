"""Between the models that clients see and the protocol's messages; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.models import (
    InstanceId,
    OrchestrationQuery,
    OrchestrationState,
    OrchestrationStatus,
    PurgeInstancesResult,
)
from durableflow.converter import Converter
from durableflow.protocol.failures import FailureDetails, from_message
from durableflow.protocol.times import from_timestamp, to_timestamp


def state_of(
    message: pb.OrchestrationState,
    converter: Converter,
    *,
    asked: str = "",
    fetched_payloads: bool = True,
) -> OrchestrationState[Any]:
    """Read an instance's state.

    Args:
        message: As the engine sent it.
        converter: For the state's typed accessors.
        asked: The id that the caller asked by; an ``InstanceId`` knows the type of the output.
        fetched_payloads: Whether input and output were asked for.
    """
    status = OrchestrationStatus(message.orchestrationStatus)
    failure = _failure(message)
    return OrchestrationState(
        instance_id=asked if isinstance(asked, InstanceId) else InstanceId(message.instanceId),
        name=message.name,
        version=_text(message, "version"),
        runtime_status=status,
        created_at=from_timestamp(message.createdTimestamp),
        last_updated_at=from_timestamp(message.lastUpdatedTimestamp),
        completed_at=_time(message, "completedTimestamp"),
        scheduled_start_at=_time(message, "scheduledStartTimestamp"),
        execution_id=_text(message, "executionId"),
        parent_instance_id=_text(message, "parentInstanceId"),
        tags=dict(message.tags),
        serialized_input=_text(message, "input"),
        serialized_output=_text(message, "output"),
        serialized_custom_status=_text(message, "customStatus"),
        failure_details=failure if status.is_terminal else None,
        parked=None if status.is_terminal else failure,
        fetched_payloads=fetched_payloads,
        converter=converter,
    )


def purged(message: pb.PurgeInstancesResponse) -> PurgeInstancesResult:
    """Read what a purge did."""
    complete = message.isComplete.value if message.HasField("isComplete") else None
    return PurgeInstancesResult(message.deletedInstanceCount, complete)


def query_request(query: OrchestrationQuery, token: str) -> pb.QueryInstancesRequest:
    """Ask for one page; an empty token asks for the first."""
    request = pb.QueryInstancesRequest()
    message = request.query
    message.runtimeStatus.extend(wire_statuses(query.runtime_status or ()))
    message.maxInstanceCount = query.max_instance_count
    message.fetchInputsAndOutputs = query.fetch_inputs_and_outputs
    if query.created_time_from is not None:
        message.createdTimeFrom.CopyFrom(to_timestamp(query.created_time_from))
    if query.created_time_to is not None:
        message.createdTimeTo.CopyFrom(to_timestamp(query.created_time_to))
    if query.instance_id_prefix is not None:
        message.instanceIdPrefix.value = query.instance_id_prefix
    if token:
        message.continuationToken.value = token
    return request


def wire_statuses(statuses: Iterable[OrchestrationStatus]) -> list[pb.OrchestrationStatus]:
    """Name statuses as the protocol does."""
    return [cast(pb.OrchestrationStatus, status.value) for status in statuses]


def next_token(message: pb.QueryInstancesResponse, current: str) -> str:
    """Return the token of the next page; "" after the last one.

    Engines end with no token, with an empty one, with "0", or by repeating the last one.
    """
    token = message.continuationToken.value
    return "" if token in ("0", current) else token


def _failure(message: pb.OrchestrationState) -> FailureDetails | None:
    # Some engines send empty details with a success.
    details = message.failureDetails
    if not message.HasField("failureDetails") or not (details.errorType or details.errorMessage):
        return None
    return from_message(details)


def _text(message: Message, field: str) -> str | None:
    return getattr(message, field).value or None if message.HasField(field) else None


def _time(message: Message, field: str) -> Any:
    return from_timestamp(getattr(message, field)) if message.HasField(field) else None
