"""What the store must gain for one instance, until a commit takes it.

Kept as a sum, not as a list of steps: a message that arrives and is consumed before the commit
never touches the disk.  Containers are made when they are needed: most writes need two or three.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import TypeVar

from attrs import define

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.batch import Batch
from durableflow.engine.outcome import ScheduledActivity, ScheduledTimer
from durableflow.engine.rows import changed_row, created_row
from durableflow.engine.state import Instance, Message

T = TypeVar("T")


@define(slots=True, eq=False)
class Writes:
    """One instance's share of the next commit.

    Attributes:
        due: Loop time from which a commit takes it; ``inf`` while it is empty.
        created: The instance's row is new.
        changed: The instance's row has changed.
        removed: The instance goes, with everything of its.
        waiters: Futures that the commit resolves.
        effects: What may happen only once this is committed.
    """

    due: float = inf
    created: bool = False
    changed: bool = False
    removed: bool = False
    waiters: list[asyncio.Future[None]] | None = None
    effects: list[Callable[[], None]] | None = None
    _drops_activities: bool = False
    _drops_timers: bool = False
    _retires: bool = False
    _chunks: list[tuple[int, bytes]] | None = None
    _inbox: dict[int, pb.HistoryEvent] | None = None
    _inbox_gone: list[tuple[int]] | None = None
    _activities: dict[int, ScheduledActivity] | None = None
    _activities_gone: list[tuple[int]] | None = None
    _timers: dict[int, ScheduledTimer] | None = None
    _timers_gone: list[tuple[int]] | None = None
    _dispatched: dict[int, tuple[int, int]] | None = None
    _returned: list[tuple[int]] | None = None

    def wait(self, future: asyncio.Future[None]) -> None:
        """Have a future resolved by the commit."""
        self.waiters = _added(self.waiters, future)

    def then(self, effect: Callable[[], None]) -> None:
        """Have something happen after the commit."""
        self.effects = _added(self.effects, effect)

    def add_chunk(self, row: int, chunk: bytes) -> None:
        """The history grows."""
        self._chunks = _added(self._chunks, (row, chunk))

    def add_message(self, message: Message) -> None:
        """An event waits."""
        if self._inbox is None:
            self._inbox = {}
        self._inbox[message.row] = message.event

    def consume(self, row: int) -> None:
        """An event waits no longer."""
        if self._inbox is None or self._inbox.pop(row, None) is None:
            self._inbox_gone = _added(self._inbox_gone, (row,))

    def add_activity(self, activity: ScheduledActivity) -> None:
        """An activity is outstanding."""
        if self._activities is None:
            self._activities = {}
        self._activities[activity.row] = activity

    def end_activity(self, row: int) -> None:
        """An activity, committed before, is outstanding no longer."""
        self._activities_gone = _added(self._activities_gone, (row,))

    def add_timer(self, timer: ScheduledTimer) -> None:
        """A timer is set."""
        if self._timers is None:
            self._timers = {}
        self._timers[timer.row] = timer

    def end_timer(self, row: int) -> None:
        """A timer, committed before, has fired."""
        self._timers_gone = _added(self._timers_gone, (row,))

    def give_out(self, item: int, record: tuple[int, int]) -> None:
        """Work was handed out; see ``Suspects``."""
        if self._dispatched is None:
            self._dispatched = {}
        self._dispatched[item] = record

    def take_back(self, item: int, *, recorded: bool = False) -> None:
        """Work came back.

        Args:
            recorded: There is a record of it on disk, whatever these writes hold.
        """
        held = self._dispatched is not None and self._dispatched.pop(item, None) is not None
        if recorded or not held:
            self._returned = _added(self._returned, (item,))

    def end(self) -> None:
        """The instance is terminal: its timers go."""
        self._drops_timers = True
        self._timers = None

    def drop_work(self) -> None:
        """The instance is terminated: its outstanding activities and timers go."""
        self._drops_activities = True
        self._activities = None
        self.end()

    def retire(self) -> None:
        """The execution continued as new; it goes, but activities that it queued still run."""
        self._retires = True
        self.created = self.changed = False
        self._chunks = self._inbox = self._timers = None

    def write_to(self, batch: Batch, instance: Instance) -> None:
        """Add everything to a batch, with the instance's row as it is now."""
        if self._dispatched:
            batch.dispatched.extend((item, *record) for item, record in self._dispatched.items())
        if self._returned:
            batch.returned.extend(self._returned)
        if self.removed:
            batch.removed.append(instance.key)
            return
        if self.created:
            batch.created.append(created_row(instance))
        elif self.changed:
            batch.changed.append(changed_row(instance))
        self._write_ends(batch, instance.key)
        self._write_arrivals(batch)

    def _write_ends(self, batch: Batch, key: int) -> None:
        if self._retires:
            batch.retired.append(key)
        if self._drops_activities:
            batch.dropped.append(key)
        elif self._drops_timers:
            batch.ended.append(key)
        if self._inbox_gone:
            batch.inbox_gone.extend(self._inbox_gone)
        if self._activities_gone:
            batch.activities_gone.extend(self._activities_gone)
        if self._timers_gone:
            batch.timers_gone.extend(self._timers_gone)

    def _write_arrivals(self, batch: Batch) -> None:
        if self._chunks:
            batch.chunks.extend(self._chunks)
        if self._inbox:
            batch.inbox.extend((r, event.SerializeToString()) for r, event in self._inbox.items())
        if self._activities:
            batch.activities.extend(
                (row, activity.item.activityRequest.SerializeToString())
                for row, activity in self._activities.items()
            )
        if self._timers:
            batch.timers.extend(
                (row, timer.fire_at, timer.timer_id, timer.stamp)
                for row, timer in self._timers.items()
            )


def _added(items: list[T] | None, item: T) -> list[T]:
    if items is None:
        return [item]
    items.append(item)
    return items
