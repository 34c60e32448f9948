"""Work that may kill its process: found, run alone, and put aside if it really does.

Each dispatch is recorded by a write that nobody waits for.  Whatever stands recorded after an
unclean end is a *suspect*.  A suspect runs while nothing else is given out, after a committed note
that it runs alone; only a crash under that note counts.  After five it is quarantined: it is not
offered any more, its instance shows why, and resuming the instance releases it.

An item that kills its process faster than its dispatch is written would never be recorded.  So
for a while after an unclean end the engine is *vigilant*: it hands out nothing before its dispatch
is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from durableflow.engine.batch import Suspect
from durableflow.engine.delivery import Delivery, Work

log = logging.getLogger(__name__)

QUARANTINE_AFTER: Final = 5
# A suspect that has run alone for this long, in seconds, is no instant killer; others go on.
ALONE_SECONDS: Final = 2.0
VIGILANCE_SECONDS: Final = 30.0


class Keeper(Protocol):
    """What the suspects need done to work and instances."""

    def work_of(self, item: int) -> Work | None:
        """The work of an item that nobody holds; None if there is nothing to do any more."""

    def release(self, item: int) -> None:
        """Offer an item again in the ordinary way."""

    def note(self, item: int, record: tuple[int, int] | None) -> asyncio.Future[None] | None:
        """Write an item's record, or remove it; what is returned is done when it is committed."""

    def quarantine(self, item: int, crashes: int) -> None:
        """Show on the instance that an item was put aside."""


class Suspects:
    """Decides what runs alone, and when.  Items are activity rows, and turns as minus the key."""

    def __init__(self, found: list[Suspect], *, unclean: bool, delivery: Delivery) -> None:
        self._loop = asyncio.get_running_loop()
        self._delivery = delivery
        self._crashes = {s.item: s.crashes + s.alone for s in found} if unclean else {}
        self._waiting = dict.fromkeys(self._crashes)
        self._quarantined: set[int] = set()
        self._alone: int | None = None
        self._step = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._custody: Keeper
        self.vigilant = unclean
        if unclean:
            self._calm = self._loop.call_later(VIGILANCE_SECONDS, self._relax)

    def start(self, custody: Keeper) -> None:
        """Put aside what crashed too often.  Call once everything is loaded."""
        self._custody = custody
        for item, crashes in self._crashes.items():
            if crashes >= QUARANTINE_AFTER:
                self._waiting.pop(item)
                self._quarantined.add(item)
                self._custody.quarantine(item, crashes)

    def stop(self) -> None:
        """Do nothing more."""
        if self._task is not None:
            self._task.cancel()
        if self.vigilant:
            self._calm.cancel()

    def holds(self, item: int) -> bool:
        """It may not be given out in the ordinary way."""
        return item in self._waiting or item in self._quarantined

    def record(self, item: int) -> tuple[int, int]:
        """What to write when an item is given out: whether it runs alone, and its crashes."""
        return (int(item == self._alone), self._crashes.get(item, 0))

    def finished(self, item: int) -> None:
        """An item came back: it is no suspect any more."""
        self._crashes.pop(item, None)
        self._waiting.pop(item, None)
        self._step.set()

    def worker_died(self, item: int) -> None:
        """The worker that held an activity is gone for good."""
        alone = item == self._alone
        self._crashes[item] = self._crashes.get(item, 0) + alone
        if self._crashes[item] >= QUARANTINE_AFTER:
            self._quarantined.add(item)
            self._custody.quarantine(item, self._crashes[item])
        else:
            self._waiting[item] = None
        if alone:
            self._step.set()
        self.examine()

    def pardon(self, items: list[int]) -> None:
        """Release items from quarantine."""
        for item in items:
            if item in self._quarantined:
                self._quarantined.discard(item)
                self._crashes.pop(item, None)
                self._custody.release(item)

    def examine(self) -> None:
        """Run suspects alone, if there are any that a connected stream would take."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._examine())

    async def _examine(self) -> None:
        self._delivery.pause()
        try:
            for item in list(self._waiting):
                work = self._custody.work_of(item)
                if work is None:
                    self._dismiss(item)
                elif self._delivery.has_takers(work.key):
                    await self._run_alone(item, work)
        finally:
            self._alone = None
            self._delivery.unpause()

    async def _run_alone(self, item: int, work: Work) -> None:
        await self._until(lambda: self._delivery.is_idle)
        if item not in self._waiting:
            return
        if self._delivery.is_idle:  # else something long runs beside it, and a crash proves nothing
            self._alone = item
            noted = self._custody.note(item, self.record(item))
            if noted is not None:
                await noted
        self._waiting.pop(item, None)
        if self._delivery.send_alone(work):
            await self._until(lambda: item not in self._crashes)
        else:
            self._waiting[item] = None
        self._alone = None
        if item in self._crashes:
            self._custody.note(item, self.record(item))

    async def _until(self, done: Callable[[], bool]) -> None:
        deadline = self._loop.time() + ALONE_SECONDS
        while not done():
            self._step.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._step.wait()
            except TimeoutError:
                return

    def _dismiss(self, item: int) -> None:
        self._waiting.pop(item, None)
        self._crashes.pop(item, None)
        self._custody.note(item, None)

    def _relax(self) -> None:
        self.vigilant = False
