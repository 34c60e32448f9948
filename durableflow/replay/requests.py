"""What an orchestrator asks for: the entries of the ``Journal``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from attrs import define, frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.actions import (
    create_sub_orchestration,
    create_timer,
    schedule_task,
    send_event,
)
from durableflow.protocol.metadata import ATTEMPT
from durableflow.replay.sources import Origin

if TYPE_CHECKING:
    from durableflow.replay.tasks import Deferred
    from durableflow.retry import RetryPolicy


@define(eq=False, repr=False)
class Call:
    """Something to run that has a result, and may be tried again if it fails.

    Attributes:
        declared: What the result is converted to.
        attempts: How often it has been requested.
        first_at: When it was requested first, in microseconds since 1970-01-01 UTC.
    """

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


@define(eq=False, repr=False)
class ActivityCall(Call):
    """An activity; confirmed by taskScheduled, answered by taskCompleted or taskFailed."""

    confirmation: ClassVar = "taskScheduled"

    @property
    def what(self) -> str:
        """What is called, for people."""
        return f"activity '{self.name}'"

    def __str__(self) -> str:
        return f"calls {self.what}"

    def action(self) -> pb.OrchestratorAction:
        """Make the message that asks for it."""
        tags = self.tags
        if self.attempts > 1:
            tags = {**(tags or {}), ATTEMPT: str(self.attempts)}
        return schedule_task(self.id, self.name, version=self.version, input=self.input, tags=tags)


@define(eq=False, repr=False)
class ChildCall(Call):
    """A sub-orchestration; its events are those of an activity, named subOrchestrationInstance….

    Attributes:
        instance_id: The id of the child, the same in each attempt.
    """

    confirmation: ClassVar = "subOrchestrationInstanceCreated"

    instance_id: str = ""

    @property
    def what(self) -> str:
        """What is called, for people."""
        return f"sub-orchestration '{self.name}'"

    def __str__(self) -> str:
        return f"starts {self.what}"

    def action(self) -> pb.OrchestratorAction:
        """Make the message that asks for it."""
        return create_sub_orchestration(
            self.id,
            self.name,
            self.instance_id,
            version=self.version,
            input=self.input,
            tags=self.tags,
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


@define(eq=False, repr=False)
class SentEvent:
    """An event for another instance; confirmed by eventSent, never answered."""

    confirmation: ClassVar = "eventSent"

    instance_id: str
    name: str
    data: str | None
    origin: Origin
    id: int = 0

    def __str__(self) -> str:
        return f"sends event '{self.name}' to instance '{self.instance_id}'"

    def action(self) -> pb.OrchestratorAction:
        """Make the message that asks for it."""
        return send_event(self.id, self.instance_id, self.name, data=self.data)


Request: TypeAlias = ActivityCall | ChildCall | Timer | SentEvent


@define(eq=False, repr=False)
class EventWait:
    """A wait for an external event; nothing is asked of the hub.

    Attributes:
        declared: What the event's data is converted to.
    """

    task: Deferred[Any]
    name: str
    declared: Any


@frozen(repr=False)
class Continuation:
    """How the instance goes on as new.

    Attributes:
        input: Of the next execution, as JSON.
        version: Of the next execution; None keeps the version.
        keeps_events: Whether it gets the events that nobody has taken.
        origin: Where user code asked for it.
    """

    input: str | None
    version: str | None
    keeps_events: bool
    origin: Origin
