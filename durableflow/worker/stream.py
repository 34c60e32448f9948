"""The stream of work items, kept open for as long as the worker runs: ``WorkItemLoop``.

One object, three states:

    connecting --hello answered--> streaming --the engine ended it, or silence--> waiting
        ^                                                                           |
        +------------------------------ after a jittered wait ----------------------+

It reconnects for ever; only ``stop`` ends it.  All of it runs on the hub loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import SystemRandom
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import (
    CallError,
    OperationalError,
    SetupError,
    StorageTooNewError,
    StorageUnusableError,
)
from durableflow.hub.backoff import Backoff
from durableflow.hub.port import TaskHub, WorkItemStream
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.sizes import is_refused_for_size

logger = logging.getLogger(__name__)

HELLO_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 1.0
_BACKOFF: Final = Backoff(first_seconds=0.2, limit_seconds=15.0)
# A stream that an item broke by its size is well when it has lasted this long.
CALM_SECONDS: Final = 60.0


class WorkItemLoop:
    """Opens the stream of work items, again and again, and hands out what comes.

    Args:
        request: Makes a GetWorkItems request; asked before each connection.
        on_item: Called for each work item; must not block.
        on_opened: Called when a stream is open.
        on_lost: Called when a stream has ended, for whatever reason.
        on_unusable: Called with the reason when the task hub will not be of use to this process
            again; nothing is tried after that.
        silence_seconds: How long a stream may be silent once its engine has sent a ping.  An engine
            that never pings is never suspected: it may just have nothing to do.
        calm_seconds: How long a stream has to last after an item was too large for one, until that
            is over.  It says so and waits longer each time until then, whatever else comes.
    """

    def __init__(  # noqa: PLR0913  # keyword-only; one object owns the whole life of the stream
        self,
        hub: TaskHub,
        *,
        request: Callable[[], pb.GetWorkItemsRequest],
        metadata: Metadata,
        on_item: Callable[[pb.WorkItem], None],
        on_opened: Callable[[], None],
        on_lost: Callable[[], None],
        on_unusable: Callable[[str], None],
        silence_seconds: float = SILENCE_SECONDS,
        calm_seconds: float = CALM_SECONDS,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._hub = hub
        self._request = request
        self._metadata = metadata
        self._on_item = on_item
        self._on_opened = on_opened
        self._on_lost = on_lost
        self._on_unusable = on_unusable
        self._silence_seconds = silence_seconds
        self._calm_seconds = calm_seconds
        self._backoff = backoff
        self._jitter = SystemRandom().random
        self._ready = asyncio.Event()
        self._problem: str | None = f"not connected to {hub.description} yet"
        self._stopped = asyncio.Event()
        self._failures = 0
        self._renewing = False
        self._stream: WorkItemStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._last_heard = 0.0
        self._oversized: str | None = None
        self._calm: asyncio.TimerHandle | None = None

    @property
    def problem(self) -> str | None:
        """Why no stream is open, or not for long; None while one is."""
        return self._problem or self._oversized

    async def wait_ready(self) -> None:
        """Return as soon as a stream is open."""
        await self._ready.wait()

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._run(), name="durableflow-work-items")

    def renew(self) -> None:
        """End the stream, and open another one by the request that is made then."""
        if self._stream is not None:
            self._renewing = True
            self._stream.cancel()

    async def stop(self) -> None:
        """End the stream and do not come back."""
        self._stopped.set()
        task = self._task
        if task is None:
            return
        if self._stream is None:
            task.cancel()
        else:
            self._stream.cancel()
        await asyncio.wait([task], timeout=_STOP_SECONDS)
        task.cancel()
        await asyncio.wait([task], timeout=_STOP_SECONDS)
        if not task.done():
            logger.warning("Left behind, since it does not end: %s", task)

    async def _run(self) -> None:
        while not self._stopped.is_set():
            reason = await self._connect_and_serve()
            if self._renewing:
                self._renewing = False
                continue
            self._problem = f"no work items from {self._hub.description}: {reason}"
            if self._stopped.is_set():
                return
            self._failures += 1
            delay = self._backoff.delay_seconds(self._failures, self._jitter())
            logger.warning(
                "No work items from %s: %s. Trying again in %.1f s.",
                self._hub.description,
                reason.removesuffix("."),
                delay,
            )
            await asyncio.sleep(delay)

    async def _connect_and_serve(self) -> str:
        """Serve one stream to its end, and say why it ended."""
        try:
            await self._hub.hello(timeout=HELLO_SECONDS)
            await self._serve()
        except (StorageUnusableError, StorageTooNewError, SetupError) as error:
            self._stopped.set()
            self._on_unusable(str(error))
            return str(error)
        except CallError as error:
            if is_refused_for_size(error):
                self._oversized = _oversized(self._hub.description, error)
                return self._oversized
            return f"{error.status.name} {error}"
        except (OperationalError, OSError) as error:
            return str(error) or type(error).__name__
        except Exception:
            # The worker loop: whatever a task hub's implementation raises, work must go on once
            # it is well again.
            logger.exception("The stream of work items from %s broke", self._hub.description)
            return "an unexpected error"
        return "the stream ended"

    async def _serve(self) -> None:
        stream = self._hub.get_work_items(self._request(), metadata=self._metadata)
        self._stream = stream
        self._problem = None
        if self._oversized is not None:
            loop = asyncio.get_running_loop()
            self._calm = loop.call_later(self._calm_seconds, self._calm_down)
        self._ready.set()
        self._on_opened()
        try:
            async for item in stream:
                self._receive(item)
        finally:
            self._stream = None
            self._ready.clear()
            self._disarm()
            if self._calm is not None:
                self._calm.cancel()
            stream.cancel()
            self._on_lost()

    def _receive(self, item: pb.WorkItem) -> None:
        if self._failures and self._oversized is None:
            self._recovered()
        if self._silence is not None:
            self._last_heard = asyncio.get_running_loop().time()
        elif item.HasField("healthPing"):
            self._arm()
        try:
            self._on_item(item)
        except Exception:
            # The worker loop: one item that cannot be taken on must not cost the stream.
            logger.exception("A work item could not be taken on")

    def _recovered(self) -> None:
        logger.info("Work items come from %s again.", self._hub.description)
        self._failures = 0

    def _calm_down(self) -> None:
        self._oversized = None
        self._recovered()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._last_heard = loop.time()
        self._silence = loop.call_later(self._silence_seconds, self._check_silence)

    def _disarm(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _check_silence(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._last_heard + self._silence_seconds
        if loop.time() < due:
            self._silence = loop.call_at(due, self._check_silence)
        elif self._stream is not None:
            logger.warning(
                "%s has sent nothing, not even a ping, for %.0f s.",
                self._hub.description,
                self._silence_seconds,
            )
            self._stream.cancel()


def _oversized(place: str, error: CallError) -> str:
    # An engine of ours does not send what is too large.  Others do, and nothing says of which
    # instance it is, since the message was not read.
    return (
        f"a work item from {place} is larger than this worker accepts, which ends the stream and "
        f"all that is on it ({str(error).removesuffix('.')}). It will come again. Raise "
        "max_message_bytes and start the worker again"
    )
