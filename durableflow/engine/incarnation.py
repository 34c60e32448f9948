"""Everything that is built on one reading of the file: memory, queues, streams, timers.

A failed commit voids all of it at once.  So all of it hangs on this one object, which is dropped
and built anew from disk; its name is part of every orchestrator token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.absences import Absences
from durableflow.engine.activities import Activities
from durableflow.engine.batch import Batch, Suspect, TimerRow
from durableflow.engine.clock import Clock
from durableflow.engine.committer import Committer
from durableflow.engine.core import Core
from durableflow.engine.custody import Custody
from durableflow.engine.delivery import Delivery
from durableflow.engine.filters import Filters
from durableflow.engine.histories import Histories
from durableflow.engine.instances import Instances
from durableflow.engine.jobs import JobThread
from durableflow.engine.lifecycles import Lifecycles
from durableflow.engine.store import Reader, Store
from durableflow.engine.stream import Stream
from durableflow.engine.suspects import QUARANTINE_AFTER, Suspects
from durableflow.engine.timers import Timers
from durableflow.engine.turns import Turns
from durableflow.engine.working_set import WorkingSet
from durableflow.errors import CallError, StorageError
from durableflow.hub.names import new_incarnation
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.status import Status

log = logging.getLogger(__name__)

_LOAD_AT_ONCE: Final = 500
# Parked instances that a new worker may take are woken this many at a time, this often (seconds).
_WAKE_AT_ONCE: Final = 100
_WAKE_EVERY: Final = 0.1
_READ_AGAIN_SECONDS: Final = 1.0
# Workers are told from new ones by the last so many that came.
_MOST_KNOWN: Final = 1000


class Incarnation:
    """The engine between two readings of its file."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        *,
        writing: JobThread,
        reading: JobThread,
        clock: Clock,
        on_failed: Callable[[Incarnation, StorageError], None],
    ) -> None:
        self.name = new_incarnation()
        self.hub_id = ""
        self.has_served_worker = False
        self.stopped: CallError | None = None
        self.store = store
        self.reader = reader
        self._loop = asyncio.get_running_loop()
        self._writing = writing
        self._reading = reading
        self._clock = clock
        self._on_failed = on_failed
        self._known_workers: dict[tuple[str, Filters], None] = {}
        self._firing: set[asyncio.Task[None]] = set()

    async def load(self, *, process_lives: bool) -> None:
        """Read the file; reads can be answered from now on.  Nothing is written.

        Args:
            process_lives: This process has had the file open all the time.

        Raises:
            StorageError: the file cannot be read; nothing is left running.
        """
        meta = await self._reading.submit(self.reader.meta)
        found = await self._reading.submit(self.reader.suspects)
        keys = count(await self._reading.submit(self.reader.last_key) + 1)
        died = meta.get("clean") == 0 and not process_lives
        self._build(found, lambda: next(keys), died=died)
        self.hub_id = str(meta["hub_id"])
        self.has_served_worker = bool(meta.get("served"))
        try:
            await self._restore()
        except BaseException:
            self.stop(CallError(Status.UNAVAILABLE, "The task hub's file cannot be read."))
            raise

    def start(self) -> None:
        """Begin to write, and to do by itself what is due.  Call once, after ``load``."""
        self.committer.put_meta("clean", 0)
        self.suspects.start(Custody(self._core, self.turns, self.activities))
        self.timers.start()

    def open_stream(self, request: pb.GetWorkItemsRequest, metadata: Metadata) -> Stream:
        """A stream of work items; it begins when it is first read."""
        return Stream(request, metadata, on_open=self._stream_opened, on_close=self._stream_closed)

    async def close(self) -> None:
        """Commit everything, note that the end was clean, and let go of the file."""
        await self.committer.flush()
        self.stop(CallError(Status.UNAVAILABLE, "The engine is shutting down."))
        with_nothing_out = Batch(forget_dispatches=QUARANTINE_AFTER, meta=[("clean", 1)])
        await self._writing.submit(self.store.write, with_nothing_out)

    def stop(self, error: CallError) -> None:
        """Void everything in memory; whoever waits or reads a stream gets ``error``."""
        self.stopped = error
        self.instances.stop(error)
        self.timers.stop()
        self.suspects.stop()
        self.absences.stop()
        self.activities.stop()
        self.turns.stop()
        for task in self._firing:
            task.cancel()
        streams = self.delivery.stop()
        self.committer.stop(error)
        for stream in streams:
            stream.fail(error)
        for resident in self.working_set.residents():
            if resident.wake is not None:
                resident.wake.cancel()
            for waiter in resident.start_waiters + resident.completion_waiters:
                if not waiter.done():
                    waiter.set_exception(error)

    def _build(self, found: list[Suspect], next_key: Callable[[], int], *, died: bool) -> None:
        self.working_set = WorkingSet(
            self._reading, self.reader, barrier=lambda resident: self.committer.barrier(resident)
        )
        self.committer = Committer(
            self._writing,
            self.store,
            on_settled=self.working_set.settle,
            on_failed=lambda error: self._on_failed(self, error),
        )
        self.delivery = Delivery(
            lambda stream: self.absences.left(stream),
            on_more_takers=lambda: self.suspects.examine(),
        )
        core = self._core = Core(
            clock=self._clock,
            committer=self.committer,
            working_set=self.working_set,
            histories=Histories(self._reading, self.reader, self.committer),
            delivery=self.delivery,
            reading=self._reading,
            reader=self.reader,
        )
        self.suspects = Suspects(found, died=died, delivery=self.delivery)
        self.activities = Activities(core, self.suspects)
        self.timers = Timers(
            self._clock,
            read=lambda first, limit: self._reading.submit(self.reader.timers, first, limit),
            fire=self._fire,
        )
        self.turns = Turns(
            core,
            incarnation=self.name,
            suspects=self.suspects,
            start_activities=self.activities.start,
            set_timer=self.timers.add,
        )
        self.absences = Absences(self.delivery, (self.turns, self.activities))
        lifecycles = Lifecycles(
            core,
            turns=self.turns,
            activities=self.activities,
            timers=self.timers,
            next_key=next_key,
        )
        self.turns.start(lifecycles)
        self.instances = Instances(
            core, suspects=self.suspects, turns=self.turns, lifecycles=lifecycles
        )

    async def _restore(self) -> None:
        keys = await self._reading.submit(self.reader.busy_keys)
        for first in range(0, len(keys), _LOAD_AT_ONCE):
            some = keys[first : first + _LOAD_AT_ONCE]
            for resident in await self.working_set.load_keys(some):
                self.turns.ready(resident)
            for key in some:
                for row, request in await self._reading.submit(self.reader.activities_of, key):
                    self.activities.restore(row, pb.ActivityRequest.FromString(request))

    def _stream_opened(self, stream: Stream) -> None:
        if self.stopped is not None:
            stream.fail(self.stopped)
            return
        if not self.has_served_worker:
            self.has_served_worker = True
            self.committer.put_meta("served", 1)
        self.absences.joined(stream)
        self.delivery.connect(stream)
        self.suspects.examine()
        if self._is_new(stream):
            self._wake_parked(stream)

    def _is_new(self, stream: Stream) -> bool:
        """Its worker was not here before with these filters, as far as can be told."""
        if not stream.worker_id:
            return True
        worker = (stream.worker_id, stream.filters)
        is_new = worker not in self._known_workers
        self._known_workers.pop(worker, None)
        self._known_workers[worker] = None
        if len(self._known_workers) > _MOST_KNOWN:
            del self._known_workers[next(iter(self._known_workers))]
        return is_new

    def _stream_closed(self, stream: Stream) -> None:
        self.delivery.disconnect(stream)

    def _wake_parked(self, stream: Stream) -> None:
        parked = [
            resident
            for resident in self.working_set.residents()
            if resident.wake is not None and stream.filters.match(self.turns.work(resident).key)
        ]
        for number, resident in enumerate(parked):
            delay = number // _WAKE_AT_ONCE * _WAKE_EVERY
            self._loop.call_later(delay, self.turns.wake, resident)

    def _fire(self, due: Sequence[TimerRow]) -> None:
        task = self._loop.create_task(self._fire_all(due))
        self._firing.add(task)
        task.add_done_callback(self._firing.discard)

    async def _fire_all(self, due: Sequence[TimerRow]) -> None:
        while True:
            try:
                return await self.instances.fire_all(due)
            except StorageError as error:
                log.warning("%d timers are due and wait until they can fire. %s", len(due), error)
                await asyncio.sleep(_READ_AGAIN_SECONDS)
