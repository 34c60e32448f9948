"""Work that may kill its process: found, run alone, and put aside if it really does.

Each dispatch is recorded by a write that nobody waits for.  Whatever stands recorded after an
unclean end is a *suspect*, and so is what a worker held that did not come back.  A suspect runs
while nothing else is given out, after a committed note that it runs alone; only a death under that
note counts.  After five it is quarantined: it is not offered any more, its instance shows why, and
resuming the instance releases it.

An activity always waits for the worker whose stream was lost.  A turn goes to another one at once,
but not if it is a suspect or has just lost a worker before: it could take one after another down.

Nobody waits long for this.  A suspect that was alone for two seconds is *cleared*; from then on,
as whenever something long runs beside, a death would prove nothing, so the rest is offered in the
ordinary way.  Those who were never alone come first the next time: in the end each one is.

An item that kills its process faster than its dispatch is written would never be recorded.  So
for a while after an unclean end the engine is *vigilant*: it hands out nothing before its dispatch
is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from durableflow.engine.batch import ALONE, BESIDE, CLEARED, Suspect
from durableflow.engine.delivery import Delivery, Work

log = logging.getLogger(__name__)

QUARANTINE_AFTER: Final = 5
# A suspect that has run alone for this long, in seconds, is no instant killer; others go on.
ALONE_SECONDS: Final = 2.0
# Suspects that run alone one after another hold others up no longer than this, in seconds.
EXAMINATION_SECONDS: Final = 10.0
VIGILANCE_SECONDS: Final = 30.0


class Keeper(Protocol):
    """What the suspects need done to work and instances."""

    def work_of(self, item: int) -> Work | None:
        """The work of an item that nobody holds; None if there is nothing to do any more."""

    def offer(self, item: int) -> None:
        """Offer an item in the ordinary way."""

    def note(self, item: int, record: tuple[int, int] | None) -> asyncio.Future[None] | None:
        """Write an item's record, or remove it; what is returned is done when it is committed."""

    def quarantine(self, item: int, crashes: int) -> None:
        """Show on the instance that an item was put aside."""

    def release(self, item: int) -> None:
        """Show that it is not put aside any more."""


class Suspects:
    """Decides what runs alone, and when.  Items are activity rows, and turns as minus the key."""

    def __init__(self, found: list[Suspect], *, died: bool, delivery: Delivery) -> None:
        """Take over what the file says.

        Args:
            found: What stands recorded.
            died: The process that recorded it died.
            delivery: Where work is held back and given out.
        """
        self._loop = asyncio.get_running_loop()
        self._delivery = delivery
        known = [s for s in found if died or s.crashes]
        self._unfounded = [s.item for s in found if not (died or s.crashes)]
        self._crashes = {s.item: s.crashes + (died and s.alone == ALONE) for s in known}
        self._cleared = {s.item for s in known if s.alone == CLEARED}
        self._waiting = set(self._crashes)
        self._quarantined: set[int] = set()
        self._fell: set[int] = set()
        self._absent: set[int] = set()
        self._alone: int | None = None
        self._crowded = False
        self._asked = False
        self._step = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._custody: Keeper
        self.vigilant = died
        if died:
            self._calm = self._loop.call_later(VIGILANCE_SECONDS, self._relax)

    def start(self, custody: Keeper) -> None:
        """Put aside what crashed too often.  Call once everything is loaded."""
        self._custody = custody
        for item in self._unfounded:
            custody.note(item, None)
        for item, crashes in self._crashes.items():
            if crashes >= QUARANTINE_AFTER:
                self._put_aside(item)

    def stop(self) -> None:
        """Do nothing more."""
        if self._task is not None:
            self._task.cancel()
        if self.vigilant:
            self._calm.cancel()

    def holds(self, item: int) -> bool:
        """It may not be given out in the ordinary way."""
        return item in self._waiting or item in self._quarantined or item in self._absent

    def quarantines(self, items: Iterable[int]) -> bool:
        """One of these is put aside."""
        return not self._quarantined.isdisjoint(items)

    def record(self, item: int) -> tuple[int, int]:
        """What to write when an item is given out: how it runs, and its crashes."""
        crashes = self._crashes.get(item, 0)
        if item == self._alone:
            return ALONE, crashes
        return CLEARED if item in self._cleared else BESIDE, crashes

    def finished(self, item: int) -> bool:
        """An item came back: it is no suspect any more.

        Returns:
            It was one, so that a record of it is on disk.
        """
        known = self._crashes.pop(item, None) is not None
        self._waiting.discard(item)
        self._cleared.discard(item)
        self._fell.discard(item)
        self._absent.discard(item)
        self._step.set()
        if self._crowded:
            self.examine()
        return known

    def forget(self, items: Iterable[int]) -> None:
        """The instance of these items ended, or goes away."""
        for item in items:
            self._quarantined.discard(item)
            if self.finished(item):
                self._custody.note(item, None)

    def worker_lost(self, item: int, *, again: bool = False) -> bool:
        """The stream that held an item ended; its worker may come back.

        Args:
            again: The one that held it before was lost, too, and may come back as well.

        Returns:
            It is a suspect, so that a record of it is on disk.
        """
        if item == self._alone:
            self._fell.add(item)
        if again or item in self._crashes:
            self._absent.add(item)
        self._step.set()
        return item in self._crashes

    def worker_back(self, item: int) -> None:
        """The worker that held an activity came back, and runs it still."""
        self._absent.discard(item)
        if item in self._fell:
            self._fell.discard(item)
            self._custody.note(item, self.record(item))

    def worker_lives(self, item: int) -> None:
        """The worker that held an item may be alive, but the item is to run again."""
        self._absent.discard(item)
        self._fell.discard(item)
        if item in self._crashes:
            self._suspect(item)

    def worker_died(self, item: int) -> None:
        """The worker that held an item is gone for good."""
        self._crashes[item] = self._crashes.get(item, 0) + (item in self._fell)
        self._absent.discard(item)
        self._fell.discard(item)
        self._suspect(item)

    def pardon(self, items: Iterable[int]) -> None:
        """Release items from quarantine."""
        for item in items:
            if item in self._quarantined:
                self._quarantined.discard(item)
                self._crashes.pop(item, None)
                self._custody.note(item, None)
                self._custody.release(item)
                self._custody.offer(item)

    def examine(self) -> None:
        """Run suspects alone, if there are any that a connected stream would take now."""
        self._asked = True
        if self._waiting and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._examine())

    async def _examine(self) -> None:
        deadline = self._loop.time() + EXAMINATION_SECONDS
        self._delivery.pause()
        try:
            while self._asked:
                self._asked = self._crowded = False
                for item in sorted(self._waiting, key=self._rank):
                    if not await self._look_at(item, deadline):
                        self._let_go()
                        return
        finally:
            self._alone = None
            self._delivery.unpause()

    def _suspect(self, item: int) -> None:
        """Have an item run alone, unless it is out again, or put it aside."""
        if self._crashes[item] >= QUARANTINE_AFTER:
            self._put_aside(item)
            return
        self._custody.note(item, self.record(item))
        if self._custody.work_of(item) is not None:
            self._waiting.add(item)
            self.examine()

    def _rank(self, item: int) -> tuple[int, bool, int]:
        """Those who killed come first, then those who were never alone."""
        return -self._crashes.get(item, 0), item in self._cleared, item

    async def _look_at(self, item: int, deadline: float) -> bool:
        """Run one suspect alone, if anybody takes it now; False if nothing can be alone now."""
        work = self._work(item)
        if work is None:
            return True
        if not self._delivery.can_take(work.key):
            self._crowded |= self._delivery.has_takers(work.key)
            return True
        if not await self._until(lambda: self._delivery.is_idle) or self._loop.time() > deadline:
            return False
        return await self._run_alone(item)

    async def _run_alone(self, item: int) -> bool:
        """Run a suspect alone; False if it is still running after a while."""
        self._alone = item
        noted = self._custody.note(item, self.record(item))
        if noted is not None:
            await noted
        back = True
        work = self._work(item)
        if work is not None:
            self._waiting.discard(item)
            if self._delivery.send_alone(work):
                back = await self._until(lambda: self._has_left(item))
            else:
                self._waiting.add(item)
        self._alone = None
        if not back:
            self._cleared.add(item)
        if item in self._crashes and item not in self._fell:
            self._custody.note(item, self.record(item))
        return back

    def _has_left(self, item: int) -> bool:
        """What ran alone does not run any more: it came back, fell, or waits to run again."""
        return item not in self._crashes or item in self._fell or item in self._waiting

    def _work(self, item: int) -> Work | None:
        """The work of a suspect that waits; one that has none is no suspect any more."""
        if item not in self._waiting:
            return None
        work = self._custody.work_of(item)
        if work is None:
            self.finished(item)
            self._custody.note(item, None)
        return work

    def _let_go(self) -> None:
        waiting = [item for item in tuple(self._waiting) if self._work(item) is not None]
        self._waiting.clear()
        for item in waiting:
            self._custody.offer(item)

    async def _until(self, done: Callable[[], bool]) -> bool:
        deadline = self._loop.time() + ALONE_SECONDS
        while not done():
            self._step.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._step.wait()
            except TimeoutError:
                return False
        return True

    def _put_aside(self, item: int) -> None:
        crashes = self._crashes[item]
        self._waiting.discard(item)
        self._quarantined.add(item)
        self._custody.note(item, (BESIDE, crashes))
        self._custody.quarantine(item, crashes)

    def _relax(self) -> None:
        self.vigilant = False
