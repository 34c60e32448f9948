"""``TaskHub`` on a database file, whichever process owns it: calls follow the owner.

=====================  ==========================================================================
what was lost under    what happens
=====================  ==========================================================================
a wait                 issued again at the new owner, within the caller's deadline
any other call         issued again likewise, for at most ``REPEAT_SECONDS``
``raise_event``        issued again only if it was certainly not carried out
a history              issued again if no part of it has arrived
a stream of items      begins again, once, if no item has arrived; else it ends with UNAVAILABLE
                       and the worker opens another
=====================  ==========================================================================

``start_instance`` names the execution, so that the engine knows a repetition from another start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.membership import Link, Membership, address_of
from durableflow.engine.repetition import Limit
from durableflow.errors import CallError, OutcomeUnknownError, TaskHubUnavailableError
from durableflow.hub.calls import ForwardingHub
from durableflow.hub.names import new_id
from durableflow.hub.options import HubOptions
from durableflow.hub.port import WorkItemStream
from durableflow.hub.remote import NOT_IDEMPOTENT, HubLostError
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.service import BY_METHOD
from durableflow.protocol.status import Status

Reply = TypeVar("Reply", bound=Message)
T = TypeVar("T")

REPEAT_SECONDS: Final = 30.0

WAITS: Final = frozenset({"wait_for_instance_start", "wait_for_instance_completion"})
TAKES_METADATA: Final = frozenset(name for name, rpc in BY_METHOD.items() if rpc.takes_metadata)
READS: Final = frozenset({"hello", "get_instance", "query_instances"}) | WAITS


class FileTaskHub(ForwardingHub):
    """A task hub in a SQLite file, or in memory.

    Args:
        path: The file; None keeps everything in memory, shared by ``options.share_key``.
        options: Role, sizes and durability.
    """

    def __init__(self, path: Path | None, options: HubOptions) -> None:
        # One file has one name, or two processes would lock two files beside it.
        self._path = None if path is None else path.resolve()
        self._description = address_of(self._path)  # named by every call, so made once
        self._options = options
        self._membership: Membership | None = None
        self._closed = False
        self._under_way: set[asyncio.Task[Any]] = set()
        self.streams: set[_FollowedStream] = set()

    @property
    def description(self) -> str:
        """See ``TaskHub``."""
        return self._description

    @property
    def engine_place(self) -> str | None:
        """Where the engine runs at present, for people; None while that is being found out."""
        link = None if self._membership is None else self._membership.current
        return None if link is None else link.engine_place

    async def open(self) -> None:
        """Own the file, or join its owner.

        Raises:
            StorageError: the file cannot be used, or its owner cannot be trusted.
            TaskHubUnavailableError: its owner does not answer.
        """
        if self._membership is None:
            try:
                self._membership = await Membership.attach(self._path, self._options)
            except CallError as error:
                raise TaskHubUnavailableError(str(error)) from None

    async def close(self) -> None:
        """See ``TaskHub``."""
        self._closed = True
        for task in tuple(self._under_way):
            task.cancel()
        for stream in tuple(self.streams):
            stream.break_off()
        if self._membership is not None:
            membership, self._membership = self._membership, None
            await membership.detach(self._options)

    async def forward(
        self,
        method: str,
        request: Message,
        reply: type[Reply],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Reply:
        """Carry a call out at whoever owns the file, as the table above says."""
        if method in WAITS:
            return await self.until_closed(self._repeat(method, request, timeout, metadata))
        answer: Reply = await self._repeat(method, request, timeout, metadata)
        return answer

    async def start_instance(
        self, request: pb.CreateInstanceRequest, *, timeout: float | None = None
    ) -> pb.CreateInstanceResponse:
        """Start an instance once, however often the request has to be sent."""
        if not request.instanceId:
            request.instanceId = new_id()
        if not request.HasField("executionId"):
            request.executionId.value = new_id()
        answer: pb.CreateInstanceResponse = await self._repeat(
            "start_instance", request, timeout, ()
        )
        return answer

    def complete_orchestrator_task(
        self, request: pb.OrchestratorResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        """See ``TaskHub``; the engine of this process takes a turn without further ado."""
        if (engine := self._engine()) is not None:
            return engine.complete_orchestrator_task(request)
        return super().complete_orchestrator_task(request, timeout=timeout)

    def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        """See ``TaskHub``; the engine of this process takes an answer without further ado."""
        if (engine := self._engine()) is not None:
            return engine.complete_activity_task(request)
        return super().complete_activity_task(request, timeout=timeout)

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        """See ``TaskHub``."""
        limit = Limit(timeout, REPEAT_SECONDS)
        begun = False
        while True:
            link = await self.link(limit)
            link.waits.enter()
            try:
                async for chunk in link.hub.stream_instance_history(
                    request, timeout=limit.remaining
                ):
                    begun = True
                    yield chunk
            except HubLostError:
                self.lost(link)
                if begun or limit.is_over:
                    raise
            else:
                return
            finally:
                link.waits.leave()
            await limit.pause()

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> WorkItemStream:
        """See ``TaskHub``."""
        return _FollowedStream(self, request, metadata)

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        """See ``KnowsTakers``."""
        link = await self.link(Limit(timeout, REPEAT_SECONDS))
        return await link.taken(work, timeout)

    async def link(self, limit: Limit) -> Link:
        """Return where a call goes now, found within its limit."""
        membership = self._required()
        if membership.current is not None:
            return membership.current
        try:
            async with asyncio.timeout(limit.remaining):
                return await membership.link()
        except TimeoutError:
            raise CallError(
                Status.DEADLINE_EXCEEDED,
                f"No engine answered at {self.description} before the deadline.",
            ) from None

    def lost(self, link: Link) -> None:
        """A call has shown that this link is broken."""
        if self._membership is not None:
            self._membership.lost(link)

    def closed_error(self) -> CallError:
        """What calls on a closed hub end with."""
        return CallError(Status.UNAVAILABLE, f"{self.description} is not open, or no longer.")

    async def until_closed(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await something that may last, but not longer than this hub is open."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("the port is called from tasks only")
        self._under_way.add(task)
        try:
            return await coroutine
        except asyncio.CancelledError:
            if self._closed and task.uncancel() == 0:  # nobody else has cancelled it
                raise self.closed_error() from None
            raise
        finally:
            self._under_way.discard(task)

    async def _repeat(
        self, method: str, request: Message, timeout: float | None, metadata: Metadata
    ) -> Any:
        link = self._required().current
        if link is not None and link.engine is not None:
            try:
                return await _call(link, method, request, timeout, metadata)
            except CallError as error:
                if not _may_repeat(method, link, error):
                    raise
        limit = Limit(timeout, None if method in WAITS else REPEAT_SECONDS)
        while True:
            link = self._required().current or await self.link(limit)
            try:
                return await _call(link, method, request, limit.remaining, metadata)
            except CallError as error:
                if isinstance(error, HubLostError | OutcomeUnknownError):
                    self.lost(link)
                if not _may_repeat(method, link, error) or limit.is_over:
                    raise
            await limit.pause()

    def _engine(self) -> Engine | None:
        link = self._required().current
        return None if link is None else link.engine

    def _required(self) -> Membership:
        if self._membership is None:
            raise self.closed_error()
        return self._membership


class _FollowedStream:
    """Work items from wherever the file's owner was when the stream began."""

    def __init__(
        self, hub: FileTaskHub, request: pb.GetWorkItemsRequest, metadata: Metadata
    ) -> None:
        self._hub = hub
        self._request = request
        self._metadata = metadata
        self._beginning: asyncio.Future[Link] | None = None
        self._link: Link | None = None
        self._stream: WorkItemStream | None = None
        self._has_items = False
        self._has_begun_again = False
        self._cancelled = False

    def __aiter__(self) -> _FollowedStream:
        return self

    async def __anext__(self) -> pb.WorkItem:
        if self._cancelled:
            raise StopAsyncIteration
        stream = self._stream or await self._begin()
        try:
            item = await self._next(stream)
        except HubLostError:
            # The link was broken before, and nobody had noticed yet.
            if self._has_begun_again or self._has_items:
                raise
            self._has_begun_again = True
            item = await self._next(await self._begin())
        self._has_items = True
        return item

    def cancel(self) -> None:
        """See ``WorkItemStream``."""
        self._cancelled = True
        self.break_off()

    def break_off(self) -> None:
        """End the stream because its hub is closed; the reader sees UNAVAILABLE."""
        if self._beginning is not None:
            self._beginning.cancel()
        if self._stream is not None:
            self._stream.cancel()
        self._end()

    async def _next(self, stream: WorkItemStream) -> pb.WorkItem:
        try:
            return await anext(stream)
        except StopAsyncIteration:
            self._end()
            if self._cancelled:
                raise
            raise self._hub.closed_error() from None
        except CallError as error:
            if isinstance(error, HubLostError) and self._link is not None:
                self._hub.lost(self._link)
            self._end()
            raise

    async def _begin(self) -> WorkItemStream:
        self._beginning = asyncio.ensure_future(self._hub.link(Limit(None, None)))
        self._hub.streams.add(self)
        try:
            link = await self._beginning
        except asyncio.CancelledError:
            reader = asyncio.current_task()
            if reader is not None and reader.cancelling():
                raise
            if self._cancelled:
                raise StopAsyncIteration from None
            raise self._hub.closed_error() from None
        stream = self._stream = link.hub.get_work_items(self._request, metadata=self._metadata)
        self._link = link
        link.waits.enter()
        return stream

    def _end(self) -> None:
        self._hub.streams.discard(self)
        if self._link is not None:
            self._link.waits.leave()
            self._link = None


async def _call(
    link: Link, method: str, request: Message, timeout: float | None, metadata: Metadata
) -> Any:
    in_flight = link.waits if method in WAITS else link.calls
    carry_out = getattr(link.hub, method)
    in_flight.enter()
    try:
        if method == "hello":
            return await carry_out(timeout=timeout)
        if method in TAKES_METADATA:
            return await carry_out(request, metadata=metadata)
        return await carry_out(request, timeout=timeout)
    finally:
        in_flight.leave()


def _may_repeat(method: str, link: Link, error: CallError) -> bool:
    if isinstance(error, HubLostError):
        return method not in NOT_IDEMPOTENT or error.untouched
    # The engine itself has answered: it has lost a commit, or is being closed.
    return error.status is Status.UNAVAILABLE and method in READS
