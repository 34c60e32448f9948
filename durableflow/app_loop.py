"""The event loop of an app's own coroutines, on a thread of its own: ``AppLoop``.

``async def`` activities and the lifespan run here where the program has no loop to offer.  What
blocks here delays only the app's coroutines, never the task hub's loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

T = TypeVar("T")


class AppLoop:
    """An event loop whose thread starts when the loop is first asked for.

    Args:
        loop: A loop that runs already and is used instead; ``close`` leaves it alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._lock = threading.Lock()
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None

    @property
    def current(self) -> asyncio.AbstractEventLoop | None:
        """The loop, if it runs."""
        return self._loop

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the running loop.  Any thread may ask."""
        with self._lock:
            if self._loop is None:
                started: Future[asyncio.AbstractEventLoop] = Future()
                self._thread = threading.Thread(
                    target=asyncio.run,
                    args=(self._serve(started),),
                    name="durableflow-app",
                    daemon=True,
                )
                self._thread.start()
                self._loop = started.result()
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result.  Call from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.get()).result()

    def close(self) -> None:
        """Cancel what still runs on a loop of our own, and end its thread."""
        with self._lock:
            if self._loop and self._thread and self._stop:
                self._loop.call_soon_threadsafe(self._stop.set)
                self._thread.join()
            self._loop = self._thread = None

    async def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        self._stop = asyncio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._stop.wait()


class HeldContext:
    """An async context manager that is entered and left in one task, as task groups demand.

    Both methods run on one loop.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self._manager = manager
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> Any:
        """Enter the context and return what it yields."""
        entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(entered))
        await asyncio.wait([entered, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not entered.done():
            await self._task  # raises what entering raised
        return entered.result()

    async def leave(self) -> None:
        """Leave the context, and raise what leaving raises."""
        self._leave.set()
        if self._task is not None:
            await self._task

    async def _hold(self, entered: asyncio.Future[Any]) -> None:
        async with self._manager as state:
            entered.set_result(state)
            await self._leave.wait()
