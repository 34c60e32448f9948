"""What a history shows beyond the event at work, which replay needs to know now and then."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Final

from attrs import define, field

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.metadata import LATER_EXECUTION
from durableflow.protocol.patches import marker_in

_NONE: Final[frozenset[int]] = frozenset()
# The events that ``marker_in`` knows; asking for the kind alone is cheaper for all the others.
_MARKERS: Final = frozenset({"eventSent", "timerCreated"})


class Record:
    """The events that an execution goes through when it starts or is replayed.

    Positions count events from 1.

    Attributes:
        patch_numbers: The numbers that markers of ``ctx.patched`` have.
    """

    def __init__(self) -> None:
        self._events: tuple[Sequence[pb.HistoryEvent], ...] = ()
        self._patches: dict[int, int] = {}
        self.patch_numbers: frozenset[int] = _NONE

    def keep(self, *events: Sequence[pb.HistoryEvent]) -> None:
        """Remember events, all of them from the first on."""
        self._events = events
        self._find_patches()

    def forget(self) -> None:
        """Let go of the events; there is nothing more to ask."""
        self._events = ()
        self._patches.clear()
        vars(self).pop("_index", None)

    @property
    def is_rewound(self) -> bool:
        """Whether failures have been cut out of the history."""
        return any(e.HasField("executionRewound") for e in chain(*self._events))

    @property
    def is_later_execution(self) -> bool:
        """Whether an earlier execution of the instance left a sign of children in the first turn."""
        turns = 0
        for event in chain(*self._events):
            turns += event.HasField("orchestratorStarted")
            if turns > 1:
                break
            if event.eventRaised.name == LATER_EXECUTION:
                return True
        return False

    def turn_of_patch(self, marker: int) -> int | None:
        """Return where the turn begins that recorded a marker of ``ctx.patched``; None: no turn."""
        return self._patches.get(marker)

    def shows_turn_after(self, position: int) -> bool:
        """Whether the turn of an event is over, so that the history shows what it led to."""
        return bool(self._events) and self._index.last_turn > position

    def shows_retry(self, position: int, call_id: int, timer_id: int) -> bool | None:
        """Say whether a failure, in a turn that is over, was followed by another attempt.

        Args:
            position: Where the call failed.
            timer_id: The number that the retry timer would have.

        Returns:
            None if the history shows only a timer that may be the retry timer.
        """
        if self._index.timers.get(timer_id, 0) <= position:
            return False
        return True if self._index.scheduled.get(call_id, 0) > position else None

    def shows_call(self, call_id: int, name: str) -> bool:
        """Whether the hub once took on the call of this name under this number."""
        return bool(self._events) and self._index.names.get(call_id) == name

    @cached_property
    def _index(self) -> _Index:
        index = _Index()
        for position, event in enumerate(chain(*self._events), start=1):
            kind = event.WhichOneof("eventType")
            if kind == "taskScheduled":
                index.scheduled[event.eventId] = position
                index.names[event.eventId] = event.taskScheduled.name
            elif kind == "subOrchestrationInstanceCreated":
                index.scheduled[event.eventId] = position
                index.names[event.eventId] = event.subOrchestrationInstanceCreated.name
            elif kind == "timerCreated":
                index.timers[event.eventId] = position
            elif kind in ("orchestratorStarted", "orchestratorCompleted"):
                index.last_turn = position
        return index

    def _find_patches(self) -> None:
        turn = 0
        for position, event in enumerate(chain(*self._events), start=1):
            kind = event.WhichOneof("eventType")
            if kind == "orchestratorStarted":
                turn = position
            elif kind in _MARKERS and (marker := marker_in(event)) is not None:
                self._patches.setdefault(marker, turn)
                self.patch_numbers |= {event.eventId}


@define
class _Index:
    """Where calls were last scheduled and timers created, by number, and a turn began or ended.

    Attributes:
        names: What the calls called.
    """

    scheduled: dict[int, int] = field(factory=dict)
    names: dict[int, str] = field(factory=dict)
    timers: dict[int, int] = field(factory=dict)
    last_turn: int = 0
