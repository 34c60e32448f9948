"""An instance in the working set: its state, its writes on their way, its turn in flight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, field

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.state import Instance
from durableflow.engine.writes import Writes

if TYPE_CHECKING:
    from durableflow.engine.stream import Stream


@define(slots=True, eq=False)
class Turn:
    """A turn in flight.

    Attributes:
        events: What it was given; the first is its ``orchestratorStarted``.
        expires: Loop time at which the lease ends.
    """

    token: str
    events: list[pb.HistoryEvent]
    stream: Stream
    expires: float


@define(slots=True, eq=False)
class Resident:
    """One execution in memory.

    Attributes:
        pending: Writes that no commit has taken yet.
        committing: Writes in the commit under way.
        queued: It waits in a delivery queue for a stream.
        lost: The stream that ended with its turn, while the worker may still come back.
        session: The stream whose completion was the last one applied, if it keeps sessions.
        token: The token of the turn applied last in this incarnation.
        next_message: The number of the next message of the inbox.
        abandons: How often in a row a worker gave the turn back.
        wake: Set while a turn that was given back is not offered again.
        gone: Purged or replaced; nothing may be done with it any more.
    """

    instance: Instance
    pending: Writes | None = None
    committing: Writes | None = None
    turn: Turn | None = None
    queued: bool = False
    lost: Stream | None = None
    session: Stream | None = None
    token: str = ""
    next_message: int = 0
    abandons: int = 0
    wake: asyncio.TimerHandle | None = None
    gone: bool = False
    start_waiters: list[asyncio.Future[None]] = field(factory=list)
    completion_waiters: list[asyncio.Future[None]] = field(factory=list)

    @property
    def is_idle(self) -> bool:
        """It may leave memory: nothing queued, leased, undelivered, awaited or uncommitted."""
        return not (
            self.pending
            or self.committing
            or self.turn
            or self.queued
            or self.wake
            or self.start_waiters
            or self.completion_waiters
            or self.instance.activities
            or self.instance.is_runnable
        )


def wake(waiters: list[asyncio.Future[None]]) -> None:
    """Have those who wait look again."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
