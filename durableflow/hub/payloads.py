"""The boundary that every message crosses in each direction: payload codecs run here.

``PayloadHub`` is a task hub in front of another one.  What the worker and the client send has its
payloads encoded, what they receive has them decoded.  Where there are no codecs there is no such
hub.  Messages belong to their receivers (``hub.port``), so they are changed in place: those on
their way out belong to nobody else yet, those on their way in are ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, PayloadTooLargeError
from durableflow.hub.calls import ForwardingHub
from durableflow.hub.lost_payloads import PERMANENT, fail_task, failed_activity, failed_turn
from durableflow.hub.payload_stream import Problem, Restoring
from durableflow.hub.payload_trouble import PayloadTrouble
from durableflow.hub.port import KnowsTakers, TaskHub, WorkItemStream
from durableflow.hub.roots import Roots
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.payload_codec import PayloadCodec
from durableflow.protocol.payload_fields import PAYLOADS, PayloadSlot, payload_slots
from durableflow.protocol.sizes import check_payload, check_turn
from durableflow.protocol.status import Status

Reply = TypeVar("Reply", bound=Message)

_THREADS: Final = 32
_AGAIN_SECONDS: Final = 1.0
_REFERENCE: Final = "blob:v1:payloads:instance/name"  # as all SDKs write them
_OUTWARD: Final = frozenset({"start_instance", "raise_event", "terminate_instance"})
_INWARD: Final = frozenset(
    {
        "get_instance",
        "wait_for_instance_start",
        "wait_for_instance_completion",
        "query_instances",
    }
)


class PayloadHub(ForwardingHub):
    """A task hub whose payloads pass through codecs.

    Args:
        hub: The one that it stands in front of.
        codecs: At least one, in the order outward.
        max_payload_bytes: How large a payload may be once it is encoded.
        max_message_bytes: How large all actions of a turn may be together then.

    Attributes:
        roots: Which instances have no parent.
        unread: What keeps work items from being read.
    """

    def __init__(
        self,
        hub: TaskHub,
        codecs: Sequence[PayloadCodec],
        *,
        max_payload_bytes: int,
        max_message_bytes: int,
    ) -> None:
        self._hub = hub
        self._outward = tuple(codecs)
        self._inward = tuple(reversed(codecs))
        self._max_payload_bytes = max_payload_bytes
        self._max_message_bytes = max_message_bytes
        # What is read does not wait for what is written: turns go on while results are stored.
        self._writers = ThreadPoolExecutor(_THREADS, "durableflow-payloads-out")
        self._readers = ThreadPoolExecutor(_THREADS, "durableflow-payloads-in")
        self._lost: dict[str, Exception] = {}
        self.roots = Roots()
        self.unread = PayloadTrouble(
            "A work item of instance '%s' is given back, since its payloads cannot be read: %s"
        )
        self._unsent = PayloadTrouble(
            "A result of instance '%s' waits, since its payloads cannot be stored: %s"
        )

    @property
    def description(self) -> str:
        """See ``TaskHub``."""
        return self._hub.description

    async def open(self) -> None:
        """See ``TaskHub``."""
        await self._hub.open()

    async def close(self) -> None:
        """See ``TaskHub``."""
        await self._hub.close()
        for threads in (self._writers, self._readers):
            await asyncio.to_thread(threads.shutdown)

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        """See ``KnowsTakers``."""
        if not isinstance(self._hub, KnowsTakers):
            raise CallError(Status.UNIMPLEMENTED, "This task hub cannot say who takes what.")
        return await self._hub.taken(work, timeout=timeout)

    async def forward(
        self,
        method: str,
        request: Message,
        reply: type[Reply],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Reply:
        """Pass a call on, its payloads encoded and those of its reply decoded.

        Raises:
            PayloadTooLargeError: a payload is too large even when it is encoded.
            PayloadUnavailableError: a payload cannot be stored or read at present.
            PayloadLostError: a payload of the reply cannot be read any more.
        """
        if method in _OUTWARD:
            instance_id: str = getattr(request, "instanceId", "")
            await self._encode(request, instance_id)
            for slot in payload_slots(request):
                check_payload(slot.text, self._max_payload_bytes, place=slot.field.what)
        call = getattr(self._hub, method)
        options: dict[str, Any] = {"metadata": metadata} if metadata else {"timeout": timeout}
        answer: Reply = await (call(**options) if method == "hello" else call(request, **options))
        if method in _INWARD:
            _raise_first(await self.decode(payload_slots(answer)))
        return answer

    async def abandon_orchestrator_task(
        self, request: pb.AbandonOrchestrationTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonOrchestrationTaskResponse:
        """See ``TaskHub``."""
        return await self._hub.abandon_orchestrator_task(request, metadata=metadata)

    async def abandon_activity_task(
        self, request: pb.AbandonActivityTaskRequest, *, metadata: Metadata = ()
    ) -> pb.AbandonActivityTaskResponse:
        """See ``TaskHub``."""
        return await self._hub.abandon_activity_task(request, metadata=metadata)

    def complete_orchestrator_task(
        self, request: pb.OrchestratorResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        """See ``TaskHub``.  A turn that cannot be sent fails its instance instead."""
        send = partial(self._hub.complete_orchestrator_task, timeout=timeout)
        if not self._applying(self._slots(request)):
            return send(self._turn_within_limits(request))
        return self._complete(request, self._turn_within_limits, failed_turn, send)

    def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        """See ``TaskHub``.  A result that cannot be sent fails its activity instead."""
        send = partial(self._hub.complete_activity_task, timeout=timeout)
        if not self._applying(payload_slots(request)):
            return send(self._activity_within_limits(request))
        return self._complete(request, self._activity_within_limits, failed_activity, send)

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> WorkItemStream:
        """See ``TaskHub``.  Items whose payloads have to be decoded come as soon as these are."""
        field = PAYLOADS["ActivityRequest.input"]
        if any(codec.decodes(field, _REFERENCE) for codec in self._inward):
            request.capabilities.append(pb.WORKER_CAPABILITY_LARGE_PAYLOADS)
        return Restoring(self._hub.get_work_items(request, metadata=metadata), self._hub, self)

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        """See ``TaskHub``.

        Raises:
            PayloadUnavailableError: a payload cannot be read at present.
            PayloadLostError: a payload cannot be read any more.
        """
        for_work = request.forWorkItemProcessing
        async for chunk in self._hub.stream_instance_history(request, timeout=timeout):
            problems = await self.decode(
                payload_slots(chunk, replayed_only=for_work), request.instanceId
            )
            if for_work:
                self.roots.note_history(request.instanceId, chunk.events)
                problems = [each for each in problems if not fail_task(*each)]
                if problems:
                    await self._give_up(request.instanceId, problems)
            _raise_first(problems)
            yield chunk

    def undecoded(self, slots: Iterable[PayloadSlot]) -> list[PayloadSlot]:
        """Return the payloads that have to be decoded."""
        return [
            slot
            for slot in slots
            if any(codec.decodes(slot.field, slot.text) for codec in self._inward)
        ]

    async def decode(self, slots: Iterable[PayloadSlot], instance_id: str = "") -> list[Problem]:
        """Decode payloads, all at once, and return those that could not be, each with why."""

        def decoded(slot: PayloadSlot) -> str:
            return decode(slot, self._inward, instance_id)

        return await _each(decoded, self.undecoded(slots), self._readers)

    def lost(self, instance_id: str) -> Exception | None:
        """Return, once, why the next work item of an instance has to fail, if it has to."""
        return self._lost.pop(instance_id, None)

    async def _give_up(self, instance_id: str, problems: Sequence[Problem]) -> NoReturn:
        """End the reading of a history for a work item, which comes again."""
        permanent = (each for _, each in problems if isinstance(each, PERMANENT))
        error: Exception | None = next(permanent, None)
        if error is not None:
            self._lost[instance_id] = error
        else:
            error = problems[0][1]
            self.unread.tell(instance_id, error)
        await asyncio.sleep(_AGAIN_SECONDS)
        raise CallError(Status.UNAVAILABLE, str(error)) from error

    async def _encode(self, message: Message, instance_id: str) -> None:
        def encoded(slot: PayloadSlot) -> str:
            text = slot.text
            for codec in self._outward:
                if codec.encodes(slot.field, text):
                    text = codec.encode(slot.field, text, instance_id=instance_id)
            return text

        slots = self._applying(self._slots(message))
        _raise_first(await _each(encoded, slots, self._writers))

    def _slots(self, message: Message) -> Iterable[PayloadSlot]:
        slots = payload_slots(message)
        if isinstance(message, pb.OrchestratorResponse):
            return self.roots.refine(slots, message.instanceId)
        return slots

    def _applying(self, slots: Iterable[PayloadSlot]) -> list[PayloadSlot]:
        return [
            slot
            for slot in slots
            if any(codec.encodes(slot.field, slot.text) for codec in self._outward)
        ]

    async def _complete(
        self,
        request: Any,
        within_limits: Callable[[Any], Any],
        failed: Callable[[Any, Exception], Any],
        send: Callable[[Any], Awaitable[object]],
    ) -> object:
        try:
            await self._encode(request, request.instanceId)
        except PERMANENT as error:
            request = failed(request, error)
        except Exception as error:
            # A codec: whatever went wrong, the result is sent again until it can be stored.
            self._unsent.tell(request.instanceId, error)
            raise CallError(Status.UNAVAILABLE, str(error)) from error
        else:
            self._unsent.end()
        return await send(within_limits(request))

    def _turn_within_limits(self, response: pb.OrchestratorResponse) -> pb.OrchestratorResponse:
        status_place = f"custom status of instance '{response.instanceId}'"
        try:
            check_turn(
                response.instanceId,  # nothing here tells the orchestrator's name
                response.actions,
                payload_bytes=self._max_payload_bytes,
                message_bytes=self._max_message_bytes,
            )
            status = response.customStatus.value
            check_payload(status, self._max_payload_bytes, place=status_place)
        except PayloadTooLargeError as error:
            return failed_turn(response, error)
        return response

    def _activity_within_limits(self, response: pb.ActivityResponse) -> pb.ActivityResponse:
        place = f"result of activity {response.taskId} of instance '{response.instanceId}'"
        try:
            check_payload(response.result.value, self._max_payload_bytes, place=place)
        except PayloadTooLargeError as error:
            return failed_activity(response, error)
        return response


def decode(slot: PayloadSlot, inward: Iterable[PayloadCodec], instance_id: str) -> str:
    """Return what a payload was before it was encoded; the slot keeps what it has.

    Args:
        inward: The codecs in the order inward.

    Raises:
        Exception: whatever a codec raises.
    """
    text = slot.text
    for codec in inward:
        if codec.decodes(slot.field, text):
            text = codec.decode(slot.field, text, instance_id=instance_id)
    return text


async def _each(
    change: Callable[[PayloadSlot], str],
    slots: Sequence[PayloadSlot],
    threads: ThreadPoolExecutor,
) -> list[Problem]:
    """Change payloads on threads, and put them in their places here."""
    if not slots:
        return []
    run = asyncio.get_running_loop().run_in_executor
    tasks = [run(threads, change, slot) for slot in slots]
    problems: list[Problem] = []
    for slot, outcome in zip(
        slots, await asyncio.gather(*tasks, return_exceptions=True), strict=True
    ):
        if isinstance(outcome, str):
            slot.text = outcome
        elif isinstance(outcome, Exception):
            problems.append((slot, outcome))
        else:
            raise outcome
    return problems


def _raise_first(problems: Sequence[Problem]) -> None:
    if problems:
        raise problems[0][1]
