"""The embedded task hub: ``TaskHub`` in process, on one SQLite file or in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Final, TypeVar

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.batch import Batch
from durableflow.engine.clock import Clock, SystemClock
from durableflow.engine.filters import part_taken
from durableflow.engine.incarnation import Incarnation
from durableflow.engine.jobs import JobThread
from durableflow.engine.store import Reader, Store
from durableflow.engine.stream import Stream
from durableflow.engine.trouble import call_error
from durableflow.errors import CallError, StorageError
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.status import Status

log = logging.getLogger(__name__)

T = TypeVar("T")

# How often a disk that refused a write is tried again, in seconds.
PROBE_SECONDS: Final = 0.5
# A probe writes this much, so that one freed block is not taken for space.
_PROBE_TEXT: Final = "x" * 65536


class Engine:
    """A task hub in this process.  All methods are called on one running asyncio loop.

    Whoever opens a file must own it (``engine.ownership``): two engines on one file lose work.
    """

    def __init__(
        self, path: Path | None, *, clock: Clock | None = None, synchronous: str = "full"
    ) -> None:
        """Make an engine; nothing is touched before ``open``.

        Args:
            path: The SQLite file; None keeps everything in memory.
            synchronous: ``"full"`` survives a power cut; ``"normal"`` may lose the last commits
                in one, but not when the process dies.
        """
        self._path = path
        self._clock: Clock = clock or SystemClock()
        self._synchronous = synchronous
        self._current: Incarnation | None = None
        self._trouble: StorageError | None = None
        self._recovery: asyncio.Task[None] | None = None
        # Every open connection; each list belongs to the thread that uses them.
        self._stores: list[Store] = []
        self._readers: list[Reader] = []

    @property
    def description(self) -> str:
        """The address of this hub."""
        return "sqlite://" if self._path is None else f"sqlite:///{self._path}"

    @property
    def hub_id(self) -> str:
        """What identifies this hub, wherever its file lies."""
        return self._opened().hub_id

    @property
    def incarnation(self) -> str:
        """Changes whenever the file was read anew."""
        return self._opened().name

    @property
    def has_served_worker(self) -> bool:
        """A worker was connected to this hub at some time."""
        return self._opened().has_served_worker

    async def open(self) -> None:
        """Open or create the file and go on where it stands.

        Raises:
            StorageError: the file cannot be used; see the subclasses.
        """
        self._writing = JobThread("durableflow-committer")
        # A hub in memory has one connection, so one thread.
        memory = self._path is None
        self._reading = self._writing if memory else JobThread("durableflow-reader")
        try:
            self._current = await self._incarnate(process_lives=False)
        except BaseException:
            await self._disconnect()
            await self._stop_threads()
            raise
        self._current.start()

    async def close(self) -> None:
        """Commit everything and let go of the file.  Idempotent."""
        current, self._current = self._current, None
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        if current is None:
            return
        if current.stopped is None:
            try:
                await current.close()
            except (StorageError, CallError):
                log.exception("The task hub could not note its end; what it acknowledged is safe.")
        await self._disconnect()
        await self._stop_threads()

    async def hello(self, *, timeout: float | None = None) -> None:
        """Answer."""
        self._live()

    async def start_instance(
        self, request: pb.CreateInstanceRequest, *, timeout: float | None = None
    ) -> pb.CreateInstanceResponse:
        """See ``Instances.start``."""
        return await _within(timeout, self._writable().instances.start(request))

    async def get_instance(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse:
        """See ``Instances.get``."""
        return await _within(timeout, self._live().instances.get(request))

    async def wait_for_instance_start(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse:
        """See ``Instances.wait_for_start``."""
        return await _within(timeout, self._live().instances.wait_for_start(request))

    async def wait_for_instance_completion(
        self, request: pb.GetInstanceRequest, *, timeout: float | None = None
    ) -> pb.GetInstanceResponse:
        """See ``Instances.wait_for_completion``."""
        return await _within(timeout, self._live().instances.wait_for_completion(request))

    async def raise_event(
        self, request: pb.RaiseEventRequest, *, timeout: float | None = None
    ) -> pb.RaiseEventResponse:
        """See ``Instances.raise_event``."""
        return await _within(timeout, self._writable().instances.raise_event(request))

    async def suspend_instance(
        self, request: pb.SuspendRequest, *, timeout: float | None = None
    ) -> pb.SuspendResponse:
        """See ``Instances.suspend``."""
        return await _within(timeout, self._writable().instances.suspend(request))

    async def resume_instance(
        self, request: pb.ResumeRequest, *, timeout: float | None = None
    ) -> pb.ResumeResponse:
        """See ``Instances.resume``."""
        return await _within(timeout, self._writable().instances.resume(request))

    async def terminate_instance(
        self, request: pb.TerminateRequest, *, timeout: float | None = None
    ) -> pb.TerminateResponse:
        """See ``Instances.terminate``."""
        return await _within(timeout, self._writable().instances.terminate(request))

    async def purge_instances(
        self, request: pb.PurgeInstancesRequest, *, timeout: float | None = None
    ) -> pb.PurgeInstancesResponse:
        """See ``Instances.purge``."""
        return await _within(timeout, self._writable().instances.purge(request))

    async def query_instances(
        self, request: pb.QueryInstancesRequest, *, timeout: float | None = None
    ) -> pb.QueryInstancesResponse:
        """See ``Instances.query``."""
        return await _within(timeout, self._live().instances.query(request))

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        """See ``Instances.history``."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        chunks = self._live().instances.history(request)
        while True:
            left = None if deadline is None else max(0.0, deadline - loop.time())
            chunk = await _within(left, anext(chunks, None))
            if chunk is None:
                return
            yield chunk

    def get_work_items(self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()) -> Stream:
        """A stream of work items; it begins when it is first read."""
        return self._writable().open_stream(request, metadata)

    def complete_orchestrator_task(
        self, request: pb.OrchestratorResponse, *, timeout: float | None = None
    ) -> asyncio.Future[None]:
        """See ``Turns.complete``."""
        return _by(timeout, self._writable().turns.complete(request))

    def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> asyncio.Future[None]:
        """See ``Activities.complete``."""
        live = self._writable()
        return _by(timeout, live.activities.complete(request, live.turns))

    async def abandon_orchestrator_task(
        self, request: pb.AbandonOrchestrationTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonOrchestrationTaskResponse:
        """See ``Turns.abandon``."""
        await self._writable().turns.abandon(request.completionToken, metadata)
        return pb.AbandonOrchestrationTaskResponse()

    async def abandon_activity_task(
        self, request: pb.AbandonActivityTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonActivityTaskResponse:
        """See ``Activities.abandon``."""
        await self._writable().activities.abandon(request.completionToken)
        return pb.AbandonActivityTaskResponse()

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        """See ``KnowsTakers``."""
        streams = self._live().delivery.streams
        return part_taken(work, [stream.filters for stream in streams])

    def _opened(self) -> Incarnation:
        if self._current is None:
            raise CallError(Status.UNAVAILABLE, f"The engine on {self.description} is not open.")
        return self._current

    def _live(self) -> Incarnation:
        current = self._opened()
        if current.stopped is not None:
            raise CallError(
                Status.UNAVAILABLE,
                f"The engine on {self.description} reads its file again after a write that failed.",
            )
        return current

    def _writable(self) -> Incarnation:
        live = self._opened()
        if self._trouble is not None:
            raise call_error(self._trouble)
        return live

    async def _incarnate(self, *, process_lives: bool) -> Incarnation:
        """Read the file and build everything on it."""
        store = await self._writing.submit(self._open_store)
        reader = await self._reading.submit(self._open_reader, store)
        incarnation = Incarnation(
            store,
            reader,
            writing=self._writing,
            reading=self._reading,
            clock=self._clock,
            on_failed=self._commit_failed,
        )
        await incarnation.load(process_lives=process_lives)
        return incarnation

    def _open_store(self) -> Store:
        store = Store.open(self._path, synchronous=self._synchronous)
        self._stores.append(store)
        return store

    def _open_reader(self, store: Store) -> Reader:
        reader = store.reader()
        self._readers.append(reader)
        return reader

    def _commit_failed(self, voided: Incarnation, error: StorageError) -> None:
        """Void everything built on the commit that failed, and begin to recover."""
        log.error("A commit failed; the task hub goes back to what is on disk. %s", error)
        self._trouble = error
        voided.stop(call_error(error))
        if voided is self._current:  # else the engine is being closed
            self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        """Read the file anew and answer reads; take writes again once one succeeds."""
        while True:
            await self._disconnect()
            try:
                current = await self._incarnate(process_lives=True)
                break
            except StorageError as error:
                log.warning("The task hub cannot be read again yet. %s", error)
                await asyncio.sleep(PROBE_SECONDS)
        self._current = current
        while True:
            if await self._probe(current):
                break
            await asyncio.sleep(PROBE_SECONDS)
        self._trouble = None
        current.start()
        log.info("The task hub takes writes again.")

    async def _probe(self, current: Incarnation) -> bool:
        try:
            for text in (_PROBE_TEXT, ""):
                await self._writing.submit(current.store.write, Batch(meta=[("probe", text)]))
        except StorageError as error:
            self._trouble = error
            return False
        return True

    async def _disconnect(self) -> None:
        """Close every connection, those too that a job under way still opens."""
        await self._reading.submit(_close_all, self._readers)
        await self._writing.submit(_close_all, self._stores)

    async def _stop_threads(self) -> None:
        await self._writing.stop()
        if self._reading is not self._writing:
            await self._reading.stop()


def _close_all(connections: list[Store] | list[Reader]) -> None:
    while connections:
        try:
            connections.pop().close()
        except StorageError as error:
            log.warning("The task hub's file did not close cleanly. %s", error)


async def _within(timeout: float | None, call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(timeout):
            return await call
    except StorageError as error:
        raise call_error(error) from error
    except TimeoutError:
        raise CallError(
            Status.DEADLINE_EXCEEDED, f"Not done within the caller's {timeout:g} s."
        ) from None


def _by(timeout: float | None, answer: asyncio.Future[None]) -> asyncio.Future[None]:
    """Wait for an answer no longer than its caller does; what it is about goes on."""
    if timeout is None:
        return answer
    return asyncio.ensure_future(_within(timeout, asyncio.shield(answer)))
