"""One connected worker: the stream of work items that it reads, and what it holds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.filters import Filters, Kind
from durableflow.errors import CallError
from durableflow.protocol import metadata as keys
from durableflow.protocol.metadata import Metadata

if TYPE_CHECKING:
    from durableflow.engine.activities import ActivityWork
    from durableflow.engine.resident import Resident

_UNLIMITED = 1 << 30


class Stream:
    """Work items as they come; see ``hub.port.WorkItemStream``.

    Attributes:
        worker_id: The worker's own name, kept over its reconnects; ``""`` if it gave none.
        keeps_sessions: It asked to have past events left out where it has them.
        streams_history: It can fetch a long history by itself.
        turns: Instances whose turn is leased to this stream.
        activities: Rows of the activities leased to this stream.
    """

    def __init__(
        self,
        request: pb.GetWorkItemsRequest,
        metadata: Metadata,
        *,
        on_open: Callable[[Stream], None],
        on_close: Callable[[Stream], None],
    ) -> None:
        self.worker_id = request.worker_instance_id
        self.filters = Filters(request)
        self.keeps_sessions = keys.get(metadata, keys.SESSIONS) == "1"
        self.streams_history = pb.WORKER_CAPABILITY_HISTORY_STREAMING in request.capabilities
        self.turns: set[Resident] = set()
        self.activities: dict[int, ActivityWork] = {}
        self._limits: dict[Kind, int] = {
            "turn": request.maxConcurrentOrchestrationWorkItems or _UNLIMITED,
            "activity": request.maxConcurrentActivityWorkItems or _UNLIMITED,
        }
        self._on_open = on_open
        self._on_close = on_close
        self._items: deque[pb.WorkItem] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._opened = False
        self._closed = False
        self._error: CallError | None = None

    @property
    def is_open(self) -> bool:
        """Somebody reads it."""
        return self._opened and not self._closed

    def load(self, kind: Kind) -> int:
        """How much of a kind it holds."""
        return len(self.turns) if kind == "turn" else len(self.activities)

    def has_slot(self, kind: Kind) -> bool:
        """It may be given one more of a kind."""
        return self.load(kind) < self._limits[kind]

    def push(self, item: pb.WorkItem) -> None:
        """Hand out an item."""
        if self._closed:
            return
        self._items.append(item)
        self._wake()

    def fail(self, error: CallError) -> None:
        """End the stream from the engine's side."""
        if not self._closed:
            self._error = error
            self._close()

    def cancel(self) -> None:
        """End the stream from the worker's side."""
        self._close()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> pb.WorkItem:
        if not (self._opened or self._closed):
            self._opened = True
            self._on_open(self)
        while not self._items:
            if self._closed:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._items.popleft()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._items.clear()
        self._wake()
        if self._opened:
            self._on_close(self)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
