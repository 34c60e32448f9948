"""What an unfinished instance waits for, read from its history; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.times import from_timestamp
from durableflow.registry import Registry
from durableflow.spelling import similar_names

_MOST_NAMES: Final = 3


def outstanding(events: Iterable[pb.HistoryEvent], registry: Registry) -> str:
    """Name the activities and timers that have not come back; an activity nobody has first of all.

    Returns:
        Text that goes on after "it waits for".
    """
    activities: dict[int, str] = {}
    timers: dict[int, pb.TimerCreatedEvent] = {}
    for event in events:
        match event.WhichOneof("eventType"):
            case "taskScheduled":
                activities[event.eventId] = event.taskScheduled.name
            case "taskCompleted":
                activities.pop(event.taskCompleted.taskScheduledId, None)
            case "taskFailed":
                activities.pop(event.taskFailed.taskScheduledId, None)
            case "timerCreated":
                timers[event.eventId] = event.timerCreated
            case "timerFired":
                timers.pop(event.timerFired.timerId, None)
    # Those that this app lacks come first: most often their names are misspelt.
    names = sorted(Counter(activities.values()), key=lambda name: _has(registry, name))
    texts = [_activity(name, registry) for name in names[:_MOST_NAMES]]
    if len(names) > _MOST_NAMES:
        texts.append(f"{len(names) - _MOST_NAMES} activities more")
    if timers:
        soonest = min(from_timestamp(timer.fireAt) for timer in timers.values())
        texts.append(f"a timer that fires at {soonest:%Y-%m-%d %H:%M:%S} UTC")
    return ", ".join(texts) or "an event that somebody raises"


def _activity(name: str, registry: Registry) -> str:
    if _has(registry, name):
        return f"activity '{name}'"
    similar = similar_names(name, [definition.name for definition in registry.activities()])
    hint = f"; did you mean {similar}?" if similar else ""
    return f"activity '{name}' (this app has none of this name{hint})"


def _has(registry: Registry, name: str) -> bool:
    return any(definition.name == name for definition in registry.activities())
