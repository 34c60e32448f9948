"""Durable timers: the soonest ones in a heap, the rest on disk.

The heap holds every timer due before the *horizon*; later ones are read when it is reached.  The
wait is never longer than 30 s of monotonic time and then looks at the clock again, so that sleep
and clock jumps delay a timer by that much at most and never fire it early.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush, nsmallest
from typing import Final

from durableflow.engine.batch import TimerRow
from durableflow.engine.clock import Clock

log = logging.getLogger(__name__)

MAX_WAIT: Final = 30.0
# Due timers are released this many at a time.
BURST: Final = 500
# The heap is filled from disk up to this many and cut back when it is twice as long.
HEAP: Final = 10_000

Entry = tuple[int, int, int, bytes]  # fire_at, row, timer_id, stamp

_FOREVER: Final = (1 << 63, 0)


class Timers:
    """Fires committed timers on the hub loop.  Removed ones may fire; who gets them looks."""

    def __init__(
        self,
        clock: Clock,
        *,
        read: Callable[[tuple[int, int], int], asyncio.Future[list[TimerRow]]],
        fire: Callable[[Sequence[TimerRow]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._read = read
        self._fire = fire
        self._heap: list[Entry] = []
        self._horizon: tuple[int, int] = (0, 0)
        self._filling: asyncio.Future[list[TimerRow]] | None = None
        self._late: list[Entry] = []
        self._handle: asyncio.TimerHandle | None = None
        self._stopped = False
        self._end_jumps: Callable[[], None] | None = None

    def start(self) -> None:
        """Read the soonest timers from disk, and hear of jumps of the clock."""
        self._end_jumps = self._clock.on_jump(self._jumped)
        self._fill()

    def stop(self) -> None:
        """Fire nothing more."""
        self._stopped = True
        if self._end_jumps is not None:
            self._end_jumps()
            self._end_jumps = None
        if self._handle is not None:
            self._handle.cancel()

    def add(self, timer: TimerRow) -> None:
        """Set a timer that is committed."""
        entry = (timer.fire_at, timer.row, timer.timer_id, timer.stamp)
        if self._filling is not None:
            self._late.append(entry)
        if (timer.fire_at, timer.row) >= self._horizon:
            return
        heappush(self._heap, entry)
        if len(self._heap) > 2 * HEAP and self._filling is None:
            self._cut()
        if self._heap[0] is entry:
            self._arm()

    def look(self) -> None:
        """Look at the clock now: it may have been set."""
        if self._stopped:
            return
        now = self._clock.now()
        due: list[TimerRow] = []
        while self._heap and self._heap[0][0] <= now and len(due) < BURST:
            due.append(TimerRow(*heappop(self._heap)))
        if due:
            self._fire(due)
        if self._horizon[0] <= now or (not self._heap and self._horizon != _FOREVER):
            self._fill()
        self._arm()

    def _jumped(self) -> None:
        self._loop.call_soon_threadsafe(self.look)

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        wait = MAX_WAIT
        if self._heap:
            # Half a microsecond more: the wait must not end before the microsecond has begun.
            wait = min(MAX_WAIT, max(0.0, (self._heap[0][0] - self._clock.now() + 0.5) / 1e6))
        self._handle = self._loop.call_later(wait, self.look)

    def _fill(self) -> None:
        if self._filling is not None or self._stopped:
            return
        self._filling = self._read(self._horizon, HEAP)
        self._filling.add_done_callback(self._filled)

    def _filled(self, future: asyncio.Future[list[TimerRow]]) -> None:
        self._filling = None
        if self._stopped or future.cancelled():
            return
        error = future.exception()
        if error is not None:
            log.warning("Timers cannot be read now; they are tried again. %s", error)
            self._arm()
            return
        rows = future.result()
        before = self._horizon
        self._horizon = (rows[-1].fire_at, rows[-1].row + 1) if len(rows) == HEAP else _FOREVER
        entries = {(r.fire_at, r.row, r.timer_id, r.stamp) for r in rows}
        # Set while the disk was read: those before the old horizon are in the heap already.
        entries.update(e for e in self._late if before <= e[:2] < self._horizon)
        self._late.clear()
        for entry in entries:
            heappush(self._heap, entry)
        self.look()

    def _cut(self) -> None:
        self._heap = nsmallest(HEAP, self._heap)
        heapify(self._heap)
        last = max(self._heap)
        self._horizon = (last[0], last[1] + 1)
