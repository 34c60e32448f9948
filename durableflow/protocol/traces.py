"""Where in a trace something belongs: ``TraceContext``, as the W3C writes it, through the protocol.

An orchestration has a span of its own, whose id is derived from the instance and the execution, so
that every worker that makes a turn of it names the same span without asking.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import attrs

from durableflow._proto import task_hub_pb2 as pb

# Source: https://www.w3.org/TR/trace-context/, traceparent.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SPAN_BYTES: Final = 8


@attrs.frozen
class TraceContext:
    """A span in a trace.

    Attributes:
        traceparent: Version, trace id, span id and flags in hexadecimal.
        tracestate: What vendors add; "" for nothing.
    """

    traceparent: str
    tracestate: str = ""

    @classmethod
    def of(cls, message: pb.TraceContext) -> TraceContext | None:
        """Read what came with a message; None if it names no span."""
        if _TRACEPARENT.fullmatch(message.traceParent) is None:
            return None
        return cls(message.traceParent, message.traceState.value)

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits."""
        return self.traceparent.split("-")[2]

    def to_message(self) -> pb.TraceContext:
        """Make the message that says the same."""
        message = pb.TraceContext(traceParent=self.traceparent, spanID=self.span_id)
        if self.tracestate:
            message.traceState.value = self.tracestate
        return message

    def orchestration(self, instance_id: str, execution_id: str) -> TraceContext:
        """Return the span of an orchestration that this one started."""
        version, trace_id, _, flags = self.traceparent.split("-")[:4]
        seed = f"{trace_id}\n{instance_id}\n{execution_id}".encode()
        span_id = blake2b(seed, digest_size=_SPAN_BYTES).hexdigest()
        return attrs.evolve(self, traceparent=f"{version}-{trace_id}-{span_id}-{flags}")


def give_parent(actions: Iterable[pb.OrchestratorAction], parent: TraceContext) -> None:
    """Let what an orchestration asks for belong to a span of its own."""
    message = parent.to_message()
    for action in actions:
        if action.HasField("scheduleTask"):
            action.scheduleTask.parentTraceContext.CopyFrom(message)
        elif action.HasField("createSubOrchestration"):
            action.createSubOrchestration.parentTraceContext.CopyFrom(message)
