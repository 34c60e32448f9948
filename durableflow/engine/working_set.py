"""The instances in memory: loaded when needed, let go when idle.

Reading is a hop to another thread, so what is asked for while a read is under way is one read
after it, like the writes of a group commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from durableflow.engine.jobs import JobThread
from durableflow.engine.resident import Resident
from durableflow.engine.state import ROW_SPAN, Instance
from durableflow.engine.store import Reader

# Idle instances stay for a while, so that the next event or question costs no reading.
IDLE_COUNT: Final = 1000
IDLE_BYTES: Final = 16 * 1024 * 1024
# A read of this many ids is short enough for whoever waits for the next one.
_MOST_IDS: Final = 64


class WorkingSet:
    """Residents by instance id and by key.  Two loads of one id share one read."""

    def __init__(
        self,
        jobs: JobThread,
        reader: Reader,
        *,
        barrier: Callable[[Resident], asyncio.Future[None] | None],
    ) -> None:
        """Make an empty one.

        Args:
            barrier: See ``Committer.barrier``.
        """
        self._loop = asyncio.get_running_loop()
        self._jobs = jobs
        self._reader = reader
        self._barrier = barrier
        self._by_id: dict[str, Resident] = {}
        self._by_key: dict[int, Resident] = {}
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}  # for an id to be read
        self._unread: list[str] = []
        self._is_reading = False
        self._loads = 0
        self._removed: set[int] = set()
        self._idle: dict[Resident, int] = {}
        self._idle_bytes = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def by_key(self, key: int) -> Resident | None:
        """The resident with this key, if it is in memory and not being removed."""
        resident = self._by_key.get(key)
        return None if resident is None or resident.gone else resident

    def get(self, instance_id: str) -> Resident | None:
        """The resident with this id, if it is in memory and not being removed."""
        resident = self._by_id.get(instance_id)
        return None if resident is None or resident.gone else resident

    def add(self, instance: Instance) -> Resident:
        """Take a new instance in; it hides an older execution of the same id."""
        resident = Resident(instance)
        newest = instance.inbox[-1].row if instance.inbox else instance.key * ROW_SPAN
        resident.next_message = newest + 1
        self._by_id[instance.instance_id] = resident
        self._by_key[instance.key] = resident
        return resident

    async def load(self, instance_id: str) -> Resident | None:
        """The resident with this id, from memory or disk; None if there is none.

        What is being removed is still there: the answer waits until its removal is committed.
        Whatever this returns stays in memory until the caller waits for something else.
        """
        resident = self._by_id.get(instance_id)
        if resident is not None and not resident.gone:
            return resident
        with self.holding():
            while True:
                resident = self._by_id.get(instance_id)
                if resident is None:
                    await self._read(instance_id)
                    resident = self._by_id.get(instance_id)
                if resident is None or not resident.gone:
                    return resident
                removal = self._barrier(resident)
                if removal is not None:
                    await removal

    async def load_keys(self, keys: Sequence[int]) -> list[Resident]:
        """The residents with these keys, from memory or disk; absent ones are left out."""
        missing = [key for key in keys if key not in self._by_key]
        if missing:
            with self.holding():
                for instance in await self._jobs.submit(self._reader.by_keys, missing):
                    self._admit(instance)
        return [self._by_key[key] for key in dict.fromkeys(keys) if key in self._by_key]

    def settle(self, resident: Resident) -> None:
        """Look whether an instance is idle now, and let the longest idle ones go."""
        self._wake(resident)
        if resident.gone:
            if not (resident.pending or resident.committing):
                self._forget(resident)
            return
        if not resident.is_idle:
            return
        size = resident.instance.size_bytes
        self._idle[resident] = size
        self._idle_bytes += size
        self._evict()

    def residents(self) -> list[Resident]:
        """All that are in memory now."""
        return list(self._by_key.values())

    @property
    def _is_full(self) -> bool:
        return len(self._idle) > IDLE_COUNT or self._idle_bytes > IDLE_BYTES

    def _evict(self) -> None:
        # A load under way may have read an older state than one evicted before it arrives.
        while self._is_full and not self._loads:
            oldest = next(iter(self._idle))
            self._wake(oldest)
            if oldest.is_idle:
                self._forget(oldest)

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
        if resident.gone and self._loads:
            self._removed.add(instance.key)  # a load under way may have seen it still

    def _read(self, instance_id: str) -> asyncio.Future[None]:
        """Have an instance read and admitted; each caller has a future of its own."""
        waiters = self._waiters.get(instance_id)
        if waiters is None:
            waiters = self._waiters[instance_id] = []
            self._loads += 1
            self._unread.append(instance_id)
            if not self._is_reading:
                self._is_reading = True
                self._loop.call_soon(self._read_next)
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiters.append(waiter)
        return waiter

    def _read_next(self) -> None:
        instance_ids, self._unread = self._unread[:_MOST_IDS], self._unread[_MOST_IDS:]
        self._is_reading = bool(instance_ids)
        if instance_ids:
            self._submit(instance_ids)

    def _submit(self, instance_ids: list[str]) -> None:
        found = self._jobs.submit(self._reader.by_ids, instance_ids)
        found.add_done_callback(partial(self._have_read, instance_ids))

    def _have_read(self, instance_ids: list[str], found: asyncio.Future[list[Instance]]) -> None:
        error = found.exception()
        if error is not None and len(instance_ids) > 1:
            for instance_id in instance_ids:  # one that is unreadable is not the others' trouble
                self._submit([instance_id])
            return
        for instance in () if error else found.result():
            self._admit(instance)
        for instance_id in instance_ids:
            for waiter in self._waiters.pop(instance_id):
                if waiter.done():
                    continue
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
            self._load_ended()
        self._read_next()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let nothing leave memory that a load under way has read, or is about to return."""
        self._loads += 1
        try:
            yield
        finally:
            self._load_ended()

    def _load_ended(self) -> None:
        self._loads -= 1
        if not self._loads:
            self._removed.clear()
            if self._is_full:
                # Not now: whoever loaded goes on with what it got.
                self._loop.call_soon(self._evict)

    def _admit(self, instance: Instance) -> None:
        known = instance.key in self._by_key or instance.instance_id in self._by_id
        if not known and instance.key not in self._removed:
            self.settle(self.add(instance))
