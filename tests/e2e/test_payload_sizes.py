"""Payloads that are too large: refused where they are made, or where an engine refuses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
    PayloadTooLargeError,
    TaskFailedError,
    when_all,
)
from durableflow.engine.engine import Engine
from durableflow.engine.server import HubServer
from durableflow.hub.loop import HubLoop
from tests.e2e.watching import until

SECONDS = 20
KILOBYTE = 1024


def make_app(**settings: Any) -> App:
    app = App("sizes", **settings)
    app.add_activity(fill)
    app.add_activity(swallow)
    app.add_orchestrator(order)
    app.add_orchestrator(echo)
    return app


def fill(size: int) -> str:
    return "x" * size


def swallow(text: str) -> None: ...


def order(ctx: OrchestrationContext, step: tuple[str, int]) -> Orchestration[Any]:
    name, size = step
    match name:
        case "result of an activity":
            return len((yield ctx.call_activity(fill, input=size)))
        case "input of an activity":
            yield ctx.call_activity(swallow, input="x" * size)
        case "status":
            ctx.set_custom_status("x" * size)
            yield ctx.create_timer(0)
        case "result":
            return "x" * size
    return "done"


def echo(ctx: OrchestrationContext, text: str) -> int:
    return len(text)


def ask(ctx: OrchestrationContext, size: int) -> Orchestration[str]:
    yield ctx.call_activity("swallow", input="x" * size)
    return "done"


STEPS = ["result of an activity", "input of an activity", "status", "result"]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with make_app(task_hub="sqlite://", max_payload_bytes=64 * KILOBYTE).running() as client:
        yield client


@pytest.mark.parametrize("step", STEPS)
def test_what_is_too_large_fails_that_instance_and_names_the_place(client: Client, step: str):
    with pytest.raises(OrchestrationFailedError) as caught:
        client.run_orchestration(order, input=(step, 70 * KILOBYTE), timeout=SECONDS)

    details = caught.value.details
    assert details is not None
    assert details.is_caused_by(PayloadTooLargeError)
    assert "is too large: 71,682 bytes, of which 65,536 are allowed" in details.message
    assert client.run_orchestration(order, input=(step, 60 * KILOBYTE), timeout=SECONDS)


def test_a_client_is_told_before_anything_is_sent(client: Client):
    with pytest.raises(PayloadTooLargeError, match="The input of orchestrator 'order'"):
        client.schedule_new_orchestration(
            order, input=("x" * 70 * KILOBYTE, 0), instance_id="unsent"
        )

    assert client.get_orchestration_state("unsent") is None


@pytest.fixture(scope="module")
def tight_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine over gRPC that takes much less than the app would send."""
    with served_engine(tmp_path_factory.mktemp("hub"), 128 * KILOBYTE) as address:
        yield address


@pytest.fixture
def roomy_engine(tmp_path: Path) -> Iterator[str]:
    with served_engine(tmp_path, 64 * KILOBYTE * KILOBYTE) as address:
        yield address


@contextmanager
def served_engine(folder: Path, max_message_bytes: int) -> Iterator[str]:
    with ExitStack() as undo:
        loop = HubLoop.acquire()
        undo.callback(loop.release)
        engine = Engine(folder / "hub.db")
        loop.run(engine.open(), SECONDS)
        undo.callback(lambda: loop.run(engine.close(), SECONDS))
        server = HubServer(engine, max_message_bytes=max_message_bytes)
        port = loop.run(server.start(), SECONDS)
        undo.callback(lambda: loop.run(server.stop(0), SECONDS))
        yield f"grpc://127.0.0.1:{port}"


@pytest.mark.e2e
@pytest.mark.parametrize("step", STEPS)
def test_what_an_engine_does_not_take_is_not_sent_for_ever(tight_engine: str, step: str):
    with make_app(task_hub=tight_engine).running() as client:
        instance_id = client.schedule_new_orchestration(order, input=(step, 200 * KILOBYTE))
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)

    assert state.runtime_status is OrchestrationStatus.FAILED
    assert state.failure_details is not None
    assert state.failure_details.is_caused_by(PayloadTooLargeError)
    assert "larger than max" in state.failure_details.message


def test_the_scheduler_takes_less_unless_it_is_told_otherwise():
    address = "Endpoint=http://localhost:1;Authentication=None;TaskHub=default"

    with make_app(task_hub=address).client() as client, pytest.raises(PayloadTooLargeError):
        client.schedule_new_orchestration(order, input=("x" * 2_000_000, 0))


@pytest.mark.e2e
def test_large_results_that_come_together_take_several_turns(roomy_engine: str):
    def gather(ctx: OrchestrationContext) -> Orchestration[int]:
        texts = yield when_all([ctx.call_activity(fill, input=400 * KILOBYTE) for _ in range(30)])
        return sum(map(len, texts))

    app = make_app(task_hub=roomy_engine, max_message_bytes=4 * KILOBYTE * KILOBYTE)
    app.add_orchestrator(gather)
    with app.running() as client:
        result = client.run_orchestration(gather, timeout=SECONDS)

    assert result == 30 * 400 * KILOBYTE


@pytest.mark.e2e
def test_what_an_engine_does_not_take_fails_alone(tight_engine: str):
    def mixed(ctx: OrchestrationContext) -> Orchestration[list[int]]:
        sizes = [10] * 30 + [200 * KILOBYTE] + [10] * 30
        tasks = [ctx.call_activity(fill, input=size) for size in sizes]
        failed = []
        for number, task in enumerate(tasks):
            try:
                yield task
            except TaskFailedError:
                failed.append(number)
        return failed

    app = make_app(task_hub=tight_engine)
    app.add_orchestrator(mixed)
    with app.running() as client:
        assert client.run_orchestration(mixed, timeout=SECONDS) == [30]


@pytest.mark.e2e
def test_a_turn_that_is_too_large_for_its_worker_waits_for_one_that_takes_it(roomy_engine: str):
    sizes = {"max_message_bytes": 64 * KILOBYTE}
    text = "x" * 100 * KILOBYTE
    with make_app(task_hub=roomy_engine).client() as client:
        instance_id = client.schedule_new_orchestration(echo, input=text, instance_id="large")
        with make_app(task_hub=roomy_engine, **sizes).running() as running:
            parked = until(client, instance_id, lambda state: state.parked is not None).parked
            other = running.run_orchestration(order, input=("result", 10), timeout=SECONDS)
        with make_app(task_hub=roomy_engine).running():
            state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)

    assert parked is not None
    for words in ("instance 'large'", "accepts 65,536", "Raise max_message_bytes"):
        assert words in parked.message
    assert other == "x" * 10
    assert state.get_output() == len(text)


@pytest.mark.e2e
def test_an_activity_that_is_too_large_for_its_worker_fails_alone(roomy_engine: str):
    asking = App("asking", task_hub=roomy_engine)
    asking.add_orchestrator(ask)
    asked = App("asked", task_hub=roomy_engine, max_message_bytes=64 * KILOBYTE)
    asked.add_activity(swallow)
    with asked.running(), asking.running() as client:
        instance_id = client.schedule_new_orchestration(ask, input=100 * KILOBYTE)
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        small = client.run_orchestration(ask, input=10, timeout=SECONDS)

    assert state.failure_details is not None
    assert state.failure_details.is_caused_by(PayloadTooLargeError)
    assert "call of activity 'swallow'" in state.failure_details.message
    assert "Raise max_message_bytes" in state.failure_details.message
    assert small == "done"
