"""The suspended orchestrators of a worker, kept within bounds: ``SessionCache``.

All of it runs on the orchestrator thread, since closing a session runs user code.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from attrs import define

from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import Session
from durableflow.worker.notices import Execution

Key = tuple[str, str]


@define(eq=False)
class KeptSession:
    """A session after a turn, with what shows that the next request continues exactly it.

    Attributes:
        name: The orchestrator's.
        token: The completion token of the turn.
        tail: The newest events it was fed and where they are in the history, as a digest; None
            where the engine states positions.
        execution: What its beginning says.
    """

    session: Session
    name: str
    token: str
    tail: Tail | None = None
    size_bytes: int = 0
    execution: Execution | None = None


@define(eq=False)
class Tail:
    """A digest of some events of a history, and where they are in it."""

    start: int
    end: int
    digest: bytes

    @classmethod
    def of(cls, events: Sequence[pb.HistoryEvent], start: int) -> Tail:
        """Remember events that follow ``start`` events of history."""
        return cls(start, start + len(events), _digest(events))

    def is_in(self, history: Sequence[pb.HistoryEvent]) -> bool:
        """Whether a history has the same events in the same place."""
        return self.digest == _digest(history[self.start : self.end])


class SessionCache:
    """Sessions by (instance id, execution id), least recently used first.

    Args:
        most: How many sessions to keep.
        most_bytes: How much history the kept sessions may have consumed together.
        idle_seconds: When to close a session that only waits for timers or external events; they
            may be a month away.
    """

    def __init__(self, *, most: int, most_bytes: int, idle_seconds: float) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._idle_seconds = idle_seconds
        self._kept: OrderedDict[Key, KeptSession] = OrderedDict()
        self._idle: OrderedDict[Key, float] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: Key) -> KeptSession | None:
        """Remove a session and return it."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size_bytes -= kept.size_bytes
            self._idle.pop(key, None)
        return kept

    def put(self, key: Key, kept: KeptSession, now: float) -> None:
        """Keep a session, and close the least recently used ones that are too many.

        ``now`` is a monotonic time in seconds, here and below.
        """
        kept.size_bytes = kept.session.history_bytes
        self._kept[key] = kept
        self._size_bytes += kept.size_bytes
        if kept.session.idle_only:
            self._idle[key] = now
        while len(self._kept) > self._most or self._size_bytes > self._most_bytes:
            self._close(next(iter(self._kept)))

    def close_idle(self, now: float) -> None:
        """Close the sessions that have waited long enough for a timer or an event."""
        while self._idle:
            key, since = next(iter(self._idle.items()))
            if now - since < self._idle_seconds:
                return
            self._close(key)

    def seconds_to_idle(self, now: float) -> float | None:
        """How long until ``close_idle`` has something to do; None: no such session."""
        if not self._idle:
            return None
        return max(0.0, next(iter(self._idle.values())) + self._idle_seconds - now)

    def close_all(self) -> None:
        """Close every session."""
        while self._kept:
            self._close(next(iter(self._kept)))

    def _close(self, key: Key) -> None:
        kept = self.take(key)
        if kept is not None:
            kept.session.close()


def _digest(events: Sequence[pb.HistoryEvent]) -> bytes:
    digest = blake2b(digest_size=16)
    for event in events:
        text = event.SerializeToString(deterministic=True)
        digest.update(len(text).to_bytes(8, "little"))
        digest.update(text)
    return digest.digest()
