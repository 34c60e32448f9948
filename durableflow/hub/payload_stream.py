"""Work items whose payloads have to be decoded first: ``Restoring``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Final, Protocol, TypeAlias

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError
from durableflow.hub.lost_payloads import PERMANENT, fail_task, failed_activity, failed_turn
from durableflow.hub.payload_trouble import PayloadTrouble
from durableflow.hub.port import TaskHub, WorkItemStream
from durableflow.hub.roots import Roots
from durableflow.protocol.metadata import ABANDON_KIND, ABANDON_REASON, encode_text
from durableflow.protocol.payload_fields import PayloadSlot, payload_slots

logger = logging.getLogger(__name__)

Problem: TypeAlias = tuple[PayloadSlot, Exception]

PAYLOAD: Final = "payload"
_FIRST_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 20.0  # below the lease of an orchestrator's work item
_REASON_CHARACTERS: Final = 2000


class Decoder(Protocol):
    """What decodes payloads in their places.

    Attributes:
        roots: Told of every work item.
        unread: Told of what keeps work items from being read.
    """

    roots: Roots
    unread: PayloadTrouble

    def undecoded(self, slots: Iterable[PayloadSlot]) -> list[PayloadSlot]:
        """Return the payloads that have to be decoded."""

    async def decode(self, slots: Iterable[PayloadSlot], instance_id: str = "") -> list[Problem]:
        """Decode payloads, and return those that could not be, each with why."""

    def lost(self, instance_id: str) -> Exception | None:
        """Return, once, why the next work item of an instance has to fail, if it has to."""


class Restoring:
    """A stream of work items behind another one, which hands them out with their payloads.

    Items that have nothing to decode pass at once; the others, as soon as they are complete, all
    of them at the same time.  An item whose payloads cannot be read now is given back, after a
    delay that grows while that goes on; if they can never be read, what needs them fails.

    Args:
        inner: The stream of the task hub.
        hub: The task hub itself, to answer items that go no further.
        decoder: Decodes payloads.
    """

    def __init__(self, inner: WorkItemStream, hub: TaskHub, decoder: Decoder) -> None:
        self._inner = inner
        self._hub = hub
        self._decoder = decoder
        self._ready: asyncio.Queue[pb.WorkItem | Exception | None] = asyncio.Queue()
        self._pump: asyncio.Task[None] | None = None
        self._restoring: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._trouble = decoder.unread

    def __aiter__(self) -> Restoring:
        return self

    async def __anext__(self) -> pb.WorkItem:
        if self._pump is None:
            self._pump = asyncio.create_task(self._take())
        item = await self._ready.get()
        if isinstance(item, pb.WorkItem):
            return item
        self._ready.put_nowait(item)  # whoever asks again hears the same
        raise item or StopAsyncIteration

    def cancel(self) -> None:
        """See ``WorkItemStream``.  Items that are not complete yet are given back."""
        self._inner.cancel()
        for task in self._restoring:
            task.cancel()

    async def _take(self) -> None:
        """Take items from the inner stream, until it ends."""
        end: Exception | None = None
        try:
            async for item in self._inner:
                slots = payload_slots(item, replayed_only=True)
                undecoded = self._decoder.undecoded(slots)
                lost = None
                if item.HasField("orchestratorRequest"):
                    self._decoder.roots.note(item.orchestratorRequest)
                    lost = self._decoder.lost(item.orchestratorRequest.instanceId)
                if not undecoded and lost is None:
                    self._ready.put_nowait(item)
                    continue
                task = asyncio.create_task(self._restore(item, undecoded, lost))
                self._restoring.add(task)
                task.add_done_callback(self._restoring.discard)
        except Exception as error:  # noqa: BLE001 - raised where the items are awaited
            end = error
        finally:
            self._ready.put_nowait(end)

    async def _restore(
        self, item: pb.WorkItem, undecoded: list[PayloadSlot], lost: Exception | None
    ) -> None:
        """Hand an item out once it is complete, or answer it."""
        try:
            if lost is not None and await self._fail(item, lost):
                return
            problems = await self._decoder.decode(undecoded, _instance_id(item))
            problems = [problem for problem in problems if not fail_task(*problem)]
            if not problems:
                self._failures = 0
                self._trouble.end()
                self._ready.put_nowait(item)
                return
            (_, error) = next((p for p in problems if isinstance(p[1], PERMANENT)), problems[0])
            if isinstance(error, PERMANENT) and await self._fail(item, error):
                return
            self._failures += 1
            self._trouble.tell(_instance_id(item), error)
            delay = _FIRST_SECONDS * 2.0 ** min(self._failures - 1, 16)
            await asyncio.sleep(min(delay, _MOST_SECONDS))
            await self._give_back(item, f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            await self._give_back(item, "")
            raise

    async def _fail(self, item: pb.WorkItem, error: Exception) -> bool:
        """Answer an item by a failure; return whether the task hub took it."""
        token = item.completionToken
        instance_id = _instance_id(item)
        logger.error("A payload of instance '%s' cannot be read: %s", instance_id, error)
        try:
            if item.HasField("activityRequest"):
                number = item.activityRequest.taskId
                activity = pb.ActivityResponse(
                    instanceId=instance_id, taskId=number, completionToken=token
                )
                await self._hub.complete_activity_task(failed_activity(activity, error))
            else:
                turn = pb.OrchestratorResponse(instanceId=instance_id, completionToken=token)
                await self._hub.complete_orchestrator_task(failed_turn(turn, error))
        except CallError as refusal:
            logger.info("The task hub does not take that: %s", refusal)
            return False
        return True

    async def _give_back(self, item: pb.WorkItem, reason: str) -> None:
        token = item.completionToken
        # An engine without this call brings the item back by itself.
        with contextlib.suppress(CallError):
            if item.HasField("activityRequest"):
                await self._hub.abandon_activity_task(
                    pb.AbandonActivityTaskRequest(completionToken=token)
                )
                return
            said = encode_text(reason[:_REASON_CHARACTERS])
            await self._hub.abandon_orchestrator_task(
                pb.AbandonOrchestrationTaskRequest(completionToken=token),
                metadata=((ABANDON_KIND, PAYLOAD), (ABANDON_REASON, said)) if reason else (),
            )


def _instance_id(item: pb.WorkItem) -> str:
    if item.HasField("activityRequest"):
        return item.activityRequest.orchestrationInstance.instanceId
    return item.orchestratorRequest.instanceId
