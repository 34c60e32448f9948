"""The threads that run sync activities: ``ActivityPool``.

Waking a thread costs more than a small activity, so one wake-up serves a batch: the thread that
takes a job wakes the next thread only if more jobs wait, then runs its own.  While activities
finish quickly one thread does all the work; as soon as one blocks, the thread that was woken goes
on.  So no job ever waits for another as long as there are threads.

A thread cannot be stopped.  One whose job nobody waits for any more can be *written off*: another
thread takes its place, and it ends once the job lets it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Generic, TypeVar

J = TypeVar("J")


class ActivityPool(Generic[J]):
    """Up to ``most`` daemon threads, started as they are needed.

    Args:
        most: How many jobs may run at once, and how many written off may go on beside them.
        run: Runs one job on a thread of the pool; must not raise.
        ended: Called on the same thread when the job has run.
    """

    def __init__(self, *, most: int, run: Callable[[J], None], ended: Callable[[J], None]) -> None:
        self._most = most
        self._run = run
        self._ended = ended
        self._jobs: deque[J] = deque()
        self._wakes: SimpleQueue[bool] = SimpleQueue()  # True: look for jobs; False: end
        self._lock = threading.Lock()
        self._running: set[J] = set()
        self._written_off: set[J] = set()
        self._threads = 0
        self._idle = 0  # threads that wait, and that nobody has woken yet

    def submit(self, job: J) -> None:
        """Have a job run as soon as a thread is free.  Any thread may call."""
        self._jobs.append(job)
        self._wake_one()

    def drop_waiting(self) -> Iterable[J]:
        """Take back the jobs that no thread has begun."""
        dropped = list(self._jobs)
        self._jobs.clear()
        return dropped

    def write_off(self, job: J) -> bool:
        """Give a job's thread up, if the job still runs.  Any thread may call.

        Returns:
            Whether another thread may take its place.  When too many are written off already the
            job keeps its place.
        """
        with self._lock:
            if job not in self._running:
                return True
            if len(self._written_off) >= self._most:
                return False
            self._written_off.add(job)
            starts = bool(self._jobs)
            self._threads -= not starts
        if starts:  # those that wait have been told of no thread but the one that is given up
            self._start()
        return True

    def close(self) -> None:
        """Let the threads end once they have nothing to run."""
        with self._lock:
            for _ in range(self._threads):
                self._wakes.put(False)

    def _wake_one(self) -> None:
        # A wake-up that nobody has taken yet is enough: whoever takes it sees this job too.
        if not self._wakes.empty():
            return
        with self._lock:
            wakes = self._idle > 0
            starts = not wakes and self._threads < self._most
            self._idle -= wakes
            self._threads += starts
        if wakes:
            self._wakes.put(True)
        elif starts:
            self._start()

    def _start(self) -> None:
        name = f"durableflow-activity-{self._threads}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            ended, written_off = self._work_off()
            if written_off:
                return
            with self._lock:  # whoever submits either is seen here or sees an idle thread
                idles = not self._jobs
                self._idle += idles
            if ended is not None:
                self._ended(ended)
            if idles and not self._wakes.get():
                return

    def _work_off(self) -> tuple[J | None, bool]:
        """Run jobs until there are none, or the thread has been written off.

        Returns:
            The last job, whose end is yet to be told, and whether the thread is to end.
        """
        jobs = self._jobs
        last: J | None = None
        while jobs:
            try:
                job = jobs.popleft()
            except IndexError:  # another thread was quicker
                break
            if jobs:
                self._wake_one()
            if last is not None:
                self._ended(last)
            if self._was_written_off(job):
                return None, True
            last = job
        return last, False

    def _was_written_off(self, job: J) -> bool:
        """Run a job; say whether its thread was given up meanwhile."""
        self._running.add(job)
        self._run(job)
        with self._lock:
            self._running.remove(job)
            if job not in self._written_off:
                return False
            self._written_off.remove(job)
        return True
