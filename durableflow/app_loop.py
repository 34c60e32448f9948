"""The event loop of an app's own coroutines, on a thread of its own: ``AppLoop``.

``async def`` activities and the lifespan run here where the program has no loop to offer.  What
blocks here delays only the app's coroutines, never the task hub's loop; and nothing that hangs
here keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import islice
from typing import Any, Final, ParamSpec, TypeVar

from attrs import define

from durableflow.hub.stacks import stack_of
from durableflow.replay.sources import waiting_frames
from durableflow.worker.pool import ActivityPool

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS: Final = 5.0
_MOST_THREADS: Final = 32
_MOST_SHOWN: Final = 10


class AppLoop:
    """An event loop whose thread starts when the loop is first asked for.

    Args:
        loop: A loop that runs already and is used instead; ``close`` leaves it alone.
        patience_seconds: How long what hangs on the loop may hold up its end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._loop = loop
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> asyncio.AbstractEventLoop | None:
        """The loop, if it runs."""
        return self._loop

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the running loop.  Any thread may ask."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(_DaemonExecutor())
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="durableflow-app", daemon=True
                )
                self._thread.start()
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result.  Call from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.get()).result()

    def responds(self) -> bool:
        """Whether the loop still runs what it is given, and not for ever the same."""
        answered = threading.Event()
        self.get().call_soon_threadsafe(answered.set)
        return answered.wait(self._patience_seconds)

    def close(self) -> None:
        """Cancel what still runs on a loop of our own, and end its thread, or leave it behind."""
        with self._lock:
            if self._loop and self._thread:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join(self._patience_seconds)
                if self._thread.is_alive():
                    logger.warning(
                        "Coroutines of the app do not end; they are left behind. Here:\n%s",
                        stack_of(self._thread) + _stacks_on(self._loop),
                    )
            self._loop = self._thread = None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, and whatever still runs on it then to its end."""
    asyncio.set_event_loop(loop)
    while _was_interrupted(loop.run_forever):
        pass
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    ending = asyncio.gather(*rest, return_exceptions=True) if rest else None
    while ending is not None and not ending.done():
        _was_interrupted(partial(loop.run_until_complete, ending))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _was_interrupted(run: Callable[[], object]) -> bool:
    """Run a loop; say whether a task tried to end the program, which ends only that task."""
    try:
        run()
    except (SystemExit, KeyboardInterrupt):
        logger.exception("A task of the app tried to end the program; only the task has ended")
        return True
    return False


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


@define(eq=False)
class _Call:
    future: Future[Any]
    function: Callable[[], Any]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.function())
        except BaseException as error:  # noqa: BLE001  # for whoever awaits the future
            self.future.set_exception(error)


class _DaemonExecutor(ThreadPoolExecutor):
    """Runs what coroutines give to ``asyncio.to_thread``.

    Python waits for the threads of its own executor before it ends, also for one that hangs.
    """

    def __init__(self) -> None:
        super().__init__()  # asyncio asks for this very class, but no thread of it ever starts
        self._daemons = ActivityPool[_Call](
            most=_MOST_THREADS, run=_Call.run, ended=lambda call: None
        )

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See ``Executor``."""
        future: Future[T] = Future()
        self._daemons.submit(_Call(future, partial(function, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for nobody."""
        self._daemons.close()


def _stacks_on(loop: asyncio.AbstractEventLoop) -> str:
    """Where the tasks of a loop wait, which its thread's stack does not show."""
    texts = []
    for task in islice(asyncio.all_tasks(loop), _MOST_SHOWN):
        frames = ((frame, frame.f_lineno) for frame in waiting_frames(task.get_coro()))
        stack = "".join(traceback.StackSummary.extract(frames).format())
        texts.append(f"{task.get_name()}:\n{stack}")
    return "".join(texts)
