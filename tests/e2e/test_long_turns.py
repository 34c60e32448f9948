"""Orchestrators that do not come to an end: what others and operators see of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from durableflow import (
    App,
    FailureDetails,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
)

SECONDS = 20


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def ping(text: str) -> str:
    return text


def order(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(ping, input="done"))


def make_app(*orchestrators: Any, **settings: Any) -> App:
    app = App("turns", task_hub="sqlite://", drain_timeout_seconds=0, **settings)
    app.add_activity(ping)
    for function in (order, *orchestrators):
        app.add_orchestrator(function)
    return app


def test_a_turn_that_hangs_shows_in_the_state_and_others_go_on(released: threading.Event):
    def hang(ctx: OrchestrationContext) -> Orchestration[None]:
        released.wait(SECONDS)
        yield ctx.create_timer(3600)

    with make_app(hang, turn_timeout_seconds=0.2).running() as client:
        instance_id = client.schedule_new_orchestration(hang)
        parked = wait_until_parked(client, instance_id)

        assert parked.error_type.endswith("long-turn")
        assert "has lost 1, 1 of them to this instance" in parked.message
        assert "released.wait(SECONDS)" in parked.message
        assert client.run_orchestration(order, timeout=SECONDS) == "done"

        client.terminate_orchestration(instance_id)
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        assert state.runtime_status is OrchestrationStatus.TERMINATED


def wait_until_parked(client: Any, instance_id: str) -> FailureDetails:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        state = client.get_orchestration_state(instance_id)
        if state.parked is not None:
            return state.parked
    raise AssertionError("was not parked")


def test_a_turn_that_yields_for_ever_fails_its_instance():
    def loop(ctx: OrchestrationContext) -> Orchestration[None]:
        done = ctx.call_activity(ping, input="done")
        yield done
        while True:
            yield done

    with make_app(loop).running() as client:
        with pytest.raises(
            OrchestrationFailedError, match="yields in a loop: 10000 times in one turn"
        ):
            client.run_orchestration(loop, timeout=SECONDS)

        assert client.run_orchestration(order, timeout=SECONDS) == "done"
