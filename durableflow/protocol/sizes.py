"""How large payloads may be, measured before they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, PayloadTooLargeError
from durableflow.protocol.status import Status

DEFAULT_MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024
_ADVICE: Final = (
    "Keep what is large elsewhere, and send where it is; or raise max_payload_bytes for all "
    "workers and clients, as far as the engine allows."
)
_MOST_BYTES_PER_CHARACTER: Final = 4


def check_payload(text: str | None, limit_bytes: int, *, place: str) -> None:
    """Do nothing, unless a payload is too large.

    Args:
        place: What it is, for example ``result of activity 'charge'``.

    Raises:
        PayloadTooLargeError: it is; names the place and the size.
    """
    if text is None or len(text) * _MOST_BYTES_PER_CHARACTER <= limit_bytes:
        return
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit_bytes:
        raise PayloadTooLargeError(
            f"The {place} is too large: {size:,} bytes, of which {limit_bytes:,} are allowed. "
            f"{_ADVICE}",
            place=place,
            size_bytes=size,
            limit_bytes=limit_bytes,
        )


def check_turn(
    orchestrator: str,
    actions: Iterable[pb.OrchestratorAction],
    *,
    payload_bytes: int,
    message_bytes: int,
) -> None:
    """Do nothing, unless a turn asks for more than can be sent.

    Args:
        orchestrator: Its name.
        payload_bytes: How large each payload may be.
        message_bytes: How large all actions may be together.

    Raises:
        PayloadTooLargeError: names the payload, or the largest one of too many.
    """
    total = count = 0
    for action in actions:
        size = action.ByteSize()
        total += size
        count += 1
        if size > payload_bytes:
            for place, text in payloads_of(orchestrator, action):
                check_payload(text, payload_bytes, place=place)
    if total > message_bytes:
        raise PayloadTooLargeError(
            f"One turn asks for {count:,} actions of {total:,} bytes together, of which "
            f"{message_bytes:,} are allowed (max_message_bytes). Ask for fewer at a time, for "
            "example by ctx.map(…, limit=…), or keep what is large elsewhere.",
            place=f"turn of orchestrator '{orchestrator}'",
            size_bytes=total,
            limit_bytes=message_bytes,
        )


def is_refused_for_size(error: CallError) -> bool:
    """Whether gRPC refused a message for its size; all of its implementations say so alike."""
    return error.status is Status.RESOURCE_EXHAUSTED and "larger than max" in str(error)


def refused_for_size(place: str, size_bytes: int, error: CallError) -> PayloadTooLargeError:
    """Make the error for what an engine did not take for its size.

    Args:
        place: What it is.
        size_bytes: How large it is.
        error: What the engine said.
    """
    return PayloadTooLargeError(
        f"The {place} is too large for the engine: {size_bytes:,} bytes "
        f"({str(error).removesuffix('.')}). {_ADVICE}",
        place=place,
        size_bytes=size_bytes,
        limit_bytes=None,
    )


def largest_payload(orchestrator: str, actions: Iterable[pb.OrchestratorAction]) -> tuple[str, int]:
    """Return what the largest payload of a turn is, and its size in bytes."""
    sizes = [
        (place, len(text.encode()))
        for action in actions
        for place, text in payloads_of(orchestrator, action)
    ]
    return max(sizes, key=itemgetter(1), default=(f"turn of orchestrator '{orchestrator}'", 0))


def payloads_of(orchestrator: str, action: pb.OrchestratorAction) -> Iterator[tuple[str, str]]:
    """Return the payloads that an action carries, each with what it is."""
    match action.WhichOneof("orchestratorActionType"):
        case "scheduleTask":
            task = action.scheduleTask
            yield f"input of activity '{task.name}'", task.input.value
        case "createSubOrchestration":
            child = action.createSubOrchestration
            yield f"input of sub-orchestration '{child.name}'", child.input.value
        case "sendEvent":
            event = action.sendEvent
            yield f"data of event '{event.name}'", event.data.value
        case "completeOrchestration":
            complete = action.completeOrchestration
            continues = complete.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
            what = "new input" if continues else "result"
            yield f"{what} of orchestrator '{orchestrator}'", complete.result.value
