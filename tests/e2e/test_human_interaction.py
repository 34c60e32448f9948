"""The human interaction example on a virtual clock: a day passes at a word of the test."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from durableflow import App, Client, OrchestrationStatus, hookimpl
from durableflow.engine.engine import Engine
from durableflow.hub.port import TaskHubFactory
from tests.e2e.watching import SECONDS, output, until
from tests.engine.driver import DAY, SECOND, ManualClock

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[2] / "examples" / "human_interaction.py"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example: Any = loaded()
order = example.purchase_order_workflow


class SharedEngine(Engine):
    """An engine in memory that a worker and a client open, each for itself."""

    opened = 0

    async def open(self) -> None:
        self.opened += 1
        if self.opened == 1:
            await super().open()

    async def close(self) -> None:
        self.opened -= 1
        if self.opened == 0:
            await super().close()


class OnAClock:
    """Brings a task hub whose time is a test's."""

    def __init__(self, clock: ManualClock) -> None:
        self.engine = SharedEngine(None, clock=clock)

    @hookimpl
    def register_task_hubs(self) -> Mapping[str, TaskHubFactory]:
        return {"virtual": lambda address, options: self.engine}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def client(clock: ManualClock) -> Iterator[Client]:
    app = App("on_a_clock", plugins=[OnAClock(clock)], task_hub="virtual://")
    app.add_activity(example.send_approval_request)
    app.add_activity(example.place_order)
    app.add_orchestrator(order)
    with app.running() as client:
        yield client


def waiting(client: Client) -> str:
    """Place an order, and return when it waits for an approval."""
    instance = client.schedule_new_orchestration(order, input=example.Order(2000, "laptop", 1))

    def waits(_: object) -> bool:
        history = client.get_orchestration_history(instance)
        return any(event.kind == "timer_created" for event in history)

    until(client, instance, waits)
    return instance


def settle(client: Client) -> None:
    """Send an order all the way through, so that whatever was due before has happened."""
    pen = example.Order(10, "pen", 1)
    assert client.run_orchestration(order, input=pen, timeout=SECONDS) == "Auto-approved"


def test_an_order_is_canceled_when_a_day_has_passed_and_not_a_second_earlier(
    client: Client, clock: ManualClock
) -> None:
    instance = waiting(client)

    clock.advance(DAY - SECOND)
    settle(client)
    before = client.get_orchestration_state(instance)
    clock.advance(SECOND)
    after = client.wait_for_orchestration_completion(instance, timeout=SECONDS)

    assert before is not None
    assert before.runtime_status is OrchestrationStatus.RUNNING
    assert after.get_output() == "Canceled"
    assert after.completed_at is not None
    assert after.completed_at - after.created_at == timedelta(hours=24)


def test_an_order_can_be_approved_in_the_last_second_of_the_day(
    client: Client, clock: ManualClock
) -> None:
    instance = waiting(client)

    clock.advance(DAY - SECOND)
    client.raise_orchestration_event(instance, "approval_received", data=example.Approval("Ann"))
    approved = output(client, instance)
    clock.advance(DAY)
    settle(client)

    assert approved == "Order laptop-1 approved by 'Ann'"
    state = client.get_orchestration_state(instance)
    assert state is not None
    assert state.get_output() == approved
