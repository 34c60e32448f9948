"""This process as the owner of a database file: the engine, its server, and the record of both."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow.engine.admin import admin_calls
from durableflow.engine.engine import Engine
from durableflow.engine.ownership import (
    FileIdentity,
    OwnerLock,
    OwnerRecord,
    identity_of,
    make_private,
    prepare_database,
)
from durableflow.engine.server import HubServer
from durableflow.errors import CallError, StorageError, StorageUnusableError
from durableflow.hub.options import DEFAULT_MAX_MESSAGE_BYTES
from durableflow.protocol.status import Status

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 1.0
WATCH_SECONDS: Final = 1.0

HandOver = Callable[[], Awaitable[bool]]


@frozen(kw_only=True)
class Serving:
    """How an owner serves.

    Attributes:
        host: A loopback address.
        port: 0 takes a free one.
        token: What callers must present; ``""`` lets every local user in.
        synchronous: See ``HubOptions``.
        max_message_bytes: See ``HubOptions``.
        hands_over: Whether to give the file up to a process that has a worker.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(repr=False)
    synchronous: str = "full"
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    hands_over: bool = False


class Owner:
    """An open engine on a locked file, served on loopback.

    Args:
        database: The file.
        lock: Its lock, held.  The owner releases it.
        serving: How to serve.
        lost: Called once, after the engine was stopped, if the file is replaced under it.
        hand_over: Called when another process asks for the file; says whether it was given up.
    """

    def __init__(
        self,
        database: Path,
        lock: OwnerLock,
        serving: Serving,
        *,
        lost: Callable[[StorageUnusableError], None],
        hand_over: HandOver | None = None,
    ) -> None:
        self.engine = Engine(database, synchronous=serving.synchronous)
        self._database = database
        self._lock = lock
        self._serving = serving
        self._lost = lost
        self._server = HubServer(
            self.engine,
            host=serving.host,
            port=serving.port,
            token=serving.token or None,
            admin=admin_calls(self._describe, self._answer(hand_over), self.engine.taken),
            max_message_bytes=serving.max_message_bytes,
        )
        self._record: OwnerRecord | None = None
        self._watch: asyncio.Task[None] | None = None
        self._going: asyncio.Task[None] | None = None

    @property
    def description(self) -> str:
        """The file, as a task-hub address."""
        return self.engine.description

    @property
    def address(self) -> str:
        """``host:port`` of the server."""
        return self._server.address

    async def open(self) -> None:
        """Open the engine and serve it; on failure the lock is released.

        Raises:
            StorageError: the file cannot be used.
            SetupError: the port cannot be served.
        """
        try:
            prepare_database(self._database)
            await self.engine.open()
            make_private(self._database)
            await self._server.start()
            self._record = OwnerRecord(
                address=self._server.address,
                pid=os.getpid(),
                incarnation=self.engine.incarnation,
                token=self._serving.token,
                hub_id=self.engine.hub_id,
                hands_over=self._serving.hands_over,
            )
            self._record.write(self._database)
        except BaseException:
            await self.close()
            raise
        self._watch = asyncio.create_task(self._watch_files(identity_of(self._database)))

    def hands_over(self, value: bool) -> None:
        """Say from now on whether this process gives the file up to one that has a worker."""
        if self._record is not None and self._record.hands_over != value:
            self._record = evolve(self._record, hands_over=value)
            try:
                self._record.write(self._database)
            except StorageError as error:
                # Only a courtesy to those who join: what counts is what the server answers.
                logger.warning("%s", error)

    async def let_go(self) -> None:
        """Finish the calls in flight, close the engine and release the lock.  Idempotent.

        The server still turns callers away, and answers the one who asked for this.
        """
        if self._going is None:
            self._going = asyncio.create_task(self._go())
        # The lock must not be free before the engine is closed, whoever stops waiting for that.
        await asyncio.shield(self._going)

    async def close(self) -> None:
        """Let go, and stop the server.  Idempotent."""
        await self.let_go()
        await self._server.stop(GRACE_SECONDS)

    async def _go(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._record is not None:
            self._record = None
            if self._lock.is_in_place:
                OwnerRecord.remove(self._database)
        await self._server.drain(DRAIN_SECONDS)
        await self.engine.close()
        self._lock.release()

    def _describe(self) -> admin_pb.DescribeReply:
        if self._record is None:
            raise CallError(Status.UNAVAILABLE, "This engine is being closed.")
        return admin_pb.DescribeReply(
            hub_id=self._record.hub_id,
            incarnation=self.engine.incarnation,
            pid=self._record.pid,
            hands_over=self._record.hands_over,
        )

    def _answer(self, hand_over: HandOver | None) -> Callable[[int], Awaitable[bool]]:
        async def answer(_: int) -> bool:
            if hand_over is None or self._record is None or not self._record.hands_over:
                return False
            return await hand_over()

        return answer

    def _note_incarnation(self) -> None:
        """Have the record name the engine as it is, which changes with a failed commit."""
        record, incarnation = self._record, self.engine.incarnation
        if record is not None and record.incarnation != incarnation:
            record = evolve(record, incarnation=incarnation)
            with suppress(StorageError):  # the disk may be full still; the next look tries again
                record.write(self._database)
                self._record = record

    async def _watch_files(self, database: FileIdentity | None) -> None:
        # Nothing in the standard library tells of a file that was replaced.
        while identity_of(self._database) == database and self._lock.is_in_place:
            self._note_incarnation()
            await asyncio.sleep(WATCH_SECONDS)
        error = StorageUnusableError(
            f"{self._database} or its lock file was moved, deleted or replaced while it was in "
            "use, so the engine on it has stopped. Stop everything that uses the file, see which "
            "one is the right one, and start again."
        )
        self._watch = None
        await self.close()
        self._lost(error)


def new_token() -> str:
    """A token for one run of an engine."""
    return secrets.token_urlsafe(32)
