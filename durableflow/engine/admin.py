"""What the embedded engine answers beside the Durable Task protocol.

Who it is, which work its workers take, and handing over.

Served on the same port and under the same token as the protocol (``engine.server``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import frozen
from google.protobuf.message import Message

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.service import FIND_TAKERS

SERVICE: Final = "durableflow.EngineAdmin"
DESCRIBE: Final = f"/{SERVICE}/Describe"
HANDOVER: Final = f"/{SERVICE}/Handover"


@frozen
class AdminCall:
    """One call of the admin service: the class of its request, and who answers it."""

    request: type[Message]
    answer: Callable[[Any], Awaitable[Message]]


def admin_calls(
    describe: Callable[[], admin_pb.DescribeReply],
    hand_over: Callable[[int], Awaitable[bool]],
    taken: Callable[[pb.WorkItemFilters], Awaitable[pb.WorkItemFilters]],
) -> Mapping[str, AdminCall]:
    """The admin service, by path.

    Args:
        describe: Says who this engine is.
        hand_over: Gives the file up to the process whose id it gets, and says whether it did.
        taken: Returns the part of some work that a connected worker takes.
    """

    async def answer_describe(_: admin_pb.DescribeRequest) -> Message:
        return describe()

    async def answer_handover(request: admin_pb.HandoverRequest) -> Message:
        return admin_pb.HandoverReply(accepted=await hand_over(request.pid))

    return {
        DESCRIBE: AdminCall(admin_pb.DescribeRequest, answer_describe),
        HANDOVER: AdminCall(admin_pb.HandoverRequest, answer_handover),
        FIND_TAKERS: AdminCall(pb.WorkItemFilters, taken),
    }
