"""Noticing instances that continue as new without end: ``Restarts``.

It runs on the orchestrator thread.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import Turn

logger = logging.getLogger(__name__)

MANY_RESTARTS: Final = 100
_MOST_KNOWN: Final = 1000


class Restarts:
    """Counts how often instances have continued as new in a row without waiting for anything.

    It says so once of each, for as long as it remembers them.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def note(self, name: str, request: pb.OrchestratorRequest, turn: Turn, *, first: bool) -> None:
        """Take note of a turn.

        Args:
            name: The orchestrator's.
            first: It began its execution.
        """
        if not (first or self._counts):
            return
        instance_id = request.instanceId
        if not (first and _restarts_at_once(request, turn)):
            if self._counts.get(instance_id, 0) < MANY_RESTARTS or _has_ended(turn):
                self._counts.pop(instance_id, None)
            return
        count = self._counts.pop(instance_id, 0) + 1
        self._counts[instance_id] = count
        if len(self._counts) > _MOST_KNOWN:
            self._counts.popitem(last=False)
        if count == MANY_RESTARTS:
            logger.warning(
                "Orchestrator '%s', instance '%s', has continued as new %d times in a row without "
                "waiting for anything, and keeps this worker and its task hub busy. Wait for a "
                "timer, an event or an activity before ctx.continue_as_new, or return without it "
                "to end. (terminate_orchestration ends the instance from outside.)",
                name,
                instance_id,
                count,
            )


def _restarts_at_once(request: pb.OrchestratorRequest, turn: Turn) -> bool:
    """Whether an execution took nothing of what came, which would come to an end some time."""
    if not turn.finished:
        return False
    end = turn.actions[-1].completeOrchestration
    raised = sum(1 for event in request.newEvents if event.HasField("eventRaised"))
    return _continues(end) and len(end.carryoverEvents) == raised


def _has_ended(turn: Turn) -> bool:
    return turn.finished and not _continues(turn.actions[-1].completeOrchestration)


def _continues(end: pb.CompleteOrchestrationAction) -> bool:
    return end.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
