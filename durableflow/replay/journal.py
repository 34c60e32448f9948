"""What one execution of an orchestrator has asked for and what has arrived: ``Journal``.

Each thing that an orchestrator asks the task hub for is a *request* with a number, counted from 1.
A request is ``unconfirmed`` until the history, or the end of the turn, shows that the hub took it
on; then its answer is outstanding, in ``calls``, ``children`` or ``timers``.  A retried call is
requested again under its number.

An event is kept until the code has *taken* it: it was handed to the code that waited for it, or
the code has looked at the task that holds it.  What nobody has taken is carried over when the
instance continues as new, since it would be lost otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import ConversionError
from durableflow.protocol.metadata import LATER_EXECUTION
from durableflow.protocol.patches import PATCHED
from durableflow.protocol.times import micros_of, set_micros
from durableflow.replay.requests import (
    ActivityCall,
    ChildCall,
    Continuation,
    EventWait,
    Request,
    Timer,
)

if TYPE_CHECKING:
    from durableflow.converter import Converter
    from durableflow.replay.tasks import Deferred

_DIGEST_BYTES = 6


@frozen
class Arrival:
    """An event that has arrived.

    Attributes:
        number: Counts arrivals.
        at: When, in microseconds since 1970-01-01 UTC.
    """

    number: int
    name: str
    data: str | None
    at: int

    def to_message(self) -> pb.HistoryEvent:
        """Make the history event once more."""
        event = pb.HistoryEvent(eventId=-1)
        set_micros(event.timestamp, self.at)
        event.eventRaised.name = self.name
        if self.data is not None:
            event.eventRaised.input.value = self.data
        return event


@define(eq=False, repr=False)
class Journal:
    """The state of one execution.

    Attributes:
        now: The time of the orchestrator, in microseconds since 1970-01-01 UTC.
        position: The number of the history event at work, counted from 1.
        replaying: Whether that event lies in the past.
        in_turn: Whether the orchestrator may use its context now.
        evicted: Whether the session has been closed; nothing has effects any more.
        last_id: The number of the newest request.
        patches: Whether the execution runs with a change of the code, by its marker.
        patch_numbers: The numbers that markers have, which nothing else gets.
        continuation: How the instance goes on as new, once the code has asked for that.
        is_later_execution: Whether an earlier execution of the instance may have left children.
        unawaited: The tasks that nobody has waited for yet, oldest first.
        untaken: The events that a task holds and the code has not taken.
        resumptions: How often the code has been resumed.
        suspended: Whether the instance is suspended: answers and events are ``held``.
        payload_characters: How much text has arrived.
    """

    converter: Converter
    instance_id: str = field(default="", init=False)
    execution_id: str = field(default="", init=False)
    name: str = field(default="", init=False)
    version: str = field(default="", init=False)
    parent_instance_id: str | None = field(default=None, init=False)
    now: int = field(default=0, init=False)
    position: int = field(default=0, init=False)
    replaying: bool = field(default=True, init=False)
    in_turn: bool = field(default=False, init=False)
    evicted: bool = field(default=False, init=False)
    last_id: int = field(default=0, init=False)
    patches: dict[int, bool] = field(factory=dict, init=False)
    patch_numbers: frozenset[int] = field(default=frozenset(), init=False)
    unconfirmed: dict[int, Request] = field(factory=dict, init=False)
    calls: dict[int, ActivityCall] = field(factory=dict, init=False)
    children: dict[int, ChildCall] = field(factory=dict, init=False)
    timers: dict[int, Timer] = field(factory=dict, init=False)
    continuation: Continuation | None = field(default=None, init=False)
    is_later_execution: bool = field(default=False, init=False)
    unawaited: dict[Any, None] = field(factory=dict, init=False)
    untaken: dict[Any, Arrival] = field(factory=dict, init=False)
    resumptions: int = field(default=0, init=False)
    suspended: bool = field(default=False, init=False)
    held: list[pb.HistoryEvent] = field(factory=list, init=False)
    custom_status: str | None = field(default=None, init=False)
    payload_characters: int = field(default=0, init=False)
    _waits: dict[str, deque[EventWait]] = field(factory=dict, init=False)
    _arrived: dict[str, deque[Arrival]] = field(factory=dict, init=False)
    _arrivals: int = field(default=0, init=False)
    _names_children: bool = field(default=False, init=False)

    @property
    def next_id(self) -> int:
        """The number of the next request."""
        number = self.last_id + 1
        while number in self.patch_numbers:
            number += 1
        return number

    @property
    def is_silent(self) -> bool:
        """Whether logs are off: what happens now was logged before, or has no effects."""
        return self.replaying or self.evicted

    def call(self, call: ActivityCall) -> None:
        """Request an activity."""
        self.last_id = call.id = self.next_id
        call.first_at = self.now
        self.unconfirmed[call.id] = self.calls[call.id] = call

    def start_child(self, call: ChildCall) -> None:
        """Request a sub-orchestration; one without an id gets one that no other child has."""
        self.last_id = call.id = self.next_id
        call.first_at = self.now
        if not call.instance_id:
            self._names_children = True
            call.instance_id = f"{self._family_name}:{call.id:04x}"
        self.unconfirmed[call.id] = self.children[call.id] = call

    def call_again(self, call: ActivityCall | ChildCall) -> None:
        """Request another attempt, under the same number."""
        call.attempts += 1
        self.unconfirmed[call.id] = call
        if isinstance(call, ActivityCall):
            self.calls[call.id] = call
        else:
            self.children[call.id] = call

    def request(self, request: Request) -> None:
        """Request what has no answer."""
        self.last_id = request.id = self.next_id
        self.unconfirmed[request.id] = request

    def set_timer(self, timer: Timer) -> None:
        """Request a timer."""
        self.last_id = timer.id = self.next_id
        self.unconfirmed[timer.id] = self.timers[timer.id] = timer

    def deliver(self, task: Deferred[Any], text: str | None, declared: Any, where: str) -> None:
        """End a task with a result that arrived as JSON, or with the error of its conversion."""
        if text is not None:
            self.payload_characters += len(text)
        try:
            value = self.converter.loads(text, declared, where=where)
        except ConversionError as error:
            task.fail(error)
        else:
            task.settle(value)

    def wait_for_event(self, wait: EventWait) -> None:
        """Wait for an event, or take the oldest one of that name that nobody waited for."""
        key = wait.name.casefold()
        arrived = self._arrived.get(key)
        if arrived:
            self._give(wait, arrived.popleft())
        else:
            self._waits.setdefault(key, deque()).append(wait)

    def raise_event(self, event: pb.HistoryEvent) -> None:
        """Give an event to whoever has waited longest, or keep it."""
        raised = event.eventRaised
        name = raised.name
        if name == LATER_EXECUTION or name.startswith(PATCHED):
            return
        self._arrivals += 1
        data = raised.input.value if raised.HasField("input") else None
        arrival = Arrival(self._arrivals, name, data, micros_of(event.timestamp))
        key = name.casefold()
        waits = self._waits.get(key)
        while waits:
            wait = waits.popleft()
            if not wait.task.has_ended:
                self._give(wait, arrival)
                return
        self._arrived.setdefault(key, deque()).append(arrival)

    def take_requests(self) -> list[Request]:
        """Return what the turn asks for, in order; it counts as confirmed."""
        requests = list(self.unconfirmed.values())
        self.unconfirmed.clear()
        return requests

    def end(self) -> None:
        """Wait for nothing any more; what still arrives is kept, or means nothing."""
        self.calls.clear()
        self.children.clear()
        self.timers.clear()
        self._waits.clear()

    def carryover(self) -> Iterator[pb.HistoryEvent]:
        """Return the events that the next execution of the instance still has to see."""
        if self._names_children or self.is_later_execution:
            yield Arrival(0, LATER_EXECUTION, None, self.now).to_message()
        if self.continuation is None or not self.continuation.keeps_events:
            return
        for event in self.held:
            if event.HasField("eventRaised"):
                self.raise_event(event)
        kept = [*self.untaken.values(), *(a for queue in self._arrived.values() for a in queue)]
        for arrival in sorted(kept, key=lambda arrival: arrival.number):
            yield arrival.to_message()

    @property
    def _family_name(self) -> str:
        """What the ids of children begin with."""
        if not self.is_later_execution or not self.execution_id:
            return self.instance_id
        digest = blake2b(self.execution_id.encode(), digest_size=_DIGEST_BYTES).hexdigest()
        return f"{self.instance_id}:{digest}"

    def _give(self, wait: EventWait, arrival: Arrival) -> None:
        self.untaken[wait.task] = arrival
        self.deliver(wait.task, arrival.data, wait.declared, f"data of event '{wait.name}'")
