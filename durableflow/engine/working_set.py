"""The instances in memory: loaded when needed, let go when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from durableflow.engine.jobs import JobThread
from durableflow.engine.resident import Resident
from durableflow.engine.state import ROW_SPAN, Instance
from durableflow.engine.store import Reader

# Idle instances stay for a while, so that the next event or question costs no reading.
IDLE_COUNT: Final = 1000
IDLE_BYTES: Final = 16 * 1024 * 1024


class WorkingSet:
    """Residents by instance id and by key.  Two loads of one id share one future."""

    def __init__(self, jobs: JobThread, reader: Reader) -> None:
        self._jobs = jobs
        self._reader = reader
        self._by_id: dict[str, Resident] = {}
        self._by_key: dict[int, Resident] = {}
        self._loading: dict[str, asyncio.Future[list[Instance]]] = {}
        self._loads = 0
        self._idle: dict[Resident, int] = {}
        self._idle_bytes = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, instance_id: str) -> Resident | None:
        """The resident with this id, if it is in memory."""
        return self._by_id.get(instance_id)

    def by_key(self, key: int) -> Resident | None:
        """The resident with this key, if it is in memory."""
        return self._by_key.get(key)

    def add(self, instance: Instance) -> Resident:
        """Take a new instance in; it hides an older execution of the same id."""
        resident = Resident(instance)
        newest = instance.inbox[-1].row if instance.inbox else instance.key * ROW_SPAN
        resident.next_message = newest + 1
        self._by_id[instance.instance_id] = resident
        self._by_key[instance.key] = resident
        return resident

    async def load(self, instance_id: str) -> Resident | None:
        """The resident with this id, from memory or disk; None if there is none."""
        resident = self._by_id.get(instance_id)
        if resident is not None:
            return resident
        found = self._loading.get(instance_id)
        if found is None:
            self._loads += 1
            found = self._jobs.submit(self._reader.by_ids, [instance_id])
            self._loading[instance_id] = found
            found.add_done_callback(lambda _: self._loaded(instance_id))
        for instance in await asyncio.shield(found):
            self._admit(instance)
        return self._by_id.get(instance_id)

    async def load_keys(self, keys: Sequence[int]) -> list[Resident]:
        """The residents with these keys, from memory or disk; absent ones are left out."""
        missing = [key for key in keys if key not in self._by_key]
        if missing:
            self._loads += 1
            try:
                for instance in await self._jobs.submit(self._reader.by_keys, missing):
                    self._admit(instance)
            finally:
                self._loads -= 1
        return [self._by_key[key] for key in dict.fromkeys(keys) if key in self._by_key]

    def settle(self, resident: Resident) -> None:
        """Look whether an instance is idle now, and let the longest idle ones go."""
        if resident.gone:
            self._forget(resident)
            return
        self._wake(resident)
        if not resident.is_idle:
            return
        size = resident.instance.size_bytes
        self._idle[resident] = size
        self._idle_bytes += size
        # A load under way may have read an older state than one evicted before it arrives.
        while not self._loads and (len(self._idle) > IDLE_COUNT or self._idle_bytes > IDLE_BYTES):
            oldest = next(iter(self._idle))
            self._wake(oldest)
            if oldest.is_idle:
                self._forget(oldest)

    def residents(self) -> list[Resident]:
        """All that are in memory now."""
        return list(self._by_key.values())

    def _wake(self, resident: Resident) -> None:
        size = self._idle.pop(resident, None)
        if size is not None:
            self._idle_bytes -= size

    def _forget(self, resident: Resident) -> None:
        self._wake(resident)
        instance = resident.instance
        self._by_key.pop(instance.key, None)
        if self._by_id.get(instance.instance_id) is resident:
            del self._by_id[instance.instance_id]

    def _loaded(self, instance_id: str) -> None:
        self._loads -= 1
        del self._loading[instance_id]

    def _admit(self, instance: Instance) -> None:
        if instance.key not in self._by_key and instance.instance_id not in self._by_id:
            self.settle(self.add(instance))
