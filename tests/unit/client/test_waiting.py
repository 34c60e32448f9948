from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import ClientCore
from durableflow.client.replies import state_of
from durableflow.client.waiting import why_not_yet
from durableflow.protocol.times import to_timestamp
from durableflow.registry import Registry
from durableflow.replay import OrchestrationContext


@pytest.fixture
def why(
    core: ClientCore, state_message: Callable[..., pb.OrchestrationState]
) -> Callable[..., str]:
    def explain(status: str, **fields: Any) -> str:
        return why_not_yet(state_of(state_message(status, **fields), core.converter), core)

    return explain


def order(ctx: OrchestrationContext) -> None: ...


def test_pending_instance_that_nobody_runs(why: Callable[..., str]) -> None:
    assert why("PENDING") == "PENDING: no worker connected to sqlite:////srv/orders.db runs order"


def test_pending_instance_that_this_app_could_run(
    why: Callable[..., str], registry: Registry
) -> None:
    registry.add_orchestrator(order)

    assert why("PENDING").endswith("runs order. This app can: start it with app.run()")


def test_pending_instance_that_the_worker_here_runs(
    why: Callable[..., str], registry: Registry, core: ClientCore
) -> None:
    registry.add_orchestrator(order)
    core.serves_here = lambda: True

    assert "the worker in this process runs order" in why("PENDING")


def test_pending_instance_of_a_version_that_this_app_lacks(
    why: Callable[..., str], registry: Registry, core: ClientCore
) -> None:
    registry.add_orchestrator(order, version="1.0.0")
    core.serves_here = lambda: True

    assert why("PENDING", version="2.0.0").endswith(
        "runs order version '2.0.0'; this app has only '1.0.0'"
    )


def test_pending_instance_with_a_misspelt_name(why: Callable[..., str], registry: Registry) -> None:
    registry.add_orchestrator(order, name="orders")

    assert why("PENDING").endswith("runs order; this app has 'orders'")


def test_pending_instance_that_starts_later(why: Callable[..., str]) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)

    assert "it was to start at 2030-01-01 00:00:00 UTC" in why(
        "PENDING", scheduledStartTimestamp=to_timestamp(moment)
    )


def test_running_instance(why: Callable[..., str]) -> None:
    assert "since 2026-01-02 03:05:00 UTC" in why("RUNNING")


def test_suspended_instance(why: Callable[..., str]) -> None:
    assert "resume_orchestration" in why("SUSPENDED")


def test_parked_instance(why: Callable[..., str]) -> None:
    details = pb.TaskFailureDetails(errorType="nondeterminism", errorMessage="event 7 differs")

    assert why("RUNNING", failureDetails=details) == "RUNNING: parked. event 7 differs"
