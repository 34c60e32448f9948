"""How an activity learns that nobody waits for it any more: ``CancelToken``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

from durableflow.errors import ActivityCancelledError

# One for all tokens: it is held for moments only, and most tokens never need a lock.
_guard = threading.Lock()


class CancelToken:
    """Set once, when an activity may as well stop.

    That is when the worker stops and the time for draining is up, when the activity has run for
    longer than its timeout, or when the connection to the task hub has been lost for so long that
    the hub gives the activity to another worker.  A thread cannot be stopped from outside, so a
    long activity should look from time to time, and end by raising: ``raise_if_set()``.  What it
    raises then is not recorded; the activity runs again.

    It may be used on any thread, and awaited on any loop.
    """

    __slots__ = ("_callbacks", "_event", "_reason")

    def __init__(self) -> None:
        self._reason: str | None = None
        self._event: threading.Event | None = None
        self._callbacks: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return "<CancelToken>" if self._reason is None else f"<CancelToken set: {self._reason}>"

    @property
    def reason(self) -> str | None:
        """Why it was set; None while it is not."""
        return self._reason

    def is_set(self) -> bool:
        """Whether the activity may as well stop."""
        return self._reason is not None

    def set(self, reason: str) -> None:
        """Set it, for good; only the first reason counts."""
        with _guard:
            if self._reason is not None:
                return
            self._reason = reason
            if self._event is not None:
                self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, for up to ``timeout`` seconds; return whether it is."""
        with _guard:
            if self._event is None:
                self._event = threading.Event()
                if self._reason is not None:
                    self._event.set()
        return self._event.wait(timeout)

    def raise_if_set(self) -> None:
        """Do nothing unless it is set.

        Raises:
            ActivityCancelledError: it is set.
        """
        if self._reason is not None:
            raise ActivityCancelledError(self._reason)

    def __await__(self) -> Generator[Any, None, str]:
        """Wait until it is set, and return why."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        with _guard:
            if self._reason is None:
                self._callbacks.append(wake)
            else:
                woken.set()
        yield from woken.wait().__await__()
        return self._reason or ""
