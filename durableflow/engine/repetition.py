"""How long a call whose owner was lost is repeated."""

from __future__ import annotations

import asyncio
from typing import Final

from durableflow.hub.backoff import Backoff

_BACKOFF: Final = Backoff(first_seconds=0.04, limit_seconds=1.0)


class Limit:
    """How long a call may be repeated, and how long to pause before that."""

    __slots__ = ("_begun", "_bounds", "_clock", "_repetitions", "_timeout")

    def __init__(self, timeout: float | None, at_most: float | None) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._timeout = timeout
        self._bounds = (timeout, at_most)
        self._repetitions = 0

    @property
    def remaining(self) -> float | None:
        """Seconds until the caller's deadline; None if it has set none."""
        if self._timeout is None:
            return None
        return max(0.0, self._begun + self._timeout - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether the call is not to be repeated any more."""
        passed = self._clock() - self._begun
        return any(bound is not None and passed >= bound for bound in self._bounds)

    async def pause(self) -> None:
        """Wait before a repetition: not at all the first time, then longer and longer."""
        if self._repetitions:
            await asyncio.sleep(_BACKOFF.delay_seconds(self._repetitions))
        self._repetitions += 1
