"""A task hub whose other side is the test: it pushes work items and sees what comes back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, OperationalError
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.status import Status


class ScriptedStream:
    def __init__(self, changed: asyncio.Event) -> None:
        self.cancelled = False
        self._changed = changed
        self._items: deque[pb.WorkItem | OperationalError] = deque()
        self._news = asyncio.Event()

    def push(self, item: pb.WorkItem) -> None:
        self._items.append(item)
        self._news.set()

    def fail(self, status: Status) -> None:
        self.fail_with(CallError(status, "the stream broke"))

    def fail_with(self, error: OperationalError) -> None:
        self._items.append(error)
        self._news.set()

    def cancel(self) -> None:
        self.cancelled = True
        self._news.set()
        self._changed.set()

    def __aiter__(self) -> ScriptedStream:
        return self

    async def __anext__(self) -> pb.WorkItem:
        while not self._items:
            if self.cancelled:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        item = self._items.popleft()
        if isinstance(item, OperationalError):
            raise item
        return item


class ScriptedHub:
    """Records completions and abandons; fails calls as it is told to.

    Attributes:
        streams: Every stream that was opened, the newest last.
        failures: Statuses, or errors, that the next calls fail with, by method.
        histories: Chunks to stream, by instance id.
    """

    description = "scripted://hub"

    def __init__(self) -> None:
        self.streams: list[ScriptedStream] = []
        self.requests: list[pb.GetWorkItemsRequest] = []
        self.metadata: Metadata = ()
        self.failures: dict[str, list[Any]] = {}
        self.histories: dict[str, list[pb.HistoryEvent]] = {}
        self.streamed: list[str] = []
        self.completed: list[Any] = []
        self.abandoned: list[tuple[str, dict[str, str]]] = []
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        """Return as soon as a call has made a condition true."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hello(self, *, timeout: float | None = None) -> None:
        self._called("hello")

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> ScriptedStream:
        self.requests.append(request)
        self.metadata = metadata
        stream = ScriptedStream(self._changed)
        self.streams.append(stream)
        self._changed.set()
        return stream

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        self.streamed.append(request.instanceId)
        self._called("stream_instance_history")
        for event in self.histories[request.instanceId]:
            yield pb.HistoryChunk(events=[event])

    async def complete_orchestrator_task(
        self, request: pb.OrchestratorResponse, *, timeout: float | None = None
    ) -> pb.CompleteTaskResponse:
        return self._complete("complete_orchestrator_task", request)

    async def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> pb.CompleteTaskResponse:
        return self._complete("complete_activity_task", request)

    async def abandon_orchestrator_task(
        self, request: pb.AbandonOrchestrationTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonOrchestrationTaskResponse:
        self._called("abandon_orchestrator_task")
        self.abandoned.append((request.completionToken, dict(metadata)))
        return pb.AbandonOrchestrationTaskResponse()

    async def abandon_activity_task(
        self, request: pb.AbandonActivityTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonActivityTaskResponse:
        self._called("abandon_activity_task")
        self.abandoned.append((request.completionToken, dict(metadata)))
        return pb.AbandonActivityTaskResponse()

    def _complete(self, method: str, request: Any) -> pb.CompleteTaskResponse:
        try:
            self._called(method)
            self.completed.append(type(request).FromString(request.SerializeToString()))
        finally:
            request.Clear()  # a message belongs to its receiver
        return pb.CompleteTaskResponse()

    def _called(self, method: str) -> None:
        self._changed.set()
        failures = self.failures.get(method)
        if failures:
            failure = failures.pop(0)
            raise (
                failure
                if isinstance(failure, Exception)
                else CallError(failure, f"{method} failed")
            )


def activity_item(
    name: str,
    *,
    input: str | None = None,
    token: str = "t1",
    task_id: int = 1,
    execution_id: str = "e1",
    version: str | None = None,
) -> pb.WorkItem:
    item = pb.WorkItem(completionToken=token)
    request = item.activityRequest
    request.name = name
    request.taskId = task_id
    request.orchestrationInstance.instanceId = "a1"
    request.orchestrationInstance.executionId.value = execution_id
    if input is not None:
        request.input.value = input
    if version is not None:
        request.version.value = version
    return item
