"""The one interface between what runs orchestrations and what keeps them: ``TaskHub``.

One method for each call of the Durable Task service, protocol messages in and out.  The embedded
engine implements it in process, ``hub.remote`` over gRPC; worker and client know nothing else.

Rules for both sides:

- Every method is called on the hub loop (``hub.loop``).
- A message belongs to whoever receives it.  The sender neither keeps nor changes any part of it.
- A call that the engine refuses raises ``CallError`` with the status that gRPC would carry.  A
  deadline that passes raises it with ``DEADLINE_EXCEEDED``, a lost connection or an engine that
  is going away with ``UNAVAILABLE``.
- Calls that nobody carries out raise it with ``UNIMPLEMENTED``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias, runtime_checkable

from durableflow._proto import task_hub_pb2 as pb
from durableflow.hub.address import TaskHubAddress
from durableflow.hub.options import HubOptions
from durableflow.protocol.metadata import Metadata


class TaskHub(Protocol):
    """A Durable Task hub: starts, keeps and dispatches orchestration instances."""

    @property
    def description(self) -> str:
        """Where this hub is, fit for people: an absolute address without secrets."""

    async def open(self) -> None:
        """Connect, or open the file.

        Raises:
            TaskHubUnavailableError: nobody answers (only where that is known at once).
            StorageError: the file cannot be used.
        """

    async def close(self) -> None:
        """Let go of everything; calls in flight end with UNAVAILABLE.  Idempotent."""

    async def hello(self, *, timeout: float | None = None) -> None:
        """Check that the engine answers."""

    async def start_instance(
        self, request: pb.CreateInstanceRequest, *, timeout: float | None = None
    ) -> pb.CreateInstanceResponse: ...

    async def get_instance(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse: ...

    async def wait_for_instance_start(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse: ...

    async def wait_for_instance_completion(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse: ...

    async def raise_event(
        self, request: pb.RaiseEventRequest, *, timeout: float | None = None
    ) -> pb.RaiseEventResponse: ...

    async def suspend_instance(
        self, request: pb.SuspendRequest, *, timeout: float | None = None
    ) -> pb.SuspendResponse: ...

    async def resume_instance(
        self, request: pb.ResumeRequest, *, timeout: float | None = None
    ) -> pb.ResumeResponse: ...

    async def terminate_instance(
        self, request: pb.TerminateRequest, *, timeout: float | None = None
    ) -> pb.TerminateResponse: ...

    async def purge_instances(
        self, request: pb.PurgeInstancesRequest, *, timeout: float | None = None
    ) -> pb.PurgeInstancesResponse: ...

    async def query_instances(
        self, request: pb.QueryInstancesRequest, *, timeout: float | None = None
    ) -> pb.QueryInstancesResponse: ...

    def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]: ...

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> WorkItemStream: ...

    def complete_orchestrator_task(
        self, request: pb.OrchestratorResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        """Hand in a turn.  The reply says nothing but that it was taken.

        An engine in this process takes it at once, before anybody awaits, may raise at once, and
        gives back a plain future, so that the caller needs no task of its own to wait with.
        """

    def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        """Hand in an activity's answer, as ``complete_orchestrator_task`` does a turn."""

    async def abandon_orchestrator_task(
        self, request: pb.AbandonOrchestrationTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonOrchestrationTaskResponse: ...

    async def abandon_activity_task(
        self, request: pb.AbandonActivityTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonActivityTaskResponse: ...


class WorkItemStream(Protocol):
    """Work items as they come.  Iterating starts the stream; ``cancel`` ends it.

    The iteration ends normally after ``cancel``, and with ``CallError`` (UNAVAILABLE, …) when the
    engine ended the stream.
    """

    def __aiter__(self) -> WorkItemStream: ...

    async def __anext__(self) -> pb.WorkItem: ...

    def cancel(self) -> None:
        """End the stream.  Idempotent; safe while another task iterates."""


@runtime_checkable
class KnowsTakers(Protocol):
    """A task hub that can say which work its workers take; the protocol has no call for it."""

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        """Return the part of some work that a connected worker takes.

        Args:
            work: Names, each with the exact versions that are in question, ``""`` for none.

        Raises:
            CallError: it cannot be said at present.
        """


TaskHubFactory: TypeAlias = Callable[[TaskHubAddress, HubOptions], TaskHub]
"""Makes the task hub of an address, not opened yet; plugins bring them by scheme."""
