"""Payloads in logs, for those who ask for them: ``log_payload``.

Payloads may hold secrets, so no other line of a log holds any part of one, at no level.  These
lines have a logger and a level of their own, below DEBUG: turning on debugging does not turn them
on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.sizes import payloads_of

LOGGER: Final = "durableflow.payloads"
LEVEL: Final = 5

_MOST_CHARACTERS: Final = 2000

logger = logging.getLogger(LOGGER)


def log_payload(place: str, instance_id: str, text: str | None) -> None:
    """Log a payload, cut if it is long, if somebody has asked for that.

    Args:
        place: What it is, for example ``result of activity 'charge'``.
    """
    if logger.isEnabledFor(LEVEL):
        shown = text if text is None else text[:_MOST_CHARACTERS]
        logger.log(LEVEL, "Instance '%s', %s: %s", instance_id, place, shown)


def log_turn(
    orchestrator: str,
    instance_id: str,
    new_events: Iterable[pb.HistoryEvent],
    actions: Iterable[pb.OrchestratorAction],
) -> None:
    """Log what a turn of an orchestrator received and what it asked for, in the same way."""
    if not logger.isEnabledFor(LEVEL):
        return
    for event in new_events:
        if event.HasField("executionStarted"):
            place = f"input of orchestrator '{orchestrator}'"
            log_payload(place, instance_id, event.executionStarted.input.value)
        elif event.HasField("eventRaised"):
            raised = event.eventRaised
            log_payload(f"data of event '{raised.name}'", instance_id, raised.input.value)
    for action in actions:
        for place, text in payloads_of(orchestrator, action):
            log_payload(place, instance_id, text)
