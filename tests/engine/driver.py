"""Scripted workers and clients of a task hub: each step of a work item is a call in the test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError
from durableflow.hub.port import TaskHub
from durableflow.protocol import metadata
from durableflow.protocol.actions import complete_orchestration, schedule_task
from durableflow.protocol.times import set_micros

DEADLINE_SECONDS = 10.0

RUNNING = pb.ORCHESTRATION_STATUS_RUNNING
COMPLETED = pb.ORCHESTRATION_STATUS_COMPLETED
FAILED = pb.ORCHESTRATION_STATUS_FAILED
TERMINATED = pb.ORCHESTRATION_STATUS_TERMINATED
PENDING = pb.ORCHESTRATION_STATUS_PENDING
SUSPENDED = pb.ORCHESTRATION_STATUS_SUSPENDED

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# The id of the action that ends an orchestration; nothing confirms it.
END = 999

_fences = itertools.count(1)


def kind(event: pb.HistoryEvent) -> str:
    return event.WhichOneof("eventType") or ""


def kinds(events: Iterable[pb.HistoryEvent]) -> list[str]:
    return [kind(event) for event in events]


def names(events: Iterable[pb.HistoryEvent]) -> list[str]:
    """Return the names of the raised events among ``events``."""
    return [event.eventRaised.name for event in events if kind(event) == "eventRaised"]


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: int = 1_900_000_000 * SECOND, *, announces: bool = True) -> None:
        self._now = now
        self._announces = announces
        self._callbacks: list[Callable[[], None]] = []

    def now(self) -> int:
        return self._now

    @property
    def listeners(self) -> int:
        return len(self._callbacks)

    def on_jump(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def advance(self, micros: int) -> None:
        self._now += micros
        if self._announces:
            for callback in self._callbacks:
                callback()


class LoopTime:
    """Moves the time by which the running loop measures its delays."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._base = self._loop.time
        self._skipped = 0.0
        self._loop.time = lambda: self._base() + self._skipped

    async def advance(self, seconds: float) -> None:
        """Let a delay pass at once, and run what was due."""
        self._skipped += seconds
        for _ in range(5):
            await asyncio.sleep(0)


class Client:
    """The calls of a client, with as few words as a test needs."""

    def __init__(self, hub: TaskHub) -> None:
        self.hub = hub

    async def start(  # noqa: PLR0913  # all but the name by keyword
        self,
        name: str = "order",
        *,
        id: str = "",
        input: str | None = None,
        version: str | None = None,
        at: int | None = None,
        replace: Sequence[int] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        request = pb.CreateInstanceRequest(name=name, instanceId=id, tags=tags)
        if input is not None:
            request.input.value = input
        if version is not None:
            request.version.value = version
        if at is not None:
            set_micros(request.scheduledStartTimestamp, at)
        if replace is not None:
            request.orchestrationIdReusePolicy.replaceableStatus.extend(replace)
        return (await self.hub.start_instance(request)).instanceId

    async def state(self, instance_id: str) -> pb.OrchestrationState:
        found = await self.find(instance_id)
        assert found is not None, f"no instance {instance_id}"
        return found

    async def find(self, instance_id: str) -> pb.OrchestrationState | None:
        request = pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
        reply = await self.hub.get_instance(request)
        return reply.orchestrationState if reply.exists else None

    async def status(self, instance_id: str) -> int:
        return (await self.state(instance_id)).orchestrationStatus

    async def raise_event(self, instance_id: str, name: str, data: str | None = None) -> None:
        request = pb.RaiseEventRequest(instanceId=instance_id, name=name)
        if data is not None:
            request.input.value = data
        await self.hub.raise_event(request)

    async def suspend(self, instance_id: str, reason: str = "") -> None:
        request = pb.SuspendRequest(instanceId=instance_id)
        request.reason.value = reason
        await self.hub.suspend_instance(request)

    async def resume(self, instance_id: str) -> None:
        await self.hub.resume_instance(pb.ResumeRequest(instanceId=instance_id))

    async def terminate(
        self, instance_id: str, output: str | None = None, *, recursive: bool = False
    ) -> None:
        request = pb.TerminateRequest(instanceId=instance_id, recursive=recursive)
        if output is not None:
            request.output.value = output
        await self.hub.terminate_instance(request)

    async def purge(self, instance_id: str, *, recursive: bool = False) -> int:
        request = pb.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive)
        return (await self.hub.purge_instances(request)).deletedInstanceCount

    async def completion(self, instance_id: str, within: float = DEADLINE_SECONDS) -> int:
        """Wait for the end of an instance, and return its status."""
        request = pb.GetInstanceRequest(instanceId=instance_id)
        reply = await self.hub.wait_for_instance_completion(request, timeout=within)
        return reply.orchestrationState.orchestrationStatus

    async def history(
        self, instance_id: str, *, execution_id: str | None = None, for_work_item: bool = False
    ) -> list[pb.HistoryEvent]:
        request = pb.StreamInstanceHistoryRequest(
            instanceId=instance_id, forWorkItemProcessing=for_work_item
        )
        if execution_id is not None:
            request.executionId.value = execution_id
        chunks = [chunk async for chunk in self.hub.stream_instance_history(request)]
        return [event for chunk in chunks for event in chunk.events]


@frozen
class Turn:
    """An orchestrator work item in a worker's hands."""

    hub: TaskHub
    item: pb.WorkItem

    @property
    def request(self) -> pb.OrchestratorRequest:
        return self.item.orchestratorRequest

    @property
    def id(self) -> str:
        return self.request.instanceId

    @property
    def execution(self) -> str:
        return self.request.executionId.value

    @property
    def token(self) -> str:
        return self.item.completionToken

    @property
    def past(self) -> list[pb.HistoryEvent]:
        return list(self.request.pastEvents)

    @property
    def new(self) -> list[pb.HistoryEvent]:
        return list(self.request.newEvents)

    @property
    def position(self) -> str | None:
        """What the request says about the history that it leaves out."""
        if metadata.POSITION not in self.request.properties:
            return None
        return self.request.properties[metadata.POSITION].string_value

    def response(self, *actions: pb.OrchestratorAction) -> pb.OrchestratorResponse:
        return pb.OrchestratorResponse(
            instanceId=self.id, completionToken=self.token, actions=actions
        )

    async def complete(
        self,
        *actions: pb.OrchestratorAction,
        custom_status: str | None = None,
        processed: int | None = None,
    ) -> None:
        response = self.response(*actions)
        if custom_status is not None:
            response.customStatus.value = custom_status
        if processed is not None:
            response.numEventsProcessed.value = processed
        await self.hub.complete_orchestrator_task(response)

    async def call(self, *activities: str, first_id: int = 1) -> None:
        """End the turn waiting for activities, numbered from ``first_id``."""
        await self.complete(*(schedule_task(first_id + n, a) for n, a in enumerate(activities)))

    async def finish(self, result: str | None = None, status: int = COMPLETED) -> None:
        await self.complete(complete_orchestration(END, status, result=result))

    async def ask_for_history(self) -> None:
        response = self.response()
        response.requiresHistory = True
        await self.hub.complete_orchestrator_task(response)

    async def abandon(self, kind: str | None = None, reason: str = "") -> None:
        request = pb.AbandonOrchestrationTaskRequest(completionToken=self.token)
        told: metadata.Metadata = ()
        if kind is not None:
            told = (
                (metadata.ABANDON_KIND, kind),
                (metadata.ABANDON_REASON, metadata.encode_text(reason)),
            )
        await self.hub.abandon_orchestrator_task(request, metadata=told)


@frozen
class Activity:
    """An activity work item in a worker's hands."""

    hub: TaskHub
    item: pb.WorkItem

    @property
    def request(self) -> pb.ActivityRequest:
        return self.item.activityRequest

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def id(self) -> str:
        return self.request.orchestrationInstance.instanceId

    @property
    def token(self) -> str:
        return self.item.completionToken

    def response(self) -> pb.ActivityResponse:
        return pb.ActivityResponse(
            instanceId=self.id, taskId=self.request.taskId, completionToken=self.token
        )

    async def complete(self, result: str | None = None) -> None:
        response = self.response()
        if result is not None:
            response.result.value = result
        await self.hub.complete_activity_task(response)

    async def fail(self, message: str) -> None:
        response = self.response()
        response.failureDetails.errorMessage = message
        await self.hub.complete_activity_task(response)

    async def abandon(self) -> None:
        await self.hub.abandon_activity_task(
            pb.AbandonActivityTaskRequest(completionToken=self.token)
        )


def only(
    *orchestrations: str, activities: Sequence[str] = (), versions: Sequence[str] = ()
) -> pb.WorkItemFilters:
    """Make filters; a kind of which nothing is named is not wanted at all."""
    return pb.WorkItemFilters(
        orchestrations=[
            pb.OrchestrationFilter(name=name, versions=versions) for name in orchestrations
        ],
        activities=[pb.ActivityFilter(name=name, versions=versions) for name in activities],
    )


class Worker:
    """Reads one stream of work items; the test takes them and answers.

    Used as ``async with Worker(hub) as worker``; leaving the block ends the stream.
    """

    def __init__(  # noqa: PLR0913  # all but hub and name by keyword
        self,
        hub: TaskHub,
        name: str = "worker",
        *,
        sessions: bool = False,
        streaming: bool = False,
        filters: pb.WorkItemFilters | None = None,
        turns: int = 0,
        activities: int = 0,
    ) -> None:
        self.hub = hub
        self.name = name
        self.ended_by: CallError | None = None
        self.pings = 0
        self._request = pb.GetWorkItemsRequest(
            worker_instance_id=name,
            maxConcurrentOrchestrationWorkItems=turns,
            maxConcurrentActivityWorkItems=activities,
            workItemFilters=filters,
        )
        if streaming:
            self._request.capabilities.append(pb.WORKER_CAPABILITY_HISTORY_STREAMING)
        self._metadata: metadata.Metadata = ((metadata.SESSIONS, "1"),) if sessions else ()
        self._items: list[pb.WorkItem] = []
        self._changed = asyncio.Condition()
        self._ended = False

    async def __aenter__(self) -> Worker:
        self._stream = self.hub.get_work_items(self._request, metadata=self._metadata)
        self._reading = asyncio.create_task(self._read())
        await asyncio.sleep(0)  # the stream starts with its first iteration
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """End the stream from this side."""
        self._stream.cancel()
        await self._reading

    async def lost(self) -> CallError | None:
        """Wait until the hub ended the stream, and return its error."""
        await self._until(lambda: self._ended)
        return self.ended_by

    async def turn(self, instance_id: str | None = None) -> Turn:
        """Take the next turn, of one instance if it is named."""

        def wanted(item: pb.WorkItem) -> bool:
            request = item.orchestratorRequest
            return item.HasField("orchestratorRequest") and (
                instance_id is None or request.instanceId == instance_id
            )

        return Turn(self.hub, await self._take(wanted, f"turn of {instance_id or 'anything'}"))

    async def activity(self, name: str | None = None) -> Activity:
        """Take the next activity, the next of one name if it is given."""

        def wanted(item: pb.WorkItem) -> bool:
            return item.HasField("activityRequest") and name in (None, item.activityRequest.name)

        return Activity(self.hub, await self._take(wanted, f"activity {name or 'of any name'}"))

    async def ping(self) -> None:
        """Wait for a ping, and take all that came."""
        await self._until(lambda: self.pings > 0, "ping")
        self.pings = 0

    @property
    def waiting(self) -> list[str]:
        """The names of the instances and activities that arrived and were not taken."""
        return [
            item.orchestratorRequest.instanceId or item.activityRequest.name for item in self._items
        ]

    async def _take(self, wanted: Callable[[pb.WorkItem], bool], what: str) -> pb.WorkItem:
        await self._until(lambda: any(map(wanted, self._items)), what)
        item = next(filter(wanted, self._items))
        self._items.remove(item)
        return item

    async def _until(self, holds: Callable[[], bool], what: str = "end") -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
                await self._changed.wait_for(holds)
        except TimeoutError:
            raise AssertionError(
                f"no {what} came to worker {self.name!r}; waiting: {self.waiting}, "
                f"stream ended: {self._ended} {self.ended_by or ''}"
            ) from None

    async def _read(self) -> None:
        try:
            async for item in self._stream:
                if item.HasField("healthPing"):
                    self.pings += 1
                else:
                    self._items.append(item)
                await self._notify()
        except CallError as error:
            self.ended_by = error
        self._ended = True
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def settle(hub: TaskHub) -> None:
    """Send an instance of its own all the way through a hub.

    Commits and deliveries keep their order, so that whatever was due before has happened
    afterwards: a test can say that something did *not* come.
    """
    name = f"fence-{next(_fences)}"
    client = Client(hub)
    async with Worker(hub, name, filters=only(name, versions=["fence"])) as worker:
        await client.start(name, id=name, version="fence")
        await (await worker.turn()).finish()
        await client.completion(name)
    await client.purge(name)


def crashed(file: Path, folder: Path) -> Path:
    """Copy what is on disk of a hub right now: the file as a crash at this moment would leave it."""
    folder.mkdir()
    for part in ("", "-wal"):
        shutil.copy(f"{file}{part}", folder / f"{file.name}{part}")
    return folder / file.name


def commits(file: Path) -> int:
    """Count the commits in the write-ahead log of a hub that was not checkpointed yet.

    Source: https://www.sqlite.org/fileformat2.html#walformat
    """
    log = Path(f"{file}-wal").read_bytes()
    if not log:
        return 0
    page_size, salts = int.from_bytes(log[8:12], "big"), log[16:24]
    headers = (log[start : start + 24] for start in range(32, len(log), 24 + page_size))
    ends = [header[4:8] for header in headers if header[8:16] == salts]
    return sum(end != b"\0\0\0\0" for end in ends)
