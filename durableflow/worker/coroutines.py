"""Runs async activities on the app's loop: ``CoroutinePool``."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

J = TypeVar("J")


class CoroutinePool(Generic[J]):
    """Up to ``most`` tasks at once on a loop that is not this thread's, one for each job.

    Args:
        loop: Returns the loop; asked when there is something to run.
        most: How many jobs may run at once.
        run: Runs one job; must not raise.
    """

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        *,
        most: int,
        run: Callable[[J], Coroutine[Any, Any, None]],
    ) -> None:
        self._loop = loop
        self._most = most
        self._run = run
        self._waiting: deque[J] = deque()
        self._woken = False
        self._used = False
        self._tasks: dict[J, asyncio.Task[None]] = {}

    def submit(self, job: J) -> None:
        """Have a job run as soon as there is room.  Called on the hub loop.

        Raises:
            RuntimeError: the app's loop is closed.
        """
        loop = self._loop()
        self._used = True
        self._waiting.append(job)
        if not self._woken:
            self._woken = True
            loop.call_soon_threadsafe(self._start)

    def cancel(self, job: J) -> None:
        """Cancel one job, if it still runs.  Called on the hub loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nothing runs
            self._loop().call_soon_threadsafe(self._cancel, job)

    async def cancel_all(self, timeout: float) -> None:
        """Cancel everything and wait until it has ended.  Called on the hub loop.

        Args:
            timeout: In seconds; what ignores its cancellation is not waited for any longer.
        """
        if not self._used:
            return
        cancelling = self._cancel_all()
        try:
            cancelled = asyncio.run_coroutine_threadsafe(cancelling, self._loop())
        except RuntimeError:  # the loop is closed, and nothing runs
            cancelling.close()
            self._waiting.clear()
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(cancelled), timeout)

    def _start(self) -> None:
        self._woken = False  # before looking: a job that is submitted from now on wakes again
        while self._waiting and len(self._tasks) < self._most:
            job = self._waiting.popleft()
            self._tasks[job] = asyncio.create_task(self._run_one(job))

    async def _run_one(self, job: J) -> None:
        try:
            await self._run(job)
        finally:
            del self._tasks[job]
            if self._waiting:
                self._start()

    def _cancel(self, job: J) -> None:
        task = self._tasks.get(job)
        if task is not None:
            task.cancel()

    async def _cancel_all(self) -> None:
        self._waiting.clear()  # here, since jobs are taken from there on this loop only
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
