"""Time as an object, so that tests can replace it and jump."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What the engine asks for the time of day."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""

    def on_jump(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called (on any thread) whenever this clock is set by hand.

        Returns:
            What ends that.
        """


class SystemClock:
    """The machine's clock.  Its jumps are not announced: the timers look at it every 30 s."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def on_jump(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Never calls back."""
        return _nothing


def _nothing() -> None:
    """There is nothing to end."""
