"""Which fields of the protocol carry payloads: the table, and the search for them in a message.

Every text field of the protocol that can be absent (a ``StringValue``) is in one of two tables.
Payloads are what users' values became; they may be stored elsewhere or changed on the way.  All
others are ids, names, versions and words for people, which nothing may touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

import attrs
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message


@attrs.frozen
class PayloadField:
    """A field of the protocol that carries a payload.

    Attributes:
        message: The message it belongs to, for example ``ActivityResponse``.
        name: Its name there, for example ``result``.
        what: What it is, for people: ``result of an activity``.
        crosses: Whether the payload may be referred to by other instances than the one that it
            is sent for, so that it has to outlive that one.  (A codec is told no of the result of
            an orchestration that is known to have no parent.)
    """

    message: str
    name: str
    what: str
    crosses: bool


@attrs.define(eq=False)
class PayloadSlot:
    """A payload in a message.

    Attributes:
        field: Which field it is.
        message: What has the field.
        event: The event of a history that the message belongs to; None outside of histories.
    """

    field: PayloadField
    message: Message
    event: Message | None

    @property
    def text(self) -> str:
        """The payload."""
        text: str = getattr(self.message, self.field.name).value
        return text

    @text.setter
    def text(self, text: str) -> None:
        getattr(self.message, self.field.name).value = text


# What instances send to one another crosses; what stays in the history of one does not.
_CROSSING: Final = {
    "CompleteOrchestrationAction.result": "result of an orchestration",
    "ContinueAsNewEvent.input": "new input of an orchestration",
    "CreateInstanceRequest.input": "input of an orchestration",
    "CreateSubOrchestrationAction.input": "input of a sub-orchestration",
    "EntityOperationCalledEvent.input": "input of an entity operation",
    "EntityOperationCompletedEvent.output": "result of an entity operation",
    "EntityOperationSignaledEvent.input": "input of an entity operation",
    "EventRaisedEvent.input": "data of an event",
    "EventSentEvent.input": "data of an event",
    "ExecutionCompletedEvent.result": "result of an orchestration",
    "ExecutionRewoundEvent.input": "input of an orchestration",
    "ExecutionStartedEvent.input": "input of an orchestration",
    "ExecutionTerminatedEvent.input": "output of a terminated orchestration",
    "OperationRequest.input": "input of an entity operation",
    "OperationResultSuccess.result": "result of an entity operation",
    "OrchestrationState.input": "input of an orchestration",
    "OrchestrationState.output": "result of an orchestration",
    "RaiseEventRequest.input": "data of an event",
    "SendEventAction.data": "data of an event",
    "SendSignalAction.input": "input of an entity operation",
    "SignalEntityRequest.input": "input of an entity operation",
    "StartNewOrchestrationAction.input": "input of an orchestration",
    "SubOrchestrationInstanceCompletedEvent.result": "result of a sub-orchestration",
    "SubOrchestrationInstanceCreatedEvent.input": "input of a sub-orchestration",
    "TerminateRequest.output": "output of a terminated orchestration",
}
_PRIVATE: Final = {
    "ActivityRequest.input": "input of an activity",
    "ActivityResponse.result": "result of an activity",
    "EntityBatchRequest.entityState": "state of an entity",
    "EntityBatchResult.entityState": "state of an entity",
    "EntityMetadata.serializedState": "state of an entity",
    "EntityRequest.entityState": "state of an entity",
    "GenericEvent.data": "data of a generic event",
    "OrchestrationState.customStatus": "custom status of an orchestration",
    "OrchestratorResponse.customStatus": "custom status of an orchestration",
    "ScheduleTaskAction.input": "input of an activity",
    "TaskCompletedEvent.result": "result of an activity",
    "TaskScheduledEvent.input": "input of an activity",
}


def _fields(table: dict[str, str], *, crosses: bool) -> dict[str, PayloadField]:
    return {
        key: PayloadField(key.partition(".")[0], key.partition(".")[2], what, crosses)
        for key, what in table.items()
    }


PAYLOADS: Final = _fields(_CROSSING, crosses=True) | _fields(_PRIVATE, crosses=False)
"""By ``Message.field``."""

OTHERS: Final = {
    "an id": (
        "CreateInstanceRequest.executionId",
        "EntityLockRequestedEvent.parentInstanceId",
        "EntityMetadata.lockedBy",
        "EntityOperationCalledEvent.parentExecutionId",
        "EntityOperationCalledEvent.parentInstanceId",
        "EntityOperationCalledEvent.targetInstanceId",
        "EntityOperationSignaledEvent.targetInstanceId",
        "EntityQuery.instanceIdStartsWith",
        "EntityUnlockSentEvent.parentInstanceId",
        "EntityUnlockSentEvent.targetInstanceId",
        "ExecutionRewoundEvent.instanceId",
        "ExecutionRewoundEvent.parentExecutionId",
        "InstanceQuery.instanceIdPrefix",
        "OrchestrationInstance.executionId",
        "OrchestrationState.executionId",
        "OrchestrationState.parentInstanceId",
        "OrchestratorRequest.executionId",
        "StreamInstanceHistoryRequest.executionId",
    ),
    "a name": (
        "ExecutionRewoundEvent.name",
        "InstanceQuery.taskHubNames",
        "ParentInstanceInfo.name",
    ),
    "a version": (
        "ActivityRequest.version",
        "CompleteOrchestrationAction.newVersion",
        "CreateInstanceRequest.version",
        "CreateSubOrchestrationAction.version",
        "ExecutionRewoundEvent.version",
        "ExecutionStartedEvent.version",
        "OrchestrationState.version",
        "ParentInstanceInfo.version",
        "ScheduleTaskAction.version",
        "StartNewOrchestrationAction.version",
        "SubOrchestrationInstanceCreatedEvent.version",
        "TaskScheduledEvent.version",
    ),
    "a place in a list that is read in pages": (
        "CleanEntityStorageRequest.continuationToken",
        "CleanEntityStorageResponse.continuationToken",
        "EntityQuery.continuationToken",
        "InstanceQuery.continuationToken",
        "ListInstanceIdsRequest.lastInstanceKey",
        "ListInstanceIdsResponse.lastInstanceKey",
        "QueryEntitiesResponse.continuationToken",
        "QueryInstancesResponse.continuationToken",
    ),
    # The reasons of suspending and resuming become the input of events.  They are text as somebody
    # typed it, not JSON, so nothing could tell them from what a codec made.
    "words for people": (
        "CompleteOrchestrationAction.details",
        "ExecutionResumedEvent.input",
        "ExecutionRewoundEvent.reason",
        "ExecutionSuspendedEvent.input",
        "ResumeRequest.reason",
        "RewindInstanceRequest.reason",
        "SkipGracefulOrchestrationTerminationsRequest.reason",
        "SuspendRequest.reason",
        "TaskFailureDetails.stackTrace",
        "TerminateOrchestrationAction.reason",
    ),
    "a place in a trace": (
        "ExecutionStartedEvent.orchestrationSpanID",
        "OrchestrationTraceContext.spanID",
        "TraceContext.traceState",
    ),
}
"""What is no payload, by what it is instead."""

REPLAYED: Final = frozenset(
    {
        "EntityOperationCompletedEvent.output",
        "EventRaisedEvent.input",
        "ExecutionStartedEvent.input",
        "SubOrchestrationInstanceCompletedEvent.result",
        "TaskCompletedEvent.result",
    }
)
"""The payloads of a history that replaying it reads.  All others only repeat what was sent."""


@attrs.frozen
class _Search:
    """Where in a kind of message payloads can be."""

    payloads: tuple[PayloadField, ...]
    parts: tuple[str, ...]
    choices: tuple[tuple[str, frozenset[str]], ...]

    def __bool__(self) -> bool:
        return bool(self.payloads or self.parts or self.choices)


def payload_slots(message: Message, *, replayed_only: bool = False) -> Iterator[PayloadSlot]:
    """Yield the payloads that a message carries, however deep in it.

    Args:
        message: Not to be changed while this goes on, except for the payloads.
        replayed_only: Of the events of histories, those payloads only that replaying reads.
    """
    return _slots(message, None, replayed_only)


def _slots(message: Message, event: Message | None, replayed_only: bool) -> Iterator[PayloadSlot]:
    search = _search(message.DESCRIPTOR)
    if message.DESCRIPTOR.name == "HistoryEvent":
        event = message
    for field in search.payloads:
        if message.HasField(field.name) and not (
            replayed_only and event is not None and f"{field.message}.{field.name}" not in REPLAYED
        ):
            yield PayloadSlot(field, message, event)
    for choice, members in search.choices:
        name = message.WhichOneof(choice)
        if name in members:
            yield from _slots(getattr(message, name), event, replayed_only)
    for name in search.parts:
        part = getattr(message, name)
        if not isinstance(part, Message):
            for item in part:
                yield from _slots(item, event, replayed_only)
        elif message.HasField(name):
            yield from _slots(part, event, replayed_only)


@cache
def _search(descriptor: Descriptor) -> _Search:
    return _search_within(descriptor, frozenset())


def _search_within(descriptor: Descriptor, above: frozenset[str]) -> _Search:
    """Find out where payloads can be; ``above`` are the kinds that this one is part of."""
    payloads, parts = [], []
    choices: dict[str, set[str]] = {}
    for field in descriptor.fields:
        kind = field.message_type
        payload = PAYLOADS.get(f"{descriptor.name}.{field.name}")
        if payload is not None:
            payloads.append(payload)
        elif not _has_payloads(kind, above | {descriptor.full_name}):
            continue
        elif field.containing_oneof is not None:
            choices.setdefault(field.containing_oneof.name, set()).add(field.name)
        else:
            parts.append(field.name)
    return _Search(
        tuple(payloads),
        tuple(parts),
        tuple((name, frozenset(members)) for name, members in choices.items()),
    )


def _has_payloads(kind: Descriptor | None, above: frozenset[str]) -> bool:
    if kind is None or kind.full_name in above or kind.GetOptions().map_entry:
        return False
    return bool(_search_within(kind, above))
