"""What the engine knows of one orchestration instance.  Pure: no clock, thread, socket, database.

An ``Instance`` is one *execution* of an instance id.  It has a ``key``, a number that the store
uses for its row; whatever belongs to it on disk (history chunks, undelivered events, outstanding
activities, timers) is numbered ``key * ROW_SPAN + n``, so that all of it lies together, is found
without an index, and cannot be taken for another execution's:

- an activity or timer has the ``n`` of the history event that scheduled it, which is unique even
  when a retry re-uses the task id;
- a history chunk counts turns, an undelivered event counts arrivals.
"""

from __future__ import annotations

from attrs import define, field

from durableflow._proto import task_hub_pb2 as pb

ROW_BITS = 24
ROW_SPAN = 1 << ROW_BITS

# A turn is the last one that finds a history this long; a sixteenth is left for what it adds.
MOST_EVENTS = ROW_SPAN // 16 * 15

RUNNING = pb.ORCHESTRATION_STATUS_RUNNING
COMPLETED = pb.ORCHESTRATION_STATUS_COMPLETED
CONTINUED_AS_NEW = pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
FAILED = pb.ORCHESTRATION_STATUS_FAILED
CANCELED = pb.ORCHESTRATION_STATUS_CANCELED
TERMINATED = pb.ORCHESTRATION_STATUS_TERMINATED
PENDING = pb.ORCHESTRATION_STATUS_PENDING
SUSPENDED = pb.ORCHESTRATION_STATUS_SUSPENDED

# The kind under which an instance is parked whose work ended its process again and again.
QUARANTINE = "quarantine"

TERMINAL = frozenset({COMPLETED, FAILED, CANCELED, TERMINATED})


def key_of(row: int) -> int:
    """The key of the instance that a row belongs to."""
    return row >> ROW_BITS


def start_row(key: int) -> int:
    """The row of the timer that holds back a scheduled start; no history reaches it."""
    return (key + 1) * ROW_SPAN - 1


@define(slots=True, eq=False)
class Message:
    """An event on its way to an orchestrator: arrived, not yet consumed by an applied turn."""

    row: int
    event: pb.HistoryEvent


@define(slots=True, eq=False)
class Parked:
    """Why an instance stands still: a worker gave it back, or a quarantine."""

    kind: str
    reason: str


@define(slots=True, eq=False)
class Instance:
    """One execution of one orchestration instance.  Times are µs since 1970 UTC.

    Attributes:
        status: As clients see it; ``SUSPENDED`` only from the moment that the suspension holds.
        failure: A serialised ``TaskFailureDetails``.
        parent: A serialised ``ParentInstanceInfo``.
        generation: 1, and one more with each continue-as-new.
        parent_trace: A serialised ``TraceContext`` of what started it, for every generation.
        trace: A serialised ``OrchestrationTraceContext``, given back with the next turn.
        events: The length of the stored history.
        chunks: The number of turns in the stored history.
        last_started: The time of the newest ``orchestratorStarted``; it never goes back.
        suspended: A suspension was asked for and holds, or will when the turn in flight is applied.
        inbox: Events that no applied turn has consumed, in the order of arrival.
        activities: Outstanding activities: row to task id.
        timers: Outstanding timers: row to timer id (0: the scheduled start).
        children: Ids of live sub-orchestrations, of earlier generations too.
    """

    key: int
    instance_id: str
    execution_id: str
    name: str
    version: str | None
    input: str | None
    created: int
    status: int = PENDING
    updated: int = 0
    generation: int = 1
    scheduled: int | None = None
    completed: int | None = None
    output: str | None = None
    custom_status: str | None = None
    failure: bytes | None = None
    parent: bytes | None = None
    parent_id: str | None = None
    parent_trace: bytes | None = None
    trace: bytes | None = None
    tags: dict[str, str] = field(factory=dict)
    events: int = 0
    chunks: int = 0
    last_started: int = 0
    suspended: bool = False
    parked: Parked | None = None
    inbox: list[Message] = field(factory=list)
    activities: dict[int, int] = field(factory=dict)
    timers: dict[int, int] = field(factory=dict)
    children: set[str] = field(factory=set)

    @property
    def is_terminal(self) -> bool:
        """Nothing will change this instance but a purge or a replacement."""
        return self.status in TERMINAL

    @property
    def is_full(self) -> bool:
        """Its history is as long as it may get."""
        return self.events >= MOST_EVENTS

    @property
    def is_runnable(self) -> bool:
        """A turn would find something to do."""
        return (
            bool(self.inbox)
            and not self.suspended
            and self.status not in TERMINAL
            and start_row(self.key) not in self.timers
        )

    @property
    def size_bytes(self) -> int:
        """About how much memory the texts of this instance take."""
        texts = (self.input, self.output, self.custom_status, self.failure)
        return 1500 + sum(len(text) for text in texts if text)
