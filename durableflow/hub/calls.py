"""The methods of ``TaskHub`` written over one: for hubs that pass every call on to another place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.hub.port import WorkItemStream
from durableflow.protocol.metadata import Metadata

Reply = TypeVar("Reply", bound=Message)


class ForwardingHub(ABC):
    """Every call of the port, forwarded by the name of its method (``protocol.service``)."""

    @abstractmethod
    async def forward(
        self,
        method: str,
        request: Message,
        reply: type[Reply],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Reply:
        """Carry out a call with one reply."""

    @abstractmethod
    def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        """See ``TaskHub``."""

    @abstractmethod
    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> WorkItemStream:
        """See ``TaskHub``."""

    async def hello(self, *, timeout: float | None = None) -> None:
        await self.forward("hello", Empty(), Empty, timeout=timeout)

    async def start_instance(
        self, request: pb.CreateInstanceRequest, *, timeout: float | None = None
    ) -> pb.CreateInstanceResponse:
        return await self.forward(
            "start_instance", request, pb.CreateInstanceResponse, timeout=timeout
        )

    async def get_instance(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse:
        return await self.forward("get_instance", request, pb.GetInstanceResponse, timeout=timeout)

    async def wait_for_instance_start(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse:
        return await self.forward(
            "wait_for_instance_start", request, pb.GetInstanceResponse, timeout=timeout
        )

    async def wait_for_instance_completion(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse:
        return await self.forward(
            "wait_for_instance_completion", request, pb.GetInstanceResponse, timeout=timeout
        )

    async def raise_event(
        self, request: pb.RaiseEventRequest, *, timeout: float | None = None
    ) -> pb.RaiseEventResponse:
        return await self.forward("raise_event", request, pb.RaiseEventResponse, timeout=timeout)

    async def suspend_instance(
        self, request: pb.SuspendRequest, *, timeout: float | None = None
    ) -> pb.SuspendResponse:
        return await self.forward("suspend_instance", request, pb.SuspendResponse, timeout=timeout)

    async def resume_instance(
        self, request: pb.ResumeRequest, *, timeout: float | None = None
    ) -> pb.ResumeResponse:
        return await self.forward("resume_instance", request, pb.ResumeResponse, timeout=timeout)

    async def terminate_instance(
        self, request: pb.TerminateRequest, *, timeout: float | None = None
    ) -> pb.TerminateResponse:
        return await self.forward(
            "terminate_instance", request, pb.TerminateResponse, timeout=timeout
        )

    async def purge_instances(
        self, request: pb.PurgeInstancesRequest, *, timeout: float | None = None
    ) -> pb.PurgeInstancesResponse:
        return await self.forward(
            "purge_instances", request, pb.PurgeInstancesResponse, timeout=timeout
        )

    async def query_instances(
        self, request: pb.QueryInstancesRequest, *, timeout: float | None = None
    ) -> pb.QueryInstancesResponse:
        return await self.forward(
            "query_instances", request, pb.QueryInstancesResponse, timeout=timeout
        )

    def complete_orchestrator_task(
        self, request: pb.OrchestratorResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        return self.forward(
            "complete_orchestrator_task", request, pb.CompleteTaskResponse, timeout=timeout
        )

    def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        return self.forward(
            "complete_activity_task", request, pb.CompleteTaskResponse, timeout=timeout
        )

    async def abandon_orchestrator_task(
        self, request: pb.AbandonOrchestrationTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonOrchestrationTaskResponse:
        return await self.forward(
            "abandon_orchestrator_task",
            request,
            pb.AbandonOrchestrationTaskResponse,
            metadata=metadata,
        )

    async def abandon_activity_task(
        self, request: pb.AbandonActivityTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonActivityTaskResponse:
        return await self.forward(
            "abandon_activity_task", request, pb.AbandonActivityTaskResponse, metadata=metadata
        )
