"""What a history shows beyond the event at work, which replay needs to know now and then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

from durableflow._proto import task_hub_pb2 as pb


class Record:
    """The past events of an execution.

    Positions count events from 1.
    """

    def __init__(self, past: Sequence[pb.HistoryEvent]) -> None:
        self._past = past

    @cached_property
    def is_rewound(self) -> bool:
        """Whether failures have been cut out of the history."""
        return any(event.HasField("executionRewound") for event in self._past)

    def shows_retry(self, position: int, call_id: int, timer_id: int) -> bool | None:
        """Say whether a failure was followed by another attempt.

        Args:
            position: Where the call failed.
            timer_id: The number that the retry timer would have.

        Returns:
            None if the history shows only a timer that may be the retry timer.
        """
        scheduled, timers = self._requests
        if timers.get(timer_id, 0) <= position:
            return False
        return True if scheduled[call_id][-1] > position else None

    def forget(self) -> None:
        """Let go of the events; there is nothing more to ask."""
        self._past = ()
        vars(self).pop("_requests", None)

    @cached_property
    def _requests(self) -> tuple[dict[int, list[int]], dict[int, int]]:
        """Where calls were scheduled and timers created, by their numbers."""
        scheduled: dict[int, list[int]] = defaultdict(lambda: [0])
        timers: dict[int, int] = {}
        for position, event in enumerate(self._past, start=1):
            kind = event.WhichOneof("eventType")
            if kind == "taskScheduled":
                scheduled[event.eventId].append(position)
            elif kind == "timerCreated":
                timers[event.eventId] = position
        return scheduled, timers
