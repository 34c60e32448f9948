"""This process among those that use one database file: owner of it, or joined to its owner.

All hubs that a process opens on one file share one ``Membership``.  It has at most one ``Link``:
either the engine itself or a connection to the process that has it.  When a link breaks, the next
call finds a new one by the same steps as the first: try the lock; else read where the owner
serves, and join it.  So whoever comes first after an owner's death becomes the owner.

What moves a file on purpose:

=====================================  ============================================================
a worker comes, the owner has none     it asks; the owner drains, closes, releases; it takes the lock
the last user of the owner leaves      the owner drains, closes, releases; whoever comes next owns
=====================================  ============================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import ClassVar, Final

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.admin import DESCRIBE, HANDOVER
from durableflow.engine.engine import Engine
from durableflow.engine.inflight import InFlight
from durableflow.engine.owner import DRAIN_SECONDS, Owner, Serving, new_token
from durableflow.engine.ownership import OwnerLock, OwnerRecord
from durableflow.engine.server import bearer
from durableflow.errors import CallError, StorageError, StorageUnusableError
from durableflow.hub.options import HubOptions
from durableflow.hub.remote import RemoteTaskHub
from durableflow.protocol.metadata import AUTHORIZATION
from durableflow.protocol.status import Status

logger = logging.getLogger(__name__)

# How long somebody looks for the owner before giving up.
SEARCH_SECONDS: Final = 20.0
# How long an owner may take to say who it is, and to give the file up.
DESCRIBE_SECONDS: Final = 2.0
CLAIM_SECONDS: Final = 15.0
# A process without a worker leaves a file that has lost its owner to one with a worker this long.
COURTESY_SECONDS: Final = 0.3
# And this long to the one that it has just handed the file over to.
HANDOVER_SECONDS: Final = 3.0


class Link:
    """Where calls go at present, and what is under way there.

    Attributes:
        hub: The engine itself, or a connection to it.
        owner: Set if this process owns the file.
        calls: Short calls under way.
        waits: Calls and streams under way that last as long as somebody likes.
    """

    def __init__(self, hub: Engine | RemoteTaskHub, *, owner: Owner | None = None) -> None:
        self.hub = hub
        self.owner = owner
        self.calls = InFlight()
        self.waits = InFlight()

    @property
    def engine(self) -> Engine | None:
        """The engine itself, if it is in this process."""
        return self.hub if isinstance(self.hub, Engine) else None

    @property
    def engine_place(self) -> str:
        """Where the engine runs, for people."""
        if self.owner is not None:
            return f"in this process, serving others at {self.owner.address}"
        if isinstance(self.hub, RemoteTaskHub):
            return f"in another process, at {self.hub.description}"
        return "in this process, in memory"

    async def taken(self, work: pb.WorkItemFilters, timeout: float | None) -> pb.WorkItemFilters:
        """Ask the engine which part of some work a connected worker takes."""
        return await self.hub.taken(work, timeout=timeout)

    async def close(self) -> None:
        """Close the engine or the connection, whatever is under way."""
        await (self.owner or self.hub).close()


def address_of(database: Path | None) -> str:
    """The address of a file, or of memory, as people give it."""
    return "sqlite://" if database is None else f"sqlite:///{database.as_posix()}"


class Membership:
    """What a process shares among its hubs on one file, or on one in-memory engine."""

    _all: ClassVar[dict[object, Membership]] = {}

    def __init__(self, key: object, database: Path | None, options: HubOptions) -> None:
        self.description = address_of(database)
        self._key = key
        self._database = database
        self._options = options
        self._users = 0
        self._workers = 0
        self._link: Link | None = None
        self._search: asyncio.Task[Link] | None = None
        self._retired: set[Link] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._hub_id: str | None = None
        self._failure: StorageError | None = None
        self._not_before = 0.0
        # Set while the last user leaves, and then tells that it has left.
        self.leaving: asyncio.Event | None = None

    @classmethod
    async def attach(cls, database: Path | None, options: HubOptions) -> Membership:
        """Become a user of a file; pair it with ``detach``.

        Raises:
            StorageError: the file cannot be used, or its owner cannot be trusted.
            CallError: UNAVAILABLE, if its owner does not answer.
        """
        key = cls._key_of(database, options)
        while (membership := cls._all.get(key)) is not None and membership.leaving is not None:
            await membership.leaving.wait()
        if membership is None:
            membership = cls._all[key] = cls(key, database, options)
        membership._users += 1
        membership._workers += options.role == "worker"
        try:
            await membership._enter(options)
        except BaseException:
            await membership.detach(options)
            raise
        return membership

    async def detach(self, options: HubOptions) -> None:
        """Stop being a user; the last one leaves the file."""
        self._users -= 1
        self._workers -= options.role == "worker"
        if self._users == 0:
            await self._leave()
        elif self._workers == 0 and self._link is not None and self._link.owner is not None:
            self._link.owner.hands_over(True)

    @property
    def current(self) -> Link | None:
        """Where calls go now; None while that has to be found."""
        return self._link

    async def link(self) -> Link:
        """Return where calls go now, looking for it if need be.

        Raises:
            StorageError: the file cannot be used.
            CallError: UNAVAILABLE, if its owner does not answer.
        """
        if self._link is not None:
            return self._link
        if self._failure is not None:
            raise self._failure
        if self.leaving is not None:
            raise CallError(Status.UNAVAILABLE, f"{self.description} is being closed.")
        if self._search is None:
            self._search = asyncio.create_task(self._find())
            self._search.add_done_callback(self._found)
        return await asyncio.shield(self._search)

    def lost(self, link: Link) -> None:
        """A call has shown that this link is broken; the next one looks for another."""
        if self._link is link:
            if self._workers == 0:
                self._yield_file(COURTESY_SECONDS)
            self._retire(link)

    async def _enter(self, options: HubOptions) -> None:
        link = await self.link()
        if options.role == "worker":
            if link.owner is not None:
                link.owner.hands_over(False)
            elif isinstance(link.hub, RemoteTaskHub) and await self._claim(link.hub):
                self.lost(link)
                await self.link()
        elif not self._workers and link.owner and not link.owner.engine.has_served_worker:
            logger.warning(
                "No worker has ever served %s; what is scheduled there waits until one is started.",
                self.description,
            )

    async def _leave(self) -> None:
        self.leaving = asyncio.Event()
        try:
            if self._search is not None:
                self._search.cancel()
                await asyncio.gather(self._search, return_exceptions=True)
            if self._link is not None:
                self._retired.add(self._link)
                self._link = None
            await asyncio.gather(*(link.close() for link in self._retired))
        finally:
            if self._all.get(self._key) is self:
                del self._all[self._key]
            self.leaving.set()

    def _found(self, search: asyncio.Task[Link]) -> None:
        self._search = None
        if not search.cancelled() and search.exception() is None:
            self._link = search.result()

    async def _find(self) -> Link:
        if self._database is None:
            engine = Engine(None, synchronous=self._options.synchronous)
            await engine.open()
            return Link(engine)
        clock = asyncio.get_running_loop().time
        until = clock() + SEARCH_SECONDS
        pause, reason = 0.01, "nothing was tried"
        while clock() < until:
            try:
                link = await self._own(self._database) or await self._join(self._database)
            except CallError as error:
                reason = str(error)
            else:
                return link
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)
        raise CallError(
            Status.UNAVAILABLE,
            f"{self.description} is owned by another process, which cannot be reached: {reason}",
        )

    async def _own(self, database: Path) -> Link | None:
        if asyncio.get_running_loop().time() < self._not_before:
            return None
        lock = OwnerLock.try_acquire(database)
        if lock is None:
            return None
        serving = Serving(
            token=new_token(),
            synchronous=self._options.synchronous,
            max_message_bytes=self._options.max_message_bytes,
            hands_over=self._workers == 0,
        )
        owner = Owner(database, lock, serving, hand_over=self._hand_over, lost=self._fail)
        await owner.open()
        try:
            self._pin(owner.engine.hub_id)
        except StorageUnusableError:
            await owner.close()
            raise
        owner.hands_over(self._workers == 0)
        logger.info("This process owns %s now.", self.description)
        return Link(owner.engine, owner=owner)

    async def _join(self, database: Path) -> Link:
        record = OwnerRecord.read(database)
        if record is None:
            raise CallError(Status.UNAVAILABLE, "it has not said yet where it serves.")
        metadata = ((AUTHORIZATION, bearer(record.token)),) if record.token else ()
        hub = RemoteTaskHub(record.address, metadata=metadata, options=self._options)
        await hub.open()
        try:
            reply = await hub.call(
                DESCRIBE,
                admin_pb.DescribeRequest(),
                admin_pb.DescribeReply,
                timeout=DESCRIBE_SECONDS,
            )
            self._check_hub(record, reply)
            handed_over = reply.hands_over and self._workers > 0 and await self._claim(hub)
        except BaseException:
            await hub.close()
            raise
        if handed_over:
            await hub.close()
            raise CallError(Status.UNAVAILABLE, "it has just handed the file over.")
        logger.info("This process has joined the owner of %s.", self.description)
        return Link(hub)

    async def _claim(self, hub: RemoteTaskHub) -> bool:
        """Ask an owner for the file, which it gives up if it has no worker."""
        try:
            reply = await hub.call(
                HANDOVER,
                admin_pb.HandoverRequest(pid=os.getpid()),
                admin_pb.HandoverReply,
                timeout=CLAIM_SECONDS,
            )
        except CallError as error:
            logger.debug("%s was not handed over: %s", self.description, error)
            return False
        return reply.accepted

    async def _hand_over(self) -> bool:
        link = self._link
        if link is None or link.owner is None or self._workers or self.leaving:
            return False
        self._yield_file(HANDOVER_SECONDS)
        self._link = None
        self._retired.add(link)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await link.calls.quiet()
        await link.owner.let_go()
        self._retire(link)
        logger.info("%s was handed over to a process that has a worker.", self.description)
        return True

    def _yield_file(self, seconds: float) -> None:
        self._not_before = asyncio.get_running_loop().time() + seconds

    def _retire(self, link: Link) -> None:
        """Send new calls elsewhere, and close the link when the old ones have ended."""

        async def close_when_quiet() -> None:
            if link.owner is None:
                await link.calls.quiet()
                await link.waits.quiet()
            await link.close()
            self._retired.discard(link)

        if self._link is link:
            self._link = None
        self._retired.add(link)
        task = asyncio.create_task(close_when_quiet())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _fail(self, error: StorageUnusableError) -> None:
        logger.error("%s", error)
        self._failure = error
        if self._link is not None:
            self._retire(self._link)

    def _check_hub(self, record: OwnerRecord, reply: admin_pb.DescribeReply) -> None:
        if reply.hub_id != record.hub_id:
            raise StorageUnusableError(
                f"The engine at {record.address} holds another task hub than {self._database} says "
                "it does. Stop that process, or delete the .owner file beside the database."
            )
        self._pin(reply.hub_id)

    def _pin(self, hub_id: str) -> None:
        if self._hub_id not in (None, hub_id):
            raise StorageUnusableError(
                f"{self._database} holds another task hub than it did when this process opened it. "
                "Start the process again if that is the one to use."
            )
        self._hub_id = hub_id

    @staticmethod
    def _key_of(database: Path | None, options: HubOptions) -> object:
        if database is not None:
            return OwnerLock.place(database)
        return object() if options.share_key is None else ("memory", id(options.share_key))
