"""Counts what is under way, so that somebody can wait for quiet."""

from __future__ import annotations

import asyncio


class InFlight:
    """How many calls of one kind are under way; everything on one loop."""

    def __init__(self) -> None:
        self._count = 0
        self._quiet: asyncio.Event | None = None

    @property
    def count(self) -> int:
        """How many there are now."""
        return self._count

    def enter(self) -> None:
        """A call begins."""
        self._count += 1

    def leave(self) -> None:
        """A call has ended, in whatever way."""
        self._count -= 1
        if not self._count and self._quiet is not None:
            self._quiet.set()
            self._quiet = None

    async def quiet(self) -> None:
        """Wait until nothing is under way."""
        while self._count:
            if self._quiet is None:
                self._quiet = asyncio.Event()
            await self._quiet.wait()
