"""Looking at an instance until it is as a test wants it, up to a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from durableflow import Client, OrchestrationState, OrchestrationStatus

SECONDS = 20


def output(client: Client, instance_id: str) -> Any:
    """Wait for an instance to end, and return its output."""
    return client.wait_for_orchestration_completion(instance_id, timeout=SECONDS).get_output()


def until(
    client: Client, instance_id: str, wanted: Callable[[OrchestrationState[Any]], object]
) -> OrchestrationState[Any]:
    """Return the first state seen that is as wanted."""
    deadline = time.monotonic() + SECONDS
    state = None
    while time.monotonic() < deadline:
        state = client.get_orchestration_state(instance_id)
        if state is not None and wanted(state):
            return state
        time.sleep(0.005)
    raise AssertionError(f"the instance stayed as it is: {state}")


def until_status(
    client: Client, instance_id: str, status: OrchestrationStatus
) -> OrchestrationState[Any]:
    return until(client, instance_id, lambda state: state.runtime_status is status)
