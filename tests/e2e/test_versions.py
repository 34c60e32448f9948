"""Versions as an app meets them: who runs what, what starts as what, and what waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durableflow import (
    App,
    Client,
    NewestCompatibleRouting,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationState,
    OrchestrationStatus,
    WaitTimeoutError,
    WorkerVersionRouting,
    hookimpl,
)
from durableflow.notifications import TurnFinished

pytestmark = pytest.mark.e2e

SECONDS = 30


def until(client: Client, instance_id: str, condition: Callable[[Any], bool]) -> OrchestrationState:
    deadline = time.monotonic() + SECONDS
    while True:
        state = client.get_orchestration_state(instance_id)
        if state is not None and condition(state):
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.02)


def app_with(task_hub: str, *versions: str | None, plugins: Any = (), **settings: Any) -> App:
    """An app whose orchestrators ``order`` say which function they are and what they run as."""
    app = App("versions", task_hub=task_hub, plugins=plugins, **settings)

    def order_of(registered: str | None) -> Callable[..., Any]:
        def order(ctx: OrchestrationContext) -> list[str]:
            return [str(registered), str(ctx.version)]

        return order

    for version in versions:
        app.add_orchestrator(order_of(version), name="order", version=version)
    return app


def test_a_name_stands_for_the_newest_version(task_hub: str):
    with app_with(task_hub, None, "9.0", "10.0").running() as client:
        assert client.run_orchestration("order") == ["10.0", "10.0"]
        assert client.run_orchestration("order", version="") == ["None", ""]
        assert client.run_orchestration("order", version="9.0") == ["9.0", "9.0"]
        assert client.run_orchestration("order", version="3.0") == ["None", "3.0"]


def test_the_default_version_is_for_starts_by_name(task_hub: str):
    with app_with(task_hub, "9.0", "10.0", default_version="9.0").running() as client:
        assert client.run_orchestration("order") == ["9.0", "9.0"]


def test_children_and_activities_get_versions_by_rule(task_hub: str):
    app = app_with(task_hub, None, "1.0", "2.0")

    @app.activity
    def step() -> str:
        return "step"

    @app.activity(name="step", version="1.0")
    def step_1() -> str:
        return "step 1.0"

    @app.orchestrator(version="1.0")
    def parent(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
        return [
            (yield ctx.call_activity("step")),
            (yield ctx.call_activity("step", version="3.0")),
            (yield ctx.call_activity(step)),
            (yield ctx.call_sub_orchestrator("order")),
            (yield ctx.call_sub_orchestrator("order", version="1.0")),
            (yield ctx.call_sub_orchestrator("order", version="")),
        ]

    with app.running() as client:
        assert client.run_orchestration(parent) == [
            "step 1.0",
            "step",
            "step",
            ["2.0", "2.0"],
            ["1.0", "1.0"],
            ["None", ""],
        ]


def test_an_instance_moves_to_a_new_version_where_it_starts_over(task_hub: str):
    app = App("moving", task_hub=task_hub)

    @app.orchestrator(name="moving", version="1.0")
    def moving_1(ctx: OrchestrationContext) -> str:
        ctx.continue_as_new(new_version="2.0")
        return "means nothing"

    @app.orchestrator(name="moving", version="2.0")
    def moving_2(ctx: OrchestrationContext) -> str:
        return f"now {ctx.version}"

    with app.running() as client:
        instance_id = client.schedule_new_orchestration("moving", version="1.0")
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)

    assert (state.get_output(), state.version) == ("now 2.0", "2.0")


def test_what_nobody_runs_waits_and_says_what_for(task_hub: str):
    with app_with(task_hub, "1.0").running() as client:
        instance_id = client.schedule_new_orchestration("order", version="2.0")
        with pytest.raises(WaitTimeoutError, match=r"no worker .* runs order version '2.0'"):
            client.wait_for_orchestration_completion(instance_id, timeout=0.5)

    with app_with(task_hub, "2.0").running() as client:
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        assert state.get_output() == ["2.0", "2.0"]


def test_what_a_worker_turns_down_is_parked_until_another_comes(task_hub: str):
    older = WorkerVersionRouting(version="1.0", match="current_or_older")
    with app_with(task_hub, None, plugins=[older]).running() as client:
        instance_id = client.schedule_new_orchestration("order", version="2.0")
        state = until(client, instance_id, lambda state: state.parked is not None)
        (used,) = [u for u in client.get_versions_in_use() if u.parked]

    assert "this worker runs version '1.0' or older" in state.parked.message
    assert (used.name, used.version, used.parked) == ("order", "2.0", 1)

    newer = WorkerVersionRouting(version="2.0", match="current_or_older")
    with app_with(task_hub, None, plugins=[newer]).running() as client:
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        assert state.get_output() == ["None", "2.0"]


class Deliveries:
    """Counts the turns that a worker was given, whatever it did with them."""

    def __init__(self) -> None:
        self._turns: list[TurnFinished] = []

    @hookimpl
    def turn_finished(self, turn: TurnFinished) -> None:
        self._turns.append(turn)

    def of(self, instance_id: str) -> list[TurnFinished]:
        return [turn for turn in self._turns if turn.instance_id == instance_id]


def test_a_version_that_a_worker_turns_down_comes_back_after_a_growing_delay(task_hub: str):
    deliveries, patient = Deliveries(), Deliveries()
    older = WorkerVersionRouting(version="11.0", match="current_or_older")
    with app_with(task_hub, None, plugins=[older, deliveries]).running() as client:
        instance_id = client.schedule_new_orchestration("order", version="12.0")
        until(client, instance_id, lambda state: state.parked is not None)
        for number in range(50):
            client.raise_orchestration_event(instance_id, f"event {number}")
        until(client, instance_id, lambda _: len(deliveries.of(instance_id)) >= 3)
        client.run_orchestration("order", version="11.0", timeout=SECONDS)
        turns = deliveries.of(instance_id)

    first, second, third, *_ = (turn.time for turn in turns)
    assert {turn.outcome for turn in turns} == {"parked"}
    assert second - first >= timedelta(seconds=1)
    assert third - second >= timedelta(seconds=2)

    newer = WorkerVersionRouting(version="12.0", match="current_or_older")
    with app_with(task_hub, None, plugins=[newer, patient]).running() as client:
        client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)

    assert [turn.outcome for turn in patient.of(instance_id)] == ["completed"]


def test_a_version_that_no_worker_has_is_delivered_to_none_until_one_comes(task_hub: str):
    in_vain, deliveries = Deliveries(), Deliveries()
    with app_with(task_hub, "21.0", plugins=[in_vain]).running() as client:
        instance_id = client.schedule_new_orchestration("order", version="22.0")
        for _ in range(20):
            client.run_orchestration("order", version="21.0", timeout=SECONDS)
        client.raise_orchestration_event(instance_id, "hurry")
        client.run_orchestration("order", version="21.0", timeout=SECONDS)

    with app_with(task_hub, "22.0", plugins=[deliveries]).running() as client:
        client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)

    assert in_vain.of(instance_id) == []
    assert [turn.outcome for turn in deliveries.of(instance_id)] == ["completed"]


def test_what_a_worker_is_to_fail_fails_with_the_reason(task_hub: str):
    routing = WorkerVersionRouting(version="1.0", match="strict", on_mismatch="fail")
    with (
        app_with(task_hub, None, plugins=[routing]).running() as client,
        pytest.raises(OrchestrationFailedError, match=r"this worker runs version '1\.0' only"),
    ):
        client.run_orchestration("order", version="2.0", timeout=SECONDS)


def test_compatible_code_takes_over(task_hub: str):
    with app_with(task_hub, "1.4", "2.0", plugins=[NewestCompatibleRouting()]).running() as client:
        assert client.run_orchestration("order", version="1.2") == ["1.4", "1.2"]
        assert client.run_orchestration("order", version="2.0") == ["2.0", "2.0"]


def test_code_changes_under_a_running_instance_by_a_patch(task_hub: str):
    def deployment(*, is_patched: bool) -> App:
        app = App("patched", task_hub=task_hub)

        @app.activity
        def note(text: str) -> str:
            return text

        @app.orchestrator
        def tour(ctx: OrchestrationContext) -> Orchestration[list[str]]:
            notes = [(yield ctx.call_activity(note, input="first"))]
            if is_patched and ctx.patched("second-note"):
                notes.append((yield ctx.call_activity(note, input="second")))
            yield ctx.wait_for_external_event("go")
            if is_patched:
                notes.append(f"patched: {ctx.patched('second-note')}")
            yield ctx.create_timer(timedelta(milliseconds=10))
            return notes

        return app

    def waits(client: Client, instance_id: str) -> None:
        deadline = time.monotonic() + SECONDS
        while len(client.get_orchestration_history(instance_id)) < 7:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with deployment(is_patched=False).running() as client:
        old = client.schedule_new_orchestration("tour")
        waits(client, old)
    with deployment(is_patched=True).running() as client:
        new = client.schedule_new_orchestration("tour")
        waits(client, new)
    with deployment(is_patched=True).running() as client:
        outputs = []
        for instance_id in (old, new):
            client.raise_orchestration_event(instance_id, "go")
            state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
            assert state.runtime_status is OrchestrationStatus.COMPLETED
            outputs.append(state.get_output())

    assert outputs == [
        ["first", "patched: False"],
        ["first", "second", "patched: True"],
    ]
