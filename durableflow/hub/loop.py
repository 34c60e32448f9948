"""The hub loop: one asyncio loop on one daemon thread, shared by everything in this process.

Task hubs live on it and user code never runs on it, so a blocked activity cannot stall a stream.
It exists while somebody holds it: the first ``acquire`` starts the thread, the last ``release``
ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, ClassVar, Final, Generic, TypeVar

from durableflow.errors import UsageError
from durableflow.hub.mailbox import Mailbox
from durableflow.hub.stacks import stack_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How long what ignores its cancellation may hold up the loop's end, and how often it is told again.
PATIENCE_SECONDS: Final = 5.0
_INSIST_SECONDS: Final = 2.0
# How long the last holder waits for the thread, which may hang for other reasons.
_END_SECONDS: Final = 20.0

_guard = threading.Lock()


class HubLoop:
    """A holder's view of the process's hub loop; made by ``acquire`` only."""

    _current: ClassVar[HubLoop | None] = None

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_report)
        self._pid = os.getpid()
        self._holders = 0
        self._calls = Mailbox(self.loop)
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
        """Let go; the last holder ends the thread, after whatever still runs was cancelled.

        What does not end then is left behind after a few seconds, with a warning.
        """
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
            self._thread.join(_END_SECONDS)
            if self._thread.is_alive():
                stack = stack_of(self._thread)
                logger.warning("The hub loop does not end; it is left behind. Here:\n%s", stack)

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
        self._check(coroutine)
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, coroutine: Coroutine[Any, Any, T], tell: Callable[[], None]) -> Call[T]:
        """Start a coroutine on the hub loop, from any thread, at the least cost.

        Args:
            tell: Called on the hub loop's thread when the outcome is there.

        Raises:
            UsageError: in a process forked after the loop had started.
        """
        self._check(coroutine)
        call = Call(coroutine, tell, self._calls)
        self._calls.put(call.start)
        return call

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
        done = threading.Lock()
        done.acquire()
        call = self.call(coroutine, done.release)
        try:
            in_time = done.acquire(timeout=-1 if timeout is None else timeout)
        except BaseException:
            call.cancel()
            raise
        if not in_time:
            call.cancel()
            raise TimeoutError(f"The hub loop was not done within {timeout:g} s.")
        try:
            return call.result()
        except asyncio.CancelledError:
            raise CancelledError from None

    def _check(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        if not self.is_usable:
            coroutine.close()
            raise UsageError(
                "This app was started before the process was forked, and its connections do not "
                "survive a fork. Start the app in the child, or start processes with the 'spawn' "
                "method: multiprocessing.get_context('spawn')."
            )

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            try:
                self.loop.run_until_complete(self._wind_down())
            finally:
                self.loop.close()
                self._calls.deliver()  # so that whoever came too late hears of it

    async def _wind_down(self) -> None:
        """Cancel whatever runs, and what begins meanwhile, until nothing does."""
        self._calls.deliver()
        until = self.loop.time() + PATIENCE_SECONDS
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            if self.loop.time() > until:
                logger.warning("These do not end and are left behind: %s", rest)
                return
            # Again and again: wait_for, for one, loses a cancellation that comes with its result.
            for task in rest:
                task.cancel()
            ended, _ = await asyncio.wait(rest, timeout=min(_INSIST_SECONDS, PATIENCE_SECONDS))
            for task in ended:
                if not task.cancelled():
                    task.exception()  # nobody is there who would want it
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.loop.shutdown_asyncgens(), PATIENCE_SECONDS)


class Call(Generic[T]):
    """A coroutine on its way to the hub loop, and its outcome."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], tell: Callable[[], None], calls: Mailbox
    ) -> None:
        self._coroutine = coroutine
        self._tell = tell
        self._calls = calls
        self._task: asyncio.Task[T] | None = None

    def start(self) -> None:
        """Begin; on the hub loop.  Once that has ended it is as if the call had been cancelled."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._coroutine.close()
            self._tell()
            return
        self._task = loop.create_task(self._coroutine)
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Cancel it, from any thread."""
        self._calls.put(self._cancel)

    def result(self) -> T:
        """The outcome, once it is there: a value, an exception, or ``asyncio.CancelledError``."""
        if self._task is None:  # it came when the loop had ended
            raise asyncio.CancelledError
        return self._task.result()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # it is somebody's, even if that one has left
        self._tell()


async def await_on(hub_loop: HubLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that has to run on the hub loop, from a coroutine on any loop.

    Cancelling the caller cancels the coroutine.
    """
    if hub_loop.is_here:
        return await coroutine
    answers = _answers()
    done = asyncio.get_running_loop().create_future()

    def settle() -> None:
        if not done.done():
            done.set_result(None)

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
            answers.put(settle)

    call = hub_loop.call(coroutine, tell)
    try:
        await done
    except asyncio.CancelledError:
        call.cancel()
        raise
    return call.result()


class _Here(threading.local):
    """The mailbox of the loop that runs on this thread."""

    answers: tuple[asyncio.AbstractEventLoop, Mailbox] | None = None


_here = _Here()


def _answers() -> Mailbox:
    loop = asyncio.get_running_loop()
    known = _here.answers
    if known is None or known[0] is not loop:
        known = _here.answers = (loop, Mailbox(loop))
    return known[1]


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody handled, but for what grpc's loops say of each other.

    All loops of a process that use grpc read its events from one pipe, each those of all.  So one
    may find an event of a loop that has been closed since, or find that another was faster.
    Either is over with the exception: an event that somebody waits for has its own byte in it.
    """
    about_others = isinstance(context.get("exception"), (RuntimeError, BlockingIOError))
    if about_others and "PollerCompletionQueue" in repr(context.get("handle")):
        logger.debug("%s", context["exception"])
        return
    loop.default_exception_handler(context)


def _renew_guard() -> None:
    # Another thread may have held the guard when the process forked; the child lacks that thread.
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)
