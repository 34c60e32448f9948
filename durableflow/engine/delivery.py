"""Who gets which work: queues by (kind, name, version), streams with slots and filters.

An item goes first to streams that name its version exactly; while one of those is connected, and
ten seconds longer, to no stream that takes any version.  Among the streams that may take an item
and have a free slot, the one that holds its session wins, then the one with the least to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.filters import Filters, Match, QueueKey
from durableflow.engine.stream import Stream

logger = logging.getLogger(__name__)

# How long a name is kept for a worker that named it exactly and left, in seconds.
EXACT_GRACE: Final = 10.0
# Each stream hears from us this often, in seconds, work or not.
PING_SECONDS: Final = 30.0
# Of how many names and versions it is said that no worker has them.
MOST_SAID: Final = 1000


class Work(Protocol):
    """A turn or an activity that waits for a stream."""

    @property
    def key(self) -> QueueKey:
        """Its queue."""

    @property
    def preferred(self) -> Stream | None:
        """The stream that holds its session."""

    def withdrawn(self) -> bool:
        """It is not wanted any more."""

    def send(self, stream: Stream) -> None:
        """Lease it to a stream and have it pushed there."""


class Delivery:
    """Matches work with streams.  Knows nothing of histories or disks."""

    def __init__(
        self, on_stream_lost: Callable[[Stream], None], *, on_more_takers: Callable[[], None]
    ) -> None:
        """Make one without streams.

        Args:
            on_stream_lost: Takes back what a stream holds.
            on_more_takers: Called when streams may take what was kept for others until now.
        """
        self._loop = asyncio.get_running_loop()
        self._on_stream_lost = on_stream_lost
        self._on_more_takers = on_more_takers
        self._streams: list[Stream] = []
        self._queues: dict[QueueKey, deque[tuple[int, Work]]] = {}
        self._takers: dict[QueueKey, list[Stream]] = {}
        self._ghosts: list[Filters] = []
        # What has been said to wait for a worker.
        self._unserved: set[QueueKey] = set()
        self._arrivals = 0
        self._ping: asyncio.TimerHandle | None = None
        self._paused = False

    @property
    def streams(self) -> list[Stream]:
        """The connected streams."""
        return list(self._streams)

    @property
    def is_idle(self) -> bool:
        """No stream holds anything."""
        return not any(stream.turns or stream.activities for stream in self._streams)

    def connect(self, stream: Stream) -> None:
        """Begin to give a stream work."""
        self._streams.append(stream)
        self._takers.clear()
        self._unserved.clear()
        self.pull(stream)
        if self._ping is None:
            self._ping = self._loop.call_later(PING_SECONDS, self._pings)

    def disconnect(self, stream: Stream) -> None:
        """Give a stream no more work, and have what it holds taken back."""
        if stream not in self._streams:
            return
        self._streams.remove(stream)
        self._ghosts.append(stream.filters)
        self._loop.call_later(EXACT_GRACE, self._lay, stream.filters)
        self._takers.clear()
        self._on_stream_lost(stream)
        self._pull_all()

    def offer(self, work: Work) -> None:
        """Give work to a stream now, or queue it."""
        key = work.key
        stream = None if self._paused else self._choose(key, work.preferred)
        if stream is not None and not (self._queues and self._comes_after_others(key, stream)):
            work.send(stream)
            return
        if self._streams and key not in self._unserved and not self._takers_of(key):
            self._say_that_it_waits(key)
        self._arrivals += 1
        self._queues.setdefault(key, deque()).append((self._arrivals, work))
        if stream is not None:
            for taker in (stream, *self._takers_of(key)):  # others may get the first one's place
                self.pull(taker)
                if key not in self._queues:
                    return

    def send_alone(self, work: Work) -> bool:
        """Give work to a stream although giving out is paused.

        Returns:
            False if no stream may take it now.
        """
        stream = self._choose(work.key, work.preferred)
        if stream is None:
            return False
        work.send(stream)
        return True

    def pull(self, stream: Stream) -> None:
        """Fill a stream's free slots from the queues, the oldest work first."""
        while self._queues and stream.is_open and not self._paused:
            best: QueueKey | None = None
            for key in self._queues:
                if not stream.has_slot(key[0]) or stream not in self._takers_of(key):
                    continue
                if best is None or self._queues[key][0][0] < self._queues[best][0][0]:
                    best = key
            if best is None:
                return
            work = self._pop(best)
            if not work.withdrawn():
                work.send(stream)

    def has_takers(self, key: QueueKey) -> bool:
        """Some connected stream would take work of this kind, name and version."""
        return bool(self._takers_of(key))

    def can_take(self, key: QueueKey) -> bool:
        """Some connected stream would take it now."""
        return self._choose(key, None) is not None

    def pause(self) -> None:
        """Give out nothing until ``unpause``, for work that must run alone."""
        self._paused = True

    def unpause(self) -> None:
        """Go on giving out."""
        self._paused = False
        self._pull_all()

    def stop(self) -> list[Stream]:
        """Forget everything.

        Returns:
            The streams that were connected; the caller ends them.
        """
        if self._ping is not None:
            self._ping.cancel()
        self._paused = True
        self._queues.clear()
        self._takers.clear()
        streams, self._streams = self._streams, []
        return streams

    def _pop(self, key: QueueKey) -> Work:
        queue = self._queues[key]
        _, work = queue.popleft()
        if not queue:
            del self._queues[key]
        return work

    def _choose(self, key: QueueKey, preferred: Stream | None) -> Stream | None:
        kind = key[0]
        takers = self._takers_of(key)
        if preferred is not None and preferred in takers and preferred.has_slot(kind):
            return preferred
        free = [stream for stream in takers if stream.has_slot(kind)]
        return min(free, key=lambda stream: stream.load(kind), default=None)

    def _comes_after_others(self, key: QueueKey, stream: Stream) -> bool:
        """Work waits that would get the place on this stream if it had come free before."""
        return key in self._queues or any(
            other[0] == key[0] and stream in self._takers_of(other) for other in self._queues
        )

    def _takers_of(self, key: QueueKey) -> list[Stream]:
        takers = self._takers.get(key)
        if takers is None:
            matches = [(stream, stream.filters.match(key)) for stream in self._streams]
            best = max(
                [match for _, match in matches] + [ghost.match(key) for ghost in self._ghosts],
                default=Match.NO,
            )
            wanted = Match.EXACT if best is Match.EXACT else Match.ANY_VERSION
            takers = [stream for stream, match in matches if match is wanted]
            self._takers[key] = takers
        return takers

    def _say_that_it_waits(self, key: QueueKey) -> None:
        kind, name, version = key
        if len(self._unserved) < MOST_SAID:
            self._unserved.add(key)
            logger.warning(
                "No connected worker runs %s '%s'%s, so it waits for one that does.",
                "orchestrator" if kind == "turn" else kind,
                name,
                f" version '{version}'" if version else "",
            )

    def _lay(self, ghost: Filters) -> None:
        self._ghosts.remove(ghost)
        self._takers.clear()
        if self._streams:
            self._pull_all()
            self._on_more_takers()

    def _pull_all(self) -> None:
        for stream in list(self._streams):
            self.pull(stream)

    def _pings(self) -> None:
        self._ping = None
        for stream in self._streams:
            stream.push(pb.WorkItem(healthPing=pb.HealthPing()))
        if self._streams:
            self._ping = self._loop.call_later(PING_SECONDS, self._pings)
