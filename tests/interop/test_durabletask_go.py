"""The real durabletask-go sidecar: what it lacks, and versions that travel in names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    App,
    Client,
    OrchestrationContext,
    OrchestrationFailedError,
    UnsupportedByEngineError,
)
from tests.interop.conftest import Engines
from tests.interop.engines import go_sidecar

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

DEADLINE_SECONDS = 30

app = App("sidecar")


@app.activity
def weigh(ctx: Any) -> int:
    return 7


@app.orchestrator(name="order", version="1.0")
def order_v1(ctx: OrchestrationContext) -> Any:
    yield ctx.create_timer(0.1)
    return [ctx.name, ctx.version, "first"]


@app.orchestrator(name="order", version="2.0")
def order_v2(ctx: OrchestrationContext) -> Any:
    yield ctx.create_timer(0.1)
    return [ctx.name, ctx.version, "second"]


@app.orchestrator
def plain(ctx: OrchestrationContext) -> Any:
    return ctx.version
    yield


@app.orchestrator
def tagging(ctx: OrchestrationContext) -> Any:
    yield ctx.call_activity(weigh, tags={"team": "x"})


@app.orchestrator
def parent(ctx: OrchestrationContext) -> Any:
    return (yield ctx.call_sub_orchestrator(order_v2))


@app.orchestrator
def telling(ctx: OrchestrationContext) -> Any:
    ctx.send_event("somebody", "news")
    yield ctx.create_timer(60)


@app.orchestrator
def hurrying(ctx: OrchestrationContext) -> Any:
    ctx.call_activity(weigh)
    ctx.continue_as_new(None)
    return None
    yield


@pytest.fixture(scope="module")
def address(engines: Engines) -> str:
    return engines["durabletask-go"].address


REFUSED: dict[str, Callable[[Client], object]] = {
    "versions of instances": lambda client: client.schedule_new_orchestration(order_v2),
    "tags": lambda client: client.schedule_new_orchestration(plain, tags={"team": "x"}),
    "queries of instances": lambda client: list(client.query_orchestrations()),
    "reading an instance's history": lambda client: client.get_orchestration_history("a"),
}


@pytest.mark.parametrize("feature", REFUSED)
def test_what_the_sidecar_lacks_is_refused_by_its_name(address: str, feature: str) -> None:
    with (
        app.client(task_hub=address) as client,
        pytest.raises(UnsupportedByEngineError) as caught,
    ):
        REFUSED[feature](client)

    assert (caught.value.feature, caught.value.engine) == (feature, "durabletask-go")
    assert caught.value.hint


def test_versions_travel_in_names_where_the_address_says_so(address: str) -> None:
    with app.running(task_hub=f"{address}?versions=in-name") as client:
        first = client.schedule_new_orchestration(order_v1)
        second = client.schedule_new_orchestration("order", version="2.0")
        neither = client.schedule_new_orchestration(plain)
        child = client.run_orchestration(parent, timeout=DEADLINE_SECONDS)
        states = [
            client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)
            for instance in (first, second, neither)
        ]

    assert [state.get_output() for state in states] == [
        ["order", "1.0", "first"],
        ["order", "2.0", "second"],
        "",
    ]
    assert child == ["order", "2.0", "second"]
    assert [(state.name, state.version) for state in states] == [
        ("order", "1.0"),
        ("order", "2.0"),
        ("plain", None),
    ]


@pytest.mark.parametrize(
    ("orchestrator", "feature"),
    [
        (tagging, "tags"),
        (parent, "versions of instances"),
        (telling, "events from one instance to another"),
        (hurrying, "work started in the turn that continues as new"),
    ],
)
def test_an_orchestrator_that_the_sidecar_cannot_serve_fails_with_the_reason(
    address: str, orchestrator: Any, feature: str
) -> None:
    with (
        app.running(task_hub=address) as client,
        pytest.raises(OrchestrationFailedError, match=f"does not support {feature}"),
    ):
        client.run_orchestration(orchestrator, timeout=DEADLINE_SECONDS)


def test_an_instance_that_nobody_runs_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with go_sidecar(tmp_path) as engine, app.running(task_hub=engine.address) as client:
        client.schedule_new_orchestration("nobody runs this")

        assert client.run_orchestration(plain, timeout=DEADLINE_SECONDS) == ""
