"""Carries versions of instances through engines that drop them: in the orchestrator's name.

On the engine's side ``order`` of version ``2.0`` is called ``order;version=2.0``; worker and
client see name and version apart, as everywhere.  All workers and clients of a task hub have to
agree on it, which is why only the address turns it on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.hub.calls import ForwardingHub
from durableflow.hub.guarded import GuardedTaskHub
from durableflow.hub.port import WorkItemStream
from durableflow.protocol.metadata import Metadata

Reply = TypeVar("Reply", bound=Message)

SEPARATOR: Final = ";version="

_Versioned = (
    pb.CreateInstanceRequest
    | pb.CreateSubOrchestrationAction
    | pb.ExecutionStartedEvent
    | pb.SubOrchestrationInstanceCreatedEvent
    | pb.OrchestrationState
)


class VersionsInNames(ForwardingHub):
    """A task hub whose engine sees a name where there are a name and a version."""

    def __init__(self, hub: GuardedTaskHub) -> None:
        self._hub = hub

    @property
    def description(self) -> str:
        """See ``TaskHub``."""
        return self._hub.description

    async def open(self) -> None:
        """See ``TaskHub``."""
        await self._hub.open()

    async def close(self) -> None:
        """See ``TaskHub``."""
        await self._hub.close()

    async def forward(
        self,
        method: str,
        request: Message,
        reply: type[Reply],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Reply:
        """Carry out a call, its names translated in both directions."""
        if isinstance(request, pb.CreateInstanceRequest):
            _join(request)
        elif isinstance(request, pb.OrchestratorResponse):
            for action in request.actions:
                if action.HasField("createSubOrchestration"):
                    _join(action.createSubOrchestration)
        answer = await self._hub.forward(method, request, reply, timeout=timeout, metadata=metadata)
        if isinstance(answer, pb.GetInstanceResponse):
            _split(answer.orchestrationState)
        elif isinstance(answer, pb.QueryInstancesResponse):
            for state in answer.orchestrationState:
                _split(state)
        return answer

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        """See ``TaskHub``."""
        async for chunk in self._hub.stream_instance_history(request, timeout=timeout):
            _split_events(chunk.events)
            yield chunk

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> WorkItemStream:
        """See ``TaskHub``."""
        # The names of its filters would not be those that the engine knows.
        request.ClearField("workItemFilters")
        return _Stream(self._hub.get_work_items(request, metadata=metadata))


class _Stream:
    """Work items with names and versions apart."""

    def __init__(self, stream: WorkItemStream) -> None:
        self._stream = stream

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> pb.WorkItem:
        item = await anext(self._stream)
        if item.HasField("orchestratorRequest"):
            _split_events(item.orchestratorRequest.pastEvents)
            _split_events(item.orchestratorRequest.newEvents)
        return item

    def cancel(self) -> None:
        self._stream.cancel()


def _join(message: _Versioned) -> None:
    if message.version.value:
        message.name = f"{message.name}{SEPARATOR}{message.version.value}"
        message.ClearField("version")


def _split(message: _Versioned) -> None:
    name, separator, version = message.name.rpartition(SEPARATOR)
    if separator:
        message.name = name
        message.version.value = version


def _split_events(events: Iterable[pb.HistoryEvent]) -> None:
    for event in events:
        match event.WhichOneof("eventType"):
            case "executionStarted":
                started = event.executionStarted
                _split(started)
                if started.HasField("parentInstance"):
                    parent = started.parentInstance
                    name, separator, _ = parent.name.value.rpartition(SEPARATOR)
                    if separator:
                        parent.name.value = name
            case "subOrchestrationInstanceCreated":
                _split(event.subOrchestrationInstanceCreated)
