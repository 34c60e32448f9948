"""The thread that runs orchestrators, fed and drained in batches: ``OrchestratorThread``.

Work is put into an inbox at the cost of a queue entry; what was put there while the thread was
busy, or while the hub loop had not yielded, is one batch.  Its outcomes are told to the hub loop
with one wake-up, at the end of the batch or a millisecond after the first of them.

A turn may hang.  The hub loop watches (``busy_seconds``) and may *forfeit* the thread: what it
still says is then ignored, and should it come back to life it closes its sessions and ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final

from durableflow.hub.running_turn import running_turns
from durableflow.hub.stacks import stack_of
from durableflow.worker.turns import Outcome, TurnJob, TurnRunner

_DELIVER_AFTER_SECONDS: Final = 0.001


class _Command(Enum):
    DROP_SESSIONS = 1
    STOP = 2


class OrchestratorThread:
    """One daemon thread and the sessions that live on it.

    Args:
        runner: Belongs to this thread from now on.
        wake: Called on the thread when ``outcomes`` has news.
        ended: Called on the thread when it has closed its sessions after ``stop``.
    """

    def __init__(
        self, runner: TurnRunner, *, wake: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        self.outcomes: deque[Outcome] = deque()
        self.current: TurnJob | None = None
        self._runner = runner
        self._wake = wake
        self._ended = ended
        self._inbox: SimpleQueue[TurnJob | _Command] = SimpleQueue()
        self._busy_since: float | None = None
        self._forfeited = False
        self._thread = threading.Thread(
            target=self._run, name="durableflow-orchestrator", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: TurnJob) -> None:
        """Have a turn made."""
        self._inbox.put(job)

    def drop_sessions(self) -> None:
        """Have every session closed, after the turns that were submitted before."""
        self._inbox.put(_Command.DROP_SESSIONS)

    def stop(self) -> None:
        """Have every session closed and the thread end, after the turns submitted before."""
        self._inbox.put(_Command.STOP)

    def forfeit(self) -> None:
        """Give the thread up: it makes no further turn, and nothing that it says counts."""
        self._forfeited = True
        self.stop()

    def busy_seconds(self) -> float:
        """For how long the thread has been inside the same piece of user code."""
        since = self._busy_since
        return 0.0 if since is None else monotonic() - since

    def stack(self) -> str:
        """Where the thread is right now."""
        return stack_of(self._thread)

    def _run(self) -> None:
        with running_turns():
            while self._serve_batch():
                pass
            self._busy_since = monotonic()
            self._runner.sessions.close_all()
            self._busy_since = None
        if not self._forfeited:
            self._ended()

    def _serve_batch(self) -> bool:
        """Wait for a batch and work through it; False: the thread is to end."""
        sessions = self._runner.sessions
        try:
            work = self._inbox.get(timeout=sessions.seconds_to_idle(monotonic()))
        except Empty:
            self._busy_since = now = monotonic()
            sessions.close_idle(now)
            self._busy_since = None
            return True
        due = monotonic() + _DELIVER_AFTER_SECONDS
        while True:
            self._busy_since = now = monotonic()
            if now > due and self.outcomes:
                self._deliver()
                due = now + _DELIVER_AFTER_SECONDS
            if self._forfeited or work is _Command.STOP:
                self._deliver()
                return False
            self._do(work)
            if self._inbox.empty():
                break
            work = self._inbox.get()
        self._busy_since = None
        self._deliver()
        return True

    def _do(self, work: TurnJob | _Command) -> None:
        if isinstance(work, TurnJob):
            self.current = work
            self.outcomes.append(self._runner.run(work))
            self.current = None
        else:
            self._runner.sessions.close_all()

    def _deliver(self) -> None:
        if self.outcomes and not self._forfeited:
            self._wake()
