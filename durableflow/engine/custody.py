"""Carries out what the suspects decide: holds work back, notes it, puts it aside."""

from __future__ import annotations

import asyncio
import logging

from durableflow.engine.activities import Activities
from durableflow.engine.core import Core
from durableflow.engine.delivery import Work
from durableflow.engine.resident import Resident
from durableflow.engine.state import QUARANTINE, Parked
from durableflow.engine.turns import Turns

log = logging.getLogger(__name__)


class Custody:
    """Knows which work and which instance an item stands for; see ``Suspects``."""

    def __init__(self, core: Core, turns: Turns, activities: Activities) -> None:
        self._core = core
        self._turns = turns
        self._activities = activities

    def work_of(self, item: int) -> Work | None:
        """The work of an item that nobody holds; None if there is nothing to do any more."""
        if item > 0:
            work = self._activities.work(item)
            return None if work is None or work.withdrawn() else work
        resident = self._resident_of(item)
        if resident is None or resident.turn or not resident.instance.is_runnable:
            return None
        return self._turns.work(resident)

    def offer(self, item: int) -> None:
        """Offer an item in the ordinary way."""
        resident = self._resident_of(item)
        work = self._activities.work(item)
        if work is not None:
            self._activities.offer(work)
        if resident is not None:
            self._turns.ready(resident)

    def release(self, item: int) -> None:
        """Show that an item is not put aside any more."""
        resident = self._resident_of(item)
        if resident is not None:
            resident.instance.parked = None
            self._core.committer.writes(resident).changed = True

    def note(self, item: int, record: tuple[int, int] | None) -> asyncio.Future[None] | None:
        """Write an item's record, or remove it."""
        resident = self._resident_of(item)
        if resident is None:
            if record is None:
                self._core.committer.forget_dispatch(item)
            return None
        writes = self._core.committer.writes(resident)
        if record is None:
            writes.take_back(item, recorded=True)
        else:
            writes.give_out(item, record)
        return self._core.committer.barrier(resident)

    def quarantine(self, item: int, crashes: int) -> None:
        """Show on the instance that an item was put aside."""
        resident = self._resident_of(item)
        if resident is None:
            return
        what = "Its next turn" if item < 0 else self._activity_text(resident, item)
        reason = (
            f"{what} ended the process that ran it {crashes} times while nothing else ran there, "
            "so it is in quarantine. Mend the code, then resume the instance to try again."
        )
        log.error("Instance '%s': %s", resident.instance.instance_id, reason)
        resident.instance.parked = Parked(QUARANTINE, reason)
        self._core.committer.writes(resident).changed = True

    def _activity_text(self, resident: Resident, row: int) -> str:
        work = self._activities.work(row)
        name = "an activity" if work is None else f"activity '{work.key[1]}'"
        return f"Task {resident.instance.activities.get(row)}, {name},"

    def _resident_of(self, item: int) -> Resident | None:
        if item < 0:
            return self._core.working_set.by_key(-item)
        work = self._activities.work(item)
        return None if work is None else work.resident
