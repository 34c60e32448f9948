"""Which instances nobody waits for as a parent: ``Roots``, learnt from the histories that come by."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import attrs

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.payload_fields import PAYLOADS, PayloadSlot

_MOST: Final = 20_000
_RESULT: Final = PAYLOADS["CompleteOrchestrationAction.result"]
_OWN_RESULT: Final = attrs.evolve(_RESULT, crosses=False)


class Roots:
    """Remembers instances that have no parent.  Of what it has forgotten it says nothing."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()

    def note(self, request: pb.OrchestratorRequest) -> None:
        """Look at a work item; what has a session comes without its beginning, and is known."""
        self.note_history(request.instanceId, chain(request.pastEvents, request.newEvents))

    def note_history(self, instance_id: str, events: Iterable[pb.HistoryEvent]) -> None:
        """Look at events of an instance, which may be without the first ones."""
        started = next((e.executionStarted for e in events if e.HasField("executionStarted")), None)
        if started is None:
            return
        self._known.pop(instance_id, None)
        if not started.HasField("parentInstance"):
            self._known[instance_id] = None
            if len(self._known) > _MOST:
                self._known.popitem(last=False)

    def refine(self, slots: Iterable[PayloadSlot], instance_id: str) -> Iterator[PayloadSlot]:
        """Let the result of an instance that has no parent belong to it alone: nobody else gets it.

        What it continues with as a new execution is no result.
        """
        for slot in slots:
            if slot.field is _RESULT and instance_id in self._known:
                message = slot.message
                if (
                    isinstance(message, pb.CompleteOrchestrationAction)
                    and message.orchestrationStatus != pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
                ):
                    slot.field = _OWN_RESULT
            yield slot
