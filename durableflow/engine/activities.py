"""Activities: handed out once committed, answered once, handed out again when a worker is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from attrs import define

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import transitions
from durableflow.engine.committer import PAIRING, RECORDING
from durableflow.engine.core import Core
from durableflow.engine.filters import QueueKey
from durableflow.engine.outcome import Outcome
from durableflow.engine.resident import Resident
from durableflow.engine.state import CONTINUED_AS_NEW, Instance, key_of
from durableflow.engine.stream import Stream
from durableflow.engine.suspects import Suspects
from durableflow.engine.turns import GIVEN_BACK, Turns
from durableflow.errors import StorageError

log = logging.getLogger(__name__)


@define(slots=True, eq=False)
class ActivityWork:
    """One scheduling of an activity that has no answer yet.

    Attributes:
        item: The work item while it was never handed out; afterwards it is read from disk.
        stream: Who holds it.
        wake: Set while an activity that was given back is not offered again.
        dropped: It is not wanted any more: it was answered, or its instance ended.
    """

    row: int
    task_id: int
    resident: Resident
    key: QueueKey
    sender: Callable[[ActivityWork, Stream], None]
    item: pb.WorkItem | None = None
    stream: Stream | None = None
    abandons: int = 0
    wake: asyncio.TimerHandle | None = None
    dropped: bool = False

    @property
    def preferred(self) -> Stream | None:
        """Any stream is as good as any other."""
        return None

    def withdrawn(self) -> bool:
        """It is not wanted any more."""
        return self.dropped or self.stream is not None

    def send(self, stream: Stream) -> None:
        """Hand it out."""
        self.sender(self, stream)


class Activities:
    """The outstanding activities of all instances, by row."""

    def __init__(self, core: Core, suspects: Suspects) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = core.clock
        self._committer = core.committer
        self._working_set = core.working_set
        self._delivery = core.delivery
        self._reading = core.reading
        self._reader = core.reader
        self._suspects = suspects
        self._by_row: dict[int, ActivityWork] = {}
        self._sends: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Do nothing more."""
        for send in self._sends:
            send.cancel()

    def work(self, row: int) -> ActivityWork | None:
        """An outstanding activity."""
        return self._by_row.get(row)

    def start(self, resident: Resident, outcome: Outcome) -> None:
        """Offer the activities of a committed turn."""
        for activity in outcome.activities:
            if activity.row in resident.instance.activities:
                request = activity.item.activityRequest
                self._add(resident, activity.row, request, activity.item)

    def restore(self, row: int, request: pb.ActivityRequest) -> None:
        """Offer an activity that was outstanding when the file was last closed.

        The execution that asked for it may be gone, continued as new; the activity still runs.
        """
        resident = self._working_set.by_key(key_of(row)) or _retired(row, request)
        self._add(resident, row, request, None)

    def offer(self, work: ActivityWork) -> None:
        """Offer an activity, unless it is held back."""
        if not (work.dropped or work.stream or work.wake or self._suspects.holds(work.row)):
            self._delivery.offer(work)

    def complete(self, response: pb.ActivityResponse, turns: Turns) -> asyncio.Future[None]:
        """Take an activity's answer; the first one for an outstanding row wins.

        Returns:
            What is done when the answer is committed.
        """
        work = self._of_token(response.completionToken)
        if work is None:
            return self._committer.nothing()
        resident = work.resident
        held = resident.session is not None and resident.session.is_open
        writes = self._committer.writes(resident, delay=PAIRING if held else 0.0)
        self._end(work)
        writes.end_activity(work.row)
        if not (resident.gone or resident.instance.is_terminal):
            event = transitions.task_result(work.task_id, response, self._clock.now())
            turns.add_message(resident, event, delay=PAIRING if held else 0.0)
        return self._committer.covered(resident, hurry=False)

    async def abandon(self, token: str) -> None:
        """Take an activity back; it is offered again after a growing delay."""
        work = self._of_token(token)
        if work is not None and work.stream is not None:
            self._take_back(work, work.stream)

    def drop(self, resident: Resident) -> None:
        """Forget every outstanding activity of an instance that ended, and what they did."""
        self._suspects.forget([-resident.instance.key, *resident.instance.activities])
        for row in list(resident.instance.activities):
            work = self._by_row.get(row)
            if work is None:
                del resident.instance.activities[row]
            else:
                self._end(work)

    def lost(self, stream: Stream) -> None:
        """A stream ended; what it holds waits for its worker."""
        for row in stream.activities:
            self._suspects.worker_lost(row)

    def back(self, stream: Stream, lost: Stream) -> None:
        """Give a worker that came back what it still runs, or has never received."""
        held, lost.activities = lost.activities, {}
        for work in held.values():
            work.stream = stream
            stream.activities[work.row] = work
            self._suspects.worker_back(work.row)
            # What was on its way when the line broke may be lost.  The worker knows what it runs.
            self._start_sending(work, stream, None)

    def gone(self, lost: Stream, *, died: bool) -> None:
        """Offer what a worker held that does not come back."""
        held, lost.activities = lost.activities, {}
        for work in held.values():
            work.stream = None
            if died:
                self._suspects.worker_died(work.row)
            else:
                self._suspects.worker_lives(work.row)
            self.offer(work)

    def _add(
        self, resident: Resident, row: int, request: pb.ActivityRequest, item: pb.WorkItem | None
    ) -> None:
        key: QueueKey = ("activity", request.name, request.version.value)
        work = ActivityWork(row, request.taskId, resident, key, self._send, item)
        self._by_row[row] = work
        self.offer(work)

    def _of_token(self, token: str) -> ActivityWork | None:
        row, _, execution_id = token.partition(".")
        work = self._by_row.get(int(row)) if row.isdecimal() else None
        if work is None or work.resident.instance.execution_id != execution_id:
            return None
        return work

    def _end(self, work: ActivityWork) -> None:
        work.dropped = True
        stream = work.stream
        if work.wake is not None:
            work.wake.cancel()
        self._release(work)
        del self._by_row[work.row]
        work.resident.instance.activities.pop(work.row, None)
        if stream is not None:
            self._delivery.pull(stream)

    def _release(self, work: ActivityWork) -> None:
        stream, work.stream = work.stream, None
        if stream is None:
            return
        stream.activities.pop(work.row, None)
        was_suspect = self._suspects.finished(work.row)
        writes = self._committer.writes(work.resident, delay=RECORDING)
        writes.take_back(work.row, recorded=was_suspect)

    def _wake(self, work: ActivityWork) -> None:
        work.wake = None
        self.offer(work)

    def _take_back(self, work: ActivityWork, stream: Stream) -> None:
        self._release(work)
        work.abandons += 1
        delay = GIVEN_BACK.delay_seconds(work.abandons)
        work.wake = self._loop.call_later(delay, self._wake, work)
        self._delivery.pull(stream)

    def _send(self, work: ActivityWork, stream: Stream) -> None:
        work.stream = stream
        stream.activities[work.row] = work
        vigilant = self._suspects.vigilant
        writes = self._committer.writes(work.resident, delay=0.0 if vigilant else RECORDING)
        writes.give_out(work.row, self._suspects.record(work.row))
        item, work.item = work.item, None
        if item is None or vigilant:
            self._start_sending(work, stream, item)
        else:
            self._push(work, stream, item)

    def _start_sending(self, work: ActivityWork, stream: Stream, item: pb.WorkItem | None) -> None:
        task = self._loop.create_task(self._send_later(work, stream, item))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _send_later(
        self, work: ActivityWork, stream: Stream, item: pb.WorkItem | None
    ) -> None:
        """Push an item once it is read, or once its dispatch is recorded."""
        if item is None:
            try:
                request = await self._reading.submit(self._reader.activity, work.row)
            except StorageError as error:
                log.warning(
                    "An activity of instance '%s' cannot be read and comes later. %s",
                    work.resident.instance.instance_id,
                    error,
                )
                if work.stream is stream:
                    self._take_back(work, stream)
                return
            if request is None:
                return
            item = pb.WorkItem(activityRequest=pb.ActivityRequest.FromString(request))
        if self._suspects.vigilant:
            barrier = self._committer.barrier(work.resident)
            if barrier is not None:
                await barrier
        if work.stream is stream:
            self._push(work, stream, item)

    def _push(self, work: ActivityWork, stream: Stream, item: pb.WorkItem) -> None:
        item.completionToken = f"{work.row}.{work.resident.instance.execution_id}"
        stream.push(item)


def _retired(row: int, request: pb.ActivityRequest) -> Resident:
    """What stands for an execution that continued as new, while its activities still run."""
    asked = request.orchestrationInstance
    instance = Instance(
        key=key_of(row),
        instance_id=asked.instanceId,
        execution_id=asked.executionId.value,
        name="",
        version=None,
        input=None,
        created=0,
        status=CONTINUED_AS_NEW,
    )
    return Resident(instance, gone=True)
