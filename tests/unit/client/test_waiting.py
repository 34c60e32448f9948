from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import ClientCore
from durableflow.client.outstanding import Outstanding
from durableflow.client.replies import state_of
from durableflow.client.takers import Takers
from durableflow.client.waiting import why_not_yet
from durableflow.protocol.times import to_timestamp
from durableflow.registry import Registry
from durableflow.replay import OrchestrationContext

HUB = "sqlite:////srv/orders.db"
NOBODY = Takers(frozenset(), frozenset())
ORDERS = Takers(frozenset({("order", "")}), frozenset())


@pytest.fixture
def why(
    core: ClientCore, state_message: Callable[..., pb.OrchestrationState]
) -> Callable[..., str]:
    def explain(
        status: str,
        waits_for: Outstanding | None = None,
        takers: Takers = NOBODY,
        **fields: Any,
    ) -> str:
        state = state_of(state_message(status, **fields), core.converter)
        return why_not_yet(state, core, waits_for, takers)

    return explain


def order(ctx: OrchestrationContext) -> None: ...
def charge(amount: int) -> None: ...


# PENDING


def test_pending_instance_that_nobody_runs(why: Callable[..., str]) -> None:
    assert why("PENDING") == f"PENDING: no worker connected to {HUB} runs order"


def test_pending_instance_that_nobody_runs_as_far_as_is_known(why: Callable[..., str]) -> None:
    text = why("PENDING", takers=Takers())

    assert text == f"PENDING: no worker connected to {HUB} seems to run order"


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


def test_pending_instance_that_a_worker_elsewhere_runs(
    why: Callable[..., str], registry: Registry
) -> None:
    registry.add_orchestrator(order)

    assert why("PENDING", takers=ORDERS) == (
        f"PENDING: a worker connected to {HUB} runs order but has not come to it"
    )


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


# RUNNING


def test_running_instance_without_a_history(why: Callable[..., str]) -> None:
    text = why("RUNNING", takers=ORDERS)

    assert "since 2026-01-02 03:05:00 UTC" in text
    assert "get_orchestration_history" in text


def test_running_instance_whose_workers_have_gone(why: Callable[..., str]) -> None:
    waits_for = Outstanding(activities=(("charge", ""),))

    assert why("RUNNING", waits_for) == f"RUNNING: no worker connected to {HUB} runs order"


def test_running_instance_that_waits_for_an_activity_that_nobody_runs(
    why: Callable[..., str], registry: Registry
) -> None:
    registry.add_activity(charge)
    takers = Takers(frozenset({("order", "")}), frozenset({("charge", "")}))
    waits_for = Outstanding(activities=(("charge", ""), ("chrage", "")))

    assert why("RUNNING", waits_for, takers).endswith(
        f"waited for activity 'chrage', which no worker connected to {HUB} runs "
        "(did you mean 'charge'?); activity 'charge'"
    )


def test_running_instance_that_waits_for_an_activity_that_this_app_could_run(
    why: Callable[..., str], registry: Registry
) -> None:
    registry.add_activity(charge)
    waits_for = Outstanding(activities=(("charge", ""),))

    assert why("RUNNING", waits_for, ORDERS).endswith(
        f"'charge', which no worker connected to {HUB} runs (this app can: start it with app.run())"
    )


def test_running_instance_that_waits_for_an_activity_elsewhere_as_far_as_is_known(
    why: Callable[..., str], registry: Registry
) -> None:
    registry.add_activity(charge)
    waits_for = Outstanding(activities=(("charge", ""), ("charge", "2"), ("bill", "1")))

    assert why("RUNNING", waits_for, Takers()).endswith(
        "activity 'bill' version '1', which this app does not run; "
        "activity 'charge'; activity 'charge' version '2'"
    )


def test_running_instance_that_waits_for_a_version_that_nobody_runs(
    why: Callable[..., str], registry: Registry
) -> None:
    registry.add_activity(charge, version="1")
    waits_for = Outstanding(activities=(("charge", "2"),))

    assert why("RUNNING", waits_for, ORDERS).endswith(
        f"'charge' version '2', which no worker connected to {HUB} runs"
    )


def test_a_few_names_stand_for_many(why: Callable[..., str]) -> None:
    many = [(f"step-{number}", f"a:{number}") for number in range(7)]

    text = why("RUNNING", Outstanding(tuple(many), tuple(many)), ORDERS)

    assert "; 4 activities more; sub-orchestration 'step-0', instance 'a:0'; " in text
    assert text.endswith("; 4 sub-orchestrations more")


def test_running_instance_that_waits_for_a_timer(why: Callable[..., str]) -> None:
    waits_for = Outstanding(next_timer=datetime(2026, 1, 5, tzinfo=UTC))

    text = why("RUNNING", waits_for, ORDERS)

    assert text.endswith("a timer that fires at 2026-01-05 00:00:00 UTC")


def test_running_instance_that_waits_for_nothing_of_its_own(why: Callable[..., str]) -> None:
    assert why("RUNNING", Outstanding(), ORDERS).endswith("an event that somebody raises")


# Held back


def test_suspended_instance(why: Callable[..., str]) -> None:
    assert "resume_orchestration" in why("SUSPENDED")


def test_parked_instance(why: Callable[..., str]) -> None:
    details = pb.TaskFailureDetails(errorType="nondeterminism", errorMessage="event 7 differs")

    assert why("RUNNING", failureDetails=details) == "RUNNING: parked. event 7 differs"
