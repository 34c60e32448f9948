"""What a turn or a termination changes: values only.  Pure."""

from __future__ import annotations

from attrs import define, field, frozen

from durableflow._proto import task_hub_pb2 as pb


@frozen(eq=False)
class ScheduledActivity:
    """An activity to run: its row, and the work item to hand out (without a token)."""

    row: int
    task_id: int
    item: pb.WorkItem


@frozen(eq=False)
class ScheduledTimer:
    """A timer to set: its row, when it is due (µs UTC, never early), and its time as given."""

    row: int
    timer_id: int
    fire_at: int
    stamp: bytes


@frozen(eq=False)
class ChildStart:
    """A sub-orchestration to start."""

    task_id: int
    request: pb.CreateInstanceRequest


@frozen(eq=False)
class SentEvent:
    """An event for another instance."""

    instance_id: str
    event: pb.HistoryEvent


@frozen(eq=False)
class Termination:
    """Another instance to terminate, with its children or without."""

    instance_id: str
    output: str | None
    recursive: bool


@frozen(eq=False)
class Continuation:
    """The next generation of an instance."""

    input: str | None
    version: str | None
    carried: list[pb.HistoryEvent]


@define(slots=True, eq=False)
class Outcome:
    """All that one turn (or a termination) changes.

    Attributes:
        chunk: The events that the history gains, in order.
        consumed: How many messages of the inbox, from its front, are now history.
        continued: Set if the instance continues as new; the chunk is history for nobody then.
    """

    status: int
    updated: int
    chunk: pb.HistoryChunk
    consumed: int
    custom_status: str | None = None
    output: str | None = None
    failure: bytes | None = None
    trace: bytes | None = None
    continued: Continuation | None = None
    activities: list[ScheduledActivity] = field(factory=list)
    timers: list[ScheduledTimer] = field(factory=list)
    children: list[ChildStart] = field(factory=list)
    sent: list[SentEvent] = field(factory=list)
    terminations: list[Termination] = field(factory=list)
