"""What an unfinished instance waits for, read from its history: ``outstanding``.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import attrs

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.times import from_timestamp


@attrs.frozen
class Outstanding:
    """What has been asked for and has not come back.

    Attributes:
        activities: The name and version ("" for none) of each activity, once.
        children: The name and instance id of each sub-orchestration.
        next_timer: When the first timer fires; None if there is none.
        has_begun: A turn of the execution is in its history.
    """

    activities: tuple[tuple[str, str], ...] = ()
    children: tuple[tuple[str, str], ...] = ()
    next_timer: datetime | None = None
    has_begun: bool = True


def outstanding(events: Iterable[pb.HistoryEvent]) -> Outstanding:
    """Find what an instance with this history waits for."""
    activities: dict[int, tuple[str, str]] = {}
    children: dict[int, tuple[str, str]] = {}
    timers: dict[int, datetime] = {}
    has_begun = False
    for event in events:
        has_begun = True
        match event.WhichOneof("eventType"):
            case "taskScheduled":
                called = event.taskScheduled
                activities[event.eventId] = called.name, called.version.value
            case "taskCompleted":
                activities.pop(event.taskCompleted.taskScheduledId, None)
            case "taskFailed":
                activities.pop(event.taskFailed.taskScheduledId, None)
            case "subOrchestrationInstanceCreated":
                child = event.subOrchestrationInstanceCreated
                children[event.eventId] = child.name, child.instanceId
            case "subOrchestrationInstanceCompleted":
                children.pop(event.subOrchestrationInstanceCompleted.taskScheduledId, None)
            case "subOrchestrationInstanceFailed":
                children.pop(event.subOrchestrationInstanceFailed.taskScheduledId, None)
            case "timerCreated":
                timers[event.eventId] = from_timestamp(event.timerCreated.fireAt)
            case "timerFired":
                timers.pop(event.timerFired.timerId, None)
    return Outstanding(
        tuple(dict.fromkeys(activities.values())),
        tuple(children.values()),
        min(timers.values(), default=None),
        has_begun,
    )
