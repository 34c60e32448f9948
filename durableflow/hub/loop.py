"""The hub loop: one asyncio loop on one daemon thread, shared by everything in this process.

Task hubs live on it and user code never runs on it, so a blocked activity cannot stall a stream.
It exists while somebody holds it: the first ``acquire`` starts the thread, the last ``release``
ends it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, ClassVar, TypeVar

from durableflow.errors import UsageError

T = TypeVar("T")

_guard = threading.Lock()


class HubLoop:
    """A holder's view of the process's hub loop; made by ``acquire`` only."""

    _current: ClassVar[HubLoop | None] = None

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._holders = 0
        self._thread = threading.Thread(target=self._run, name="durableflow-hub", daemon=True)

    @classmethod
    def acquire(cls) -> HubLoop:
        """Return the process's hub loop, started if need be.  Pair it with ``release``."""
        with _guard:
            current = cls._current
            if current is None or not current.is_usable:
                current = cls._current = cls()
                current._thread.start()
            current._holders += 1
            return current

    def release(self) -> None:
        """Let go; the last holder ends the thread, after whatever still runs was cancelled."""
        with _guard:
            self._holders -= 1
            if self._holders > 0:
                return
            if HubLoop._current is self:
                HubLoop._current = None
        if not self.is_usable:
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_here:
            self._thread.join()

    @property
    def is_usable(self) -> bool:
        """False in a forked child, which inherits the object without its thread."""
        return self._pid == os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on the hub loop's own thread."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the hub loop, from any thread.

        Raises:
            UsageError: in a process forked after the loop had started.
        """
        if not self.is_usable:
            coroutine.close()
            raise UsageError(
                "This app was started before the process was forked, and its connections do not "
                "survive a fork. Start the app in the child, or start processes with the 'spawn' "
                "method: multiprocessing.get_context('spawn')."
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the hub loop and block the calling thread until it is done.

        Whatever interrupts the wait (the timeout in seconds, a signal) cancels the coroutine.

        Raises:
            TimeoutError: ``timeout`` seconds passed first.
            UsageError: called on the hub loop itself, which would wait for itself for ever.
        """
        if self.is_here:
            coroutine.close()
            raise UsageError(
                "A blocking call on the hub loop would wait for itself; await instead."
            )
        future = self.submit(coroutine)
        try:
            return future.result(timeout)
        finally:
            future.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


async def await_on(hub_loop: HubLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that has to run on the hub loop, from a coroutine on any loop.

    Cancelling the caller cancels the coroutine.
    """
    if hub_loop.is_here:
        return await coroutine
    return await asyncio.wrap_future(hub_loop.submit(coroutine))


def _renew_guard() -> None:
    # Another thread may have held the guard when the process forked; the child lacks that thread.
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)
