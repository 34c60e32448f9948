"""What one execution of an orchestrator has asked for and what has arrived: ``Journal``.

Each thing that an orchestrator asks the task hub for is a *request* with a number, counted from 1.
A request is ``unconfirmed`` until the history, or the end of the turn, shows that the hub took it
on; then its answer is outstanding, in ``calls`` or ``timers``.  A retried call is requested again
under its number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from attrs import define

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import ConversionError
from durableflow.protocol.actions import create_timer, schedule_task
from durableflow.replay.sources import Origin

if TYPE_CHECKING:
    from durableflow.converter import Converter
    from durableflow.replay.tasks import Deferred
    from durableflow.retry import RetryPolicy


@define(eq=False, repr=False)
class ActivityCall:
    """An activity to run; confirmed by taskScheduled, answered by taskCompleted or taskFailed.

    Attributes:
        declared: What the result is converted to.
        attempts: How often it has been requested.
        first_at: When it was requested first, in microseconds since 1970-01-01 UTC.
    """

    confirmation: ClassVar = "taskScheduled"

    task: Deferred[Any]
    name: str
    version: str | None
    input: str | None
    declared: Any
    policy: RetryPolicy | None
    tags: Mapping[str, str] | None
    id: int = 0
    attempts: int = 1
    first_at: int = 0

    @property
    def origin(self) -> Origin:
        """Where user code made the call."""
        return self.task.origin

    def __str__(self) -> str:
        return f"calls activity '{self.name}'"

    def action(self) -> pb.OrchestratorAction:
        """Make the message that asks for it."""
        return schedule_task(
            self.id, self.name, version=self.version, input=self.input, tags=self.tags
        )


@define(eq=False, repr=False)
class Timer:
    """A timer to set; confirmed by timerCreated, answered by timerFired.

    Attributes:
        fire_at: When, in microseconds since 1970-01-01 UTC.
        fire: What it does.
        origin: Where user code made it, or what it belongs to.
        purpose: What it is, for people.
    """

    confirmation: ClassVar = "timerCreated"

    fire_at: int
    fire: Callable[[], None]
    origin: Origin
    purpose: str
    id: int = 0

    def __str__(self) -> str:
        return f"creates {self.purpose}"

    def action(self) -> pb.OrchestratorAction:
        """Make the message that asks for it."""
        return create_timer(self.id, self.fire_at)


Request: TypeAlias = ActivityCall | Timer


@define(eq=False, repr=False)
class EventWait:
    """A wait for an external event; nothing is asked of the hub.

    Attributes:
        declared: What the event's data is converted to.
    """

    task: Deferred[Any]
    name: str
    declared: Any


class Journal:
    """The state of one execution.

    Attributes:
        now: The time of the orchestrator, in microseconds since 1970-01-01 UTC.
        position: The number of the history event at work, counted from 1.
        replaying: Whether that event lies in the past.
        in_turn: Whether the orchestrator may use its context now.
        evicted: Whether the session has been closed; nothing has effects any more.
        last_id: The number of the newest request.
        unawaited: The tasks that nobody has waited for yet, oldest first.
        resumptions: How often the code has been resumed.
        suspended: Whether the instance is suspended: answers and events are ``held``.
        payload_characters: How much text has arrived.
    """

    def __init__(self, converter: Converter) -> None:
        self.converter = converter
        self.instance_id = ""
        self.execution_id = ""
        self.name = ""
        self.version = ""
        self.parent_instance_id: str | None = None
        self.now = 0
        self.position = 0
        self.replaying = True
        self.in_turn = False
        self.evicted = False
        self.last_id = 0
        self.unconfirmed: dict[int, Request] = {}
        self.calls: dict[int, ActivityCall] = {}
        self.timers: dict[int, Timer] = {}
        self.unawaited: dict[Any, None] = {}
        self.resumptions = 0
        self.suspended = False
        self.held: list[pb.HistoryEvent] = []
        self.custom_status: str | None = None
        self.payload_characters = 0
        self._waits: dict[str, deque[EventWait]] = {}
        self._arrived: dict[str, deque[str | None]] = {}

    @property
    def is_silent(self) -> bool:
        """Whether logs are off: what happens now was logged before, or has no effects."""
        return self.replaying or self.evicted

    def call(self, call: ActivityCall) -> None:
        """Request an activity."""
        self.last_id = call.id = self.last_id + 1
        call.first_at = self.now
        self.unconfirmed[call.id] = self.calls[call.id] = call

    def call_again(self, call: ActivityCall) -> None:
        """Request another attempt, under the same number."""
        call.attempts += 1
        self.unconfirmed[call.id] = self.calls[call.id] = call

    def set_timer(self, timer: Timer) -> None:
        """Request a timer."""
        self.last_id = timer.id = self.last_id + 1
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

    def raise_event(self, name: str, text: str | None) -> None:
        """Give an event to whoever has waited longest, or keep it."""
        key = name.casefold()
        waits = self._waits.get(key)
        while waits:
            wait = waits.popleft()
            if not wait.task.is_complete:
                self._give(wait, text)
                return
        self._arrived.setdefault(key, deque()).append(text)

    def take_requests(self) -> list[Request]:
        """Return what the turn asks for, in order; it counts as confirmed."""
        requests = list(self.unconfirmed.values())
        self.unconfirmed.clear()
        return requests

    def _give(self, wait: EventWait, text: str | None) -> None:
        self.deliver(wait.task, text, wait.declared, f"data of event '{wait.name}'")
