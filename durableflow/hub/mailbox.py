"""Messages from other threads to an asyncio loop; one wake-up serves all that have come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Mailbox:
    """Callbacks that a loop runs in the order in which any threads put them.

    A wake-up of a loop is a system call, and costs the caller its turn at the interpreter.  While
    a loop has not yet answered the last one, none is needed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._woken = False

    def put(self, callback: Callable[[], None]) -> None:
        """Have a callback run on the loop soon.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._waiting.append(callback)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self.deliver)
            except RuntimeError:
                self._woken = False  # so that the next one is told too
                raise

    def deliver(self) -> None:
        """Run what has come; on the loop's own thread."""
        # First: what is put from now on wakes again, and comes when others had their turn.
        self._woken = False
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
