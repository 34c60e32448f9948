"""Orchestrator turns: handed out, applied, given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final, Protocol

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import transitions
from durableflow.engine.batch import TimerRow
from durableflow.engine.committer import RECORDING
from durableflow.engine.core import Core
from durableflow.engine.filters import QueueKey
from durableflow.engine.histories import attach_history
from durableflow.engine.outcome import Continuation, Outcome
from durableflow.engine.resident import Resident, Turn, wake
from durableflow.engine.state import QUARANTINE, ROW_SPAN, Message, Parked
from durableflow.engine.stream import Stream
from durableflow.engine.suspects import Suspects
from durableflow.engine.trouble import call_error
from durableflow.errors import CallError, StorageError
from durableflow.hub.backoff import Backoff
from durableflow.protocol import metadata as keys
from durableflow.protocol.status import Status

log = logging.getLogger(__name__)

# A turn is offered again when its worker has said nothing for this long, in seconds.
LEASE_SECONDS: Final = 60.0
_SWEEP_SECONDS: Final = 5.0

# What one turn is given fits into a message of gRPC's own default limit of 4 MiB.  (An event that
# is larger by itself has passed its sender's limit, and makes a turn of its own.)
_BATCH_BYTES: Final = 2 * 1024 * 1024
# How long work waits that was given back, by how often in a row.
GIVEN_BACK: Final = Backoff(first_seconds=1.0, limit_seconds=300.0)


@frozen(eq=False)
class TurnWork:
    """A runnable instance, as the delivery sees it."""

    resident: Resident
    key: QueueKey
    sender: Callable[[Resident, Stream], None]
    held: Callable[[int], bool]

    @property
    def preferred(self) -> Stream | None:
        """The stream that holds its session."""
        return self.resident.session

    def withdrawn(self) -> bool:
        """It is not runnable any more, or has become a suspect."""
        resident = self.resident
        resident.queued = False
        if resident.gone or resident.turn is not None or not resident.instance.is_runnable:
            return True
        return self.held(-resident.instance.key)

    def send(self, stream: Stream) -> None:
        """Begin the turn."""
        self.resident.queued = False
        self.sender(self.resident, stream)


class Others(Protocol):
    """What an outcome does to instances other than its own; see ``Lifecycles``."""

    async def load(self, instance_id: str, *, with_family: bool) -> Resident | None:
        """Load an instance, and with its family also its parent and its live descendants."""

    def carry_out(self, resident: Resident, outcome: Outcome) -> None:
        """Start children, send events, terminate, answer the parent."""

    def continue_as_new(
        self, resident: Resident, outcome: Outcome, continuation: Continuation
    ) -> None:
        """Replace an execution by its next generation."""


class Turns:
    """The life of a turn, from a runnable instance to an applied outcome."""

    def __init__(
        self,
        core: Core,
        *,
        incarnation: str,
        suspects: Suspects,
        start_activities: Callable[[Resident, Outcome], None],
        set_timer: Callable[[TimerRow], None],
    ) -> None:
        """Make it; ``start`` gives it what it needs to touch other instances."""
        self._loop = asyncio.get_running_loop()
        self._incarnation = incarnation
        self._clock = core.clock
        self._committer = core.committer
        self._delivery = core.delivery
        self._histories = core.histories
        self._working_set = core.working_set
        self._suspects = suspects
        self._start_activities = start_activities
        self._set_timer = set_timer
        self._others: Others
        self._numbers = count(1)
        self._by_token: dict[str, Resident] = {}
        self._fetches: set[asyncio.Task[None]] = set()
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._expire)

    def start(self, others: Others) -> None:
        """Let outcomes touch other instances.  Call once, before any turn is applied."""
        self._others = others

    def stop(self) -> None:
        """Do nothing more."""
        self._sweep.cancel()
        for fetch in self._fetches:
            fetch.cancel()

    def add_message(
        self, resident: Resident, event: pb.HistoryEvent, *, delay: float = 0.0
    ) -> None:
        """Put an event into an instance's inbox and run the instance if it can run."""
        row = resident.next_message
        resident.next_message += 1
        message = Message(row, event)
        resident.instance.inbox.append(message)
        self._committer.writes(resident, delay=delay).add_message(message)
        self.ready(resident)

    def ready(self, resident: Resident) -> None:
        """Offer an instance's next turn, if it has one and it is not held back."""
        if resident.queued or resident.turn or resident.wake or resident.gone:
            return
        if resident.instance.is_runnable and not self._suspects.holds(-resident.instance.key):
            resident.queued = True
            self._delivery.offer(self.work(resident))

    def work(self, resident: Resident) -> TurnWork:
        """The next turn of an instance, as the delivery sees it."""
        instance = resident.instance
        key: QueueKey = ("turn", instance.name, instance.version or "")
        return TurnWork(resident, key, self._send, self._suspects.holds)

    def complete(self, response: pb.OrchestratorResponse) -> asyncio.Future[None]:
        """Apply a turn's outcome, at once if it touches no other instance.

        A stale token changes nothing.

        Returns:
            What is done when the outcome is committed.

        Raises:
            CallError: INVALID_ARGUMENT for a partial response.
        """
        if response.isPartial:
            raise CallError(
                Status.INVALID_ARGUMENT,
                "Partial orchestrator responses are not supported. Send the turn in one response.",
            )
        resident = self._by_token.get(response.completionToken)
        if resident is None or resident.turn is None:
            return self._committer.nothing()
        others = transitions.targets(resident.instance, response)
        if others:
            return self._loop.create_task(self._complete_with(others, resident, response))
        self._complete(resident, response)
        return self._committer.covered(resident)

    async def _complete_with(
        self, others: dict[str, bool], resident: Resident, response: pb.OrchestratorResponse
    ) -> None:
        """Load the instances that a turn touches, then apply it."""
        with self._working_set.holding():
            try:
                for instance_id, with_family in others.items():
                    await self._others.load(instance_id, with_family=with_family)
            except StorageError as error:
                raise call_error(error) from error
            self._complete(resident, response)
        await self._committer.covered(resident)

    def _complete(self, resident: Resident, response: pb.OrchestratorResponse) -> None:
        """Apply a turn whose targets are in memory, without suspension."""
        turn = resident.turn
        if turn is None or turn.token != response.completionToken:
            return  # voided while the targets were loaded
        self.release(resident)
        if response.requiresHistory:
            resident.session = None
            self.ready(resident)
        else:
            now = self._clock.now()
            outcome = transitions.apply_turn(resident.instance, turn.events, response, now)
            self.apply(resident, outcome)
            resident.token = turn.token
            keeps = turn.stream.keeps_sessions and turn.stream.is_open
            resident.session = turn.stream if keeps else None
            self.ready(resident)
        self._delivery.pull(turn.stream)

    async def abandon(self, token: str, metadata: keys.Metadata) -> None:
        """Take a turn back; it is offered again after a growing delay.  A stale token is ignored.

        With a kind in the metadata the instance is *parked*: the reason is stored and shown.
        """
        resident = self._by_token.get(token)
        if resident is None or resident.turn is None:
            return
        stream = resident.turn.stream
        self.release(resident)
        resident.session = None
        resident.abandons += 1
        kind = keys.get(metadata, keys.ABANDON_KIND)
        if kind is not None:
            reason = keys.decode_text(keys.get(metadata, keys.ABANDON_REASON) or "")
            resident.instance.parked = Parked(kind, reason)
            self._committer.writes(resident).changed = True
        delay = GIVEN_BACK.delay_seconds(resident.abandons)
        resident.wake = self._loop.call_later(delay, self.wake, resident)
        self._delivery.pull(stream)
        barrier = self._committer.barrier(resident)
        if barrier is not None:
            await barrier

    def wake(self, resident: Resident) -> None:
        """End the delay after a turn was given back."""
        if resident.wake is not None:
            resident.wake.cancel()
            resident.wake = None
            self.ready(resident)

    def release(self, resident: Resident) -> None:
        """End a turn in flight: its token is worth nothing any more."""
        turn = resident.turn
        if turn is None:
            return
        self._void(resident, turn)
        turn.stream.turns.discard(resident)
        resident.lost = None
        item = -resident.instance.key
        was_suspect = self._suspects.finished(item)
        writes = self._committer.writes(resident, delay=RECORDING)
        writes.take_back(item, recorded=was_suspect)

    def lost(self, stream: Stream) -> None:
        """Take back every turn of a stream that ended; turns have no effects, so at once."""
        for resident in list(stream.turns):
            if resident.turn is not None:
                self._void(resident, resident.turn)
            item = -resident.instance.key
            if not self._suspects.worker_lost(item, again=resident.lost is not None):
                self._committer.writes(resident, delay=RECORDING).take_back(item)
            resident.lost = stream
            resident.session = None
            self.ready(resident)

    def back(self, stream: Stream, lost: Stream) -> None:
        """A worker came back: the turns that it held did not kill it."""
        self._end_wait(lost, self._suspects.worker_lives)

    def gone(self, lost: Stream, *, died: bool) -> None:
        """A worker does not come back: the turns that it held are suspects."""
        self._end_wait(lost, self._suspects.worker_died if died else self._suspects.worker_lives)

    def _end_wait(self, lost: Stream, tell: Callable[[int], None]) -> None:
        held, lost.turns = lost.turns, set()
        for resident in held:
            if resident.lost is not lost:
                continue  # another worker has brought it to an end, or lost it since
            resident.lost = None
            key = resident.instance.key
            current = self._working_set.by_key(key)
            if current is None or current.instance.is_terminal:
                self._suspects.forget([-key])
            else:
                tell(-key)
                self.ready(current)

    def _void(self, resident: Resident, turn: Turn) -> None:
        resident.turn = None
        del self._by_token[turn.token]

    def apply(self, resident: Resident, outcome: Outcome) -> None:
        """Make an outcome true in memory, and queue its writes and effects."""
        instance, writes = resident.instance, self._committer.writes(resident)
        if outcome.activities:
            for activity in outcome.activities:
                writes.add_activity(activity)
            writes.then(partial(self._start_activities, resident, outcome))
        if outcome.continued is not None:
            instance.activities.update((a.row, a.task_id) for a in outcome.activities)
            self._others.carry_out(resident, outcome)
            self._others.continue_as_new(resident, outcome, outcome.continued)
            return
        chunk = outcome.chunk.SerializeToString()
        parked = instance.parked
        writes.add_chunk(instance.key * ROW_SPAN + instance.chunks, chunk)
        for message in transitions.absorb(instance, outcome):
            writes.consume(message.row)
        if parked and parked.kind == QUARANTINE and self._suspects.quarantines(instance.activities):
            instance.parked = parked  # other work of the instance goes on
        writes.changed = True
        resident.abandons = 0
        for timer in outcome.timers:
            writes.add_timer(timer)
            row = TimerRow(timer.fire_at, timer.row, timer.timer_id, timer.stamp)
            writes.then(partial(self._set_timer, row))
        if instance.is_terminal:
            writes.end()
            resident.session = None
            self._histories.drop(resident)
            wake(resident.completion_waiters)
        else:
            self._histories.extend(resident, chunk)
        wake(resident.start_waiters)
        self._others.carry_out(resident, outcome)

    def _send(self, resident: Resident, stream: Stream) -> None:
        instance = resident.instance
        token = f"{self._incarnation}.{next(self._numbers)}"
        events = transitions.new_events(instance, self._clock.now(), most_bytes=_BATCH_BYTES)
        resident.turn = Turn(token, events, stream, self._loop.time() + LEASE_SECONDS)
        stream.turns.add(resident)
        self._by_token[token] = resident
        item = pb.WorkItem(completionToken=token)
        request = item.orchestratorRequest
        request.instanceId = instance.instance_id
        request.executionId.value = instance.execution_id
        request.newEvents.extend(events)
        if instance.trace is not None:
            request.orchestrationTraceContext.ParseFromString(instance.trace)
        delay = 0.0 if self._suspects.vigilant else RECORDING
        writes = self._committer.writes(resident, delay=delay)
        writes.give_out(-instance.key, self._suspects.record(-instance.key))
        if stream.keeps_sessions and (resident.session is stream or not instance.events):
            position = f"{instance.events}:{resident.token if instance.events else ''}"
            request.properties[keys.POSITION].string_value = position
        elif not instance.events:
            self._histories.begin(resident, [])
        elif (chunks := self._histories.cached(resident)) is not None:
            attach_history(request, stream, chunks)
        else:
            self._later(resident, stream, item, fetch=True)
            return
        if self._suspects.vigilant:
            self._later(resident, stream, item, fetch=False)
        else:
            stream.push(item)

    def _later(self, resident: Resident, stream: Stream, item: pb.WorkItem, *, fetch: bool) -> None:
        task = self._loop.create_task(self._send_later(resident, stream, item, fetch=fetch))
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    async def _send_later(
        self, resident: Resident, stream: Stream, item: pb.WorkItem, *, fetch: bool
    ) -> None:
        """Push an item once its history is read, or once its dispatch is recorded."""
        if fetch:
            try:
                chunks = await self._histories.read(resident)
            except (StorageError, CallError) as error:
                if not isinstance(error, CallError):  # else the execution is gone, and its turn too
                    log.exception("'%s' has no readable history.", resident.instance.instance_id)
                await self.abandon(item.completionToken, ())
                return
            if not stream.keeps_sessions:
                self._histories.begin(resident, chunks)
            attach_history(item.orchestratorRequest, stream, chunks)
        barrier = self._committer.barrier(resident) if self._suspects.vigilant else None
        if barrier is not None:
            await barrier
        turn = resident.turn
        if turn is not None and turn.token == item.completionToken:
            stream.push(item)

    def _expire(self) -> None:
        now = self._loop.time()
        for resident in list(self._by_token.values()):
            turn = resident.turn
            if turn is not None and turn.expires <= now:
                log.warning(
                    "A turn of instance '%s' was not completed within %d s; it is offered again.",
                    resident.instance.instance_id,
                    LEASE_SECONDS,
                )
                self.release(resident)
                resident.session = None
                self.ready(resident)
                self._delivery.pull(turn.stream)
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._expire)
