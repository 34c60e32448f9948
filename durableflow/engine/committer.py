"""Group commit: everything that is due goes to the store in one transaction, one at a time.

    held (due later)                        due now
    ----------------                        -------
    an activity's result whose turn runs    the outcome of a turn
      in process: at most 2 ms (pairing)    a client's request
    the record of a dispatch: 20 ms         whatever a reply waits for

What is held is committed with the next due write *of the same instance*, so that a sequential step
costs one commit.  Where many instances share commits, and results trickle in from other processes,
a commit is followed by a short gathering, so that more of them share the next one.  Replies and effects wait for the commit that covers them; nothing is reordered
within an instance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from durableflow.engine.batch import Batch
from durableflow.engine.jobs import JobThread
from durableflow.engine.resident import Resident
from durableflow.engine.writes import Writes
from durableflow.errors import StorageError

# How long an activity's result may wait for the turn that it triggers, in seconds.
PAIRING: Final = 0.002
# How long the record of a dispatch may wait; most work is back before, and then costs nothing.
RECORDING: Final = 0.020
# After a commit that so many instances shared, what is due gathers for so long, in seconds.
# (Measured with 20 chains over gRPC: 0.23 commits a step without, 0.12 with it, and 1.1 to 1.2
# times the steps.  In process results come together, and nothing is due yet.)
_CROWD: Final = 4
_GATHERING: Final = 0.002


class Target(Protocol):
    """Where batches go: the store."""

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction, or raise ``StorageError`` and keep nothing of it."""


class Committer:
    """Collects writes on the hub loop and has the committer thread write them."""

    def __init__(
        self,
        jobs: JobThread,
        store: Target,
        *,
        on_settled: Callable[[Resident], None],
        on_failed: Callable[[StorageError], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs = jobs
        self._store = store
        self._on_settled = on_settled
        self._on_failed = on_failed
        self._pending: dict[Resident, Writes] = {}
        self._meta: dict[str, object] = {}
        self._returned: list[tuple[int]] = []
        self._committing: list[tuple[Resident, Writes]] = []
        self._busy = False
        self._scheduled = False
        self._sweep: asyncio.TimerHandle | None = None
        self._flushes: list[asyncio.Future[None]] = []
        self._stopped: Exception | None = None

    def writes(self, resident: Resident, *, delay: float = 0.0) -> Writes:
        """The writes to add to for this instance, due within ``delay`` seconds."""
        writes = resident.pending
        if writes is None:
            writes = resident.pending = Writes()
            self._pending[resident] = writes
        if delay:
            due = self._loop.time() + delay
            if due < writes.due:
                writes.due = due
                self._sweep_at(due)
        elif writes.due:
            writes.due = 0.0
            self._kick()
        return writes

    def put_meta(self, name: str, value: object) -> None:
        """Change one of the hub's own facts with the next commit."""
        self._meta[name] = value
        self._kick()

    def forget_dispatch(self, item: int) -> None:
        """Remove the record of an item with the next commit, for an instance not in memory."""
        self._returned.append((item,))
        self._kick()

    def barrier(self, resident: Resident, *, hurry: bool = True) -> asyncio.Future[None] | None:
        """What to wait for until everything known of this instance is committed.

        Args:
            hurry: Also end a hold.

        Returns:
            None if everything is committed; else a future, which fails if the commit does.
        """
        writes = resident.pending
        if writes is None:
            writes = resident.committing
            if writes is None:
                return None
        elif hurry and writes.due:
            writes.due = 0.0
            self._kick()
        future: asyncio.Future[None] = self._loop.create_future()
        if self._stopped is None:
            writes.wait(future)
        else:
            _fail(future, self._stopped)
        return future

    def covered(self, resident: Resident, *, hurry: bool = True) -> asyncio.Future[None]:
        """Like ``barrier``, but always a future: it is done if everything is committed."""
        return self.barrier(resident, hurry=hurry) or self.nothing()

    def nothing(self) -> asyncio.Future[None]:
        """A future for nothing to wait for."""
        future: asyncio.Future[None] = self._loop.create_future()
        future.set_result(None)
        return future

    async def flush(self) -> None:
        """Wait until everything known now is committed."""
        while (self._pending or self._busy or self._meta or self._returned) and not self._stopped:
            for writes in self._pending.values():
                writes.due = 0.0
            future: asyncio.Future[None] = self._loop.create_future()
            self._flushes.append(future)
            self._kick()
            await future

    def stop(self, error: Exception) -> None:
        """Drop everything that is not committed and fail whoever waits for it.

        The waiters get ``error``.  Nothing can be added afterwards.
        """
        self._stopped = error
        if self._sweep is not None:
            self._sweep.cancel()
        writes = [*self._pending.values(), *(w for _, w in self._committing)]
        self._pending.clear()
        self._committing.clear()
        for future in [f for w in writes for f in w.waiters or ()] + self._flushes:
            if not future.done():
                _fail(future, error)

    def _kick(self) -> None:
        if not (self._busy or self._scheduled or self._stopped):
            self._scheduled = True
            self._loop.call_soon(self._start)

    def _sweep_at(self, due: float) -> None:
        sweep = self._sweep
        if sweep is None or sweep.when() > due:
            if sweep is not None:
                sweep.cancel()
            self._sweep = self._loop.call_at(due, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        self._kick()

    def _start(self) -> None:
        self._scheduled = False
        if self._busy or self._stopped:
            return
        now = self._loop.time()
        due = [(r, w) for r, w in self._pending.items() if w.due <= now]
        rest = [w.due for w in self._pending.values() if w.due > now]
        if rest:
            self._sweep_at(max(min(rest), now))
        if not (due or self._meta or self._returned):
            self._wake_flushes()
            return
        batch = Batch(meta=list(self._meta.items()), returned=self._returned)
        self._meta.clear()
        self._returned = []
        for resident, writes in due:
            del self._pending[resident]
            resident.pending = None
            resident.committing = writes
            writes.write_to(batch, resident.instance)
        self._committing = due
        self._busy = True
        self._jobs.submit(self._store.write, batch).add_done_callback(self._done)

    def _done(self, future: asyncio.Future[None]) -> None:
        if self._stopped:
            future.exception()
            return
        error = future.exception()
        if error is not None:
            lost = StorageError(f"A commit failed unexpectedly: {error!r}")
            self._on_failed(error if isinstance(error, StorageError) else lost)
            return
        self._busy = False
        committed = self._committing
        self._committing = []
        for resident, writes in committed:
            resident.committing = None
            for waiter in writes.waiters or ():
                if not waiter.done():
                    waiter.set_result(None)
            for effect in writes.effects or ():
                effect()
            self._on_settled(resident)
        self._wake_flushes()
        if len(committed) >= _CROWD and self._can_gather():
            self._scheduled = True
            self._loop.call_later(_GATHERING, self._start)
        elif self._pending or self._meta or self._returned:
            self._start()

    def _can_gather(self) -> bool:
        """Something is due, and all of it on workers that keep sessions.

        Those go on with other work meanwhile.  A worker of another SDK, or a client, may do nothing
        until it has its answer.
        """
        now = self._loop.time()
        due = [resident for resident, writes in self._pending.items() if writes.due <= now]
        return bool(due) and all(resident.session is not None for resident in due)

    def _wake_flushes(self) -> None:
        flushes, self._flushes = self._flushes, []
        for flush in flushes:
            if not flush.done():  # whoever waited may have been cancelled
                flush.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # a caller that left must not make asyncio complain
