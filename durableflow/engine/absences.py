"""Workers whose stream ended: they may come back, and until then what they held may be theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from durableflow.engine.delivery import Delivery
from durableflow.engine.stream import Stream

# A worker that comes back within this many seconds has not died, and keeps its activities.
RECONNECT_GRACE: Final = 10.0


class Holdings(Protocol):
    """Work of one kind that streams hold."""

    def lost(self, stream: Stream) -> None:
        """A stream ended; its worker may come back."""

    def back(self, stream: Stream, lost: Stream) -> None:
        """The worker of a stream that was lost has this one now."""

    def gone(self, lost: Stream, *, died: bool) -> None:
        """The worker of a stream that was lost will not be seen again.

        Args:
            died: It was waited for; else it has no name by which it could come back.
        """


class Absences:
    """Finds out which workers come back after their stream was lost, and which are gone."""

    def __init__(self, delivery: Delivery, holdings: Sequence[Holdings]) -> None:
        self._loop = asyncio.get_running_loop()
        self._delivery = delivery
        self._holdings = holdings
        self._lost: dict[str, list[Stream]] = {}
        self._stopped = False

    def stop(self) -> None:
        """Do nothing more."""
        self._stopped = True

    def left(self, stream: Stream) -> None:
        """A stream ended that may hold something."""
        if self._stopped or not (stream.turns or stream.activities):
            return
        for holdings in self._holdings:
            holdings.lost(stream)
        if not stream.worker_id:
            self._gone(stream, died=False)
            return
        for newer in self._delivery.streams:
            if newer.worker_id == stream.worker_id:
                self._back(newer, stream)
                return
        self._lost.setdefault(stream.worker_id, []).append(stream)
        self._loop.call_later(RECONNECT_GRACE, self._stays_away, stream)

    def joined(self, stream: Stream) -> None:
        """A worker is here, perhaps again."""
        for lost in self._lost.pop(stream.worker_id, ()):
            self._back(stream, lost)

    def _stays_away(self, stream: Stream) -> None:
        lost = self._lost.get(stream.worker_id, [])
        if self._stopped or stream not in lost:
            return  # it came back
        lost.remove(stream)
        if not lost:
            del self._lost[stream.worker_id]
        self._gone(stream, died=True)

    def _back(self, stream: Stream, lost: Stream) -> None:
        for holdings in self._holdings:
            holdings.back(stream, lost)

    def _gone(self, lost: Stream, *, died: bool) -> None:
        for holdings in self._holdings:
            holdings.gone(lost, died=died)
