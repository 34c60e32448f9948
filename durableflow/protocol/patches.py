"""The markers that ``ctx.patched`` leaves in a history, in two shapes.  Pure.

A marker is an event that an instance sends to itself.  For engines without such events it becomes
a timer for a moment in the last century, which fires at once and which no orchestrator can ask for
otherwise; the moment is made of the change's name.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.times import micros_of, set_micros

PATCHED: Final = "durableflow-patched:"
"""What the name of the event begins with; the change's own name follows."""

EARLIEST_TIMER: Final = 946_684_800_000_000
"""No other timer is earlier than the year 2000, in microseconds since 1970-01-01 UTC."""

# Whole milliseconds, which every engine keeps; from the second day on, as some write 0 for nothing.
_DAY: Final = 86_400_000
_MILLISECONDS: Final = EARLIEST_TIMER // 1000 - _DAY


def marker_of(change_id: str) -> int:
    """Return what a change is known by: the moment that its marker may be a timer for."""
    digest = blake2b(change_id.encode(), digest_size=8).digest()
    return (_DAY + int.from_bytes(digest, "big") % _MILLISECONDS) * 1000


def marker_in(event: pb.HistoryEvent) -> int | None:
    """Return the marker that an event confirms; None if it confirms none."""
    if event.HasField("eventSent"):
        name = event.eventSent.name
        return marker_of(name.removeprefix(PATCHED)) if name.startswith(PATCHED) else None
    if event.HasField("timerCreated"):
        micros = micros_of(event.timerCreated.fireAt)
        return micros if _DAY * 1000 <= micros < EARLIEST_TIMER else None
    return None


def make_timers(response: pb.OrchestratorResponse) -> None:
    """Turn the markers of a turn into timers, for an engine without events between instances."""
    for action in response.actions:
        name = action.sendEvent.name
        if name.startswith(PATCHED):
            set_micros(action.createTimer.fireAt, marker_of(name.removeprefix(PATCHED)))
