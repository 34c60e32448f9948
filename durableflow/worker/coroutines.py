"""Runs async activities on the app's loop: ``CoroutinePool``."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

J = TypeVar("J")


class CoroutinePool(Generic[J]):
    """Up to ``most`` tasks at once on a loop that is not this thread's.

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
        self._tasks: set[asyncio.Task[None]] = set()

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

    async def cancel(self, timeout: float) -> None:
        """Cancel everything and wait until it has ended.  Called on the hub loop.

        Args:
            timeout: In seconds; what ignores its cancellation is not waited for any longer.
        """
        self._waiting.clear()
        if not self._used:
            return
        cancelling = self._cancel()
        try:
            cancelled = asyncio.run_coroutine_threadsafe(cancelling, self._loop())
        except RuntimeError:  # the loop is closed, and nothing runs
            cancelling.close()
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(cancelled), timeout)

    def _start(self) -> None:
        self._woken = False  # before looking: a job that is submitted from now on wakes again
        while self._waiting and len(self._tasks) < self._most:
            task = asyncio.create_task(self._run_one(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_one(self, job: J) -> None:
        await self._run(job)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._start)

    async def _cancel(self) -> None:
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
