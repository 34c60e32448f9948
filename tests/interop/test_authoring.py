"""What orchestrator authors write, on engines that others made and on ours over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import attrs
import pytest

from durableflow import (
    ActivityContext,
    App,
    Client,
    InstanceAlreadyExistsError,
    InstanceNotFoundError,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationIdReusePolicy,
    OrchestrationStatus,
    RetryPolicy,
    TaskFailedError,
    WaitTimeoutError,
    when_all,
    when_any,
)
from tests.interop.conftest import Engines
from tests.interop.engines import Served

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

DEADLINE_SECONDS = 30

app = App("authoring")
attempts = count(1)


@attrs.frozen
class Order:
    product: str
    quantity: int = 1


@app.activity
def price(ctx: ActivityContext, order: Order) -> int:
    return 10 * order.quantity


@app.activity
async def greet(ctx: ActivityContext, name: str) -> str:
    return f"Hello {name}!"


@app.activity
def fail(ctx: ActivityContext, message: str) -> None:
    raise ValueError(message)


@app.activity
def fail_twice(ctx: ActivityContext) -> int:
    attempt = next(attempts)
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


@app.orchestrator
def chain(ctx: OrchestrationContext, names: list[str]) -> Any:
    greetings: list[str] = []
    for name in names:
        greeting = yield ctx.call_activity(greet, input=name)
        greetings.append(greeting)
    return greetings


@app.orchestrator
async def fan_out(ctx: OrchestrationContext, quantities: list[int]) -> int:
    orders = [Order("pen", quantity) for quantity in quantities]
    return sum(await when_all([ctx.call_activity(price, input=order) for order in orders]))


@app.orchestrator
def approval(ctx: OrchestrationContext, seconds: float) -> Any:
    event = ctx.wait_for_external_event("approval", data_type=Order)
    timer = ctx.create_timer(seconds)
    winner = yield when_any([event, timer])
    return "timed out" if winner is timer else event.get_result().product


@app.orchestrator
def collect(ctx: OrchestrationContext, most: int) -> Any:
    found = []
    for _ in range(most):
        found.append((yield ctx.wait_for_external_event("part")))
        ctx.set_custom_status({"parts": len(found)})
    return found


@app.orchestrator
def sleep(ctx: OrchestrationContext) -> Any:
    before = ctx.current_utc_datetime
    yield ctx.create_timer(timedelta(milliseconds=300))
    return (ctx.current_utc_datetime - before) >= timedelta(milliseconds=300)


@app.orchestrator
def catch(ctx: OrchestrationContext, message: str) -> Any:
    try:
        yield ctx.call_activity(fail, input=message)
    except TaskFailedError as error:
        return [error.details.error_type, error.details.message]


@app.orchestrator
def do_not_catch(ctx: OrchestrationContext) -> Any:
    yield ctx.call_activity(fail, input="out of paper")


@app.orchestrator
def persist(ctx: OrchestrationContext) -> Any:
    policy = RetryPolicy(first_retry_interval=0.05, max_number_of_attempts=5)
    return (yield ctx.call_activity(fail_twice, retry_policy=policy))


@app.orchestrator
def echo(ctx: OrchestrationContext, value: Any = "nothing") -> Any:
    return value
    yield


@app.orchestrator
async def family(ctx: OrchestrationContext, sizes: list[int]) -> list[int]:
    children = [ctx.call_sub_orchestrator(fan_out, input=list(range(size))) for size in sizes]
    return await when_all(children)


@app.orchestrator
def forgiving(ctx: OrchestrationContext) -> Any:
    try:
        yield ctx.call_sub_orchestrator(do_not_catch)
    except TaskFailedError as error:
        return error.details.message


@app.orchestrator
def persistent(ctx: OrchestrationContext) -> Any:
    policy = RetryPolicy(first_retry_interval=0.05, max_number_of_attempts=5)
    return (yield ctx.call_sub_orchestrator(unreliable, retry_policy=policy))


@app.orchestrator
def unreliable(ctx: OrchestrationContext) -> Any:
    return (yield ctx.call_activity(fail_twice))


@app.orchestrator
def count_down(ctx: OrchestrationContext, left: int) -> Any:
    step = yield ctx.wait_for_external_event("step")
    yield ctx.call_activity(greet, input=str(step))
    if left == 1:
        return step
    ctx.continue_as_new(left - 1)


@app.orchestrator
def bounded(ctx: OrchestrationContext, most: int) -> Any:
    return (yield ctx.map(greet, [str(n) for n in range(most)], limit=3))


@app.orchestrator
def tell(ctx: OrchestrationContext, target: str) -> Any:
    ctx.send_event(target, "part", data={"from": ctx.name})
    return "told"
    yield


ENGINES = ["ours", "durabletask in memory", "durabletask-go"]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, engines: Engines) -> Served:
    return engines[request.param]


@pytest.fixture(scope="module")
def client(engine: Served) -> Iterator[Client]:
    with app.running(task_hub=engine.address) as client:
        yield client


def test_activities_run_one_after_the_other(client: Client) -> None:
    greetings = client.run_orchestration(
        chain, input=["Tokyo", "Seattle"], timeout=DEADLINE_SECONDS
    )

    assert greetings == ["Hello Tokyo!", "Hello Seattle!"]


def test_activities_run_side_by_side(client: Client) -> None:
    total = client.run_orchestration(fan_out, input=list(range(1, 21)), timeout=DEADLINE_SECONDS)

    assert total == 2100


def test_an_event_comes_before_the_timer(client: Client) -> None:
    instance = client.schedule_new_orchestration(approval, input=60.0)
    client.raise_orchestration_event(instance, "APPROVAL", data=Order("laptop"))

    state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert state.get_output() == "laptop"


def test_the_timer_comes_when_no_event_does(client: Client) -> None:
    assert client.run_orchestration(approval, input=0.2, timeout=DEADLINE_SECONDS) == "timed out"


def test_a_timer_takes_as_long_as_it_says(client: Client) -> None:
    assert client.run_orchestration(sleep, timeout=DEADLINE_SECONDS) is True


def test_events_wait_for_whoever_wants_them_in_order(client: Client) -> None:
    instance = client.schedule_new_orchestration(collect, input=5)
    for part in range(5):
        client.raise_orchestration_event(instance, "part", data=part)

    state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert state.get_output() == [0, 1, 2, 3, 4]
    assert state.serialized_custom_status == '{"parts":5}'


def test_the_failure_of_an_activity_can_be_caught(client: Client) -> None:
    caught = client.run_orchestration(catch, input="no ink", timeout=DEADLINE_SECONDS)

    assert caught == ["builtins.ValueError", "no ink"]


def test_a_failure_without_a_message_is_one(client: Client, engine: Served) -> None:
    engine.needs("failures without a message")

    caught = client.run_orchestration(catch, input="", timeout=DEADLINE_SECONDS)

    assert caught == ["builtins.ValueError", ""]


def test_a_failure_that_nobody_catches_fails_the_instance(client: Client) -> None:
    with pytest.raises(OrchestrationFailedError, match="out of paper"):
        client.run_orchestration(do_not_catch, timeout=DEADLINE_SECONDS)


def test_an_activity_is_tried_again(client: Client) -> None:
    global attempts
    attempts = count(1)

    assert client.run_orchestration(persist, timeout=DEADLINE_SECONDS) == 3


def test_children_run_side_by_side(client: Client) -> None:
    sums = client.run_orchestration(family, input=[1, 2, 3], timeout=DEADLINE_SECONDS)

    assert sums == [0, 10, 30]


def test_the_failure_of_a_child_can_be_caught(client: Client) -> None:
    message = client.run_orchestration(forgiving, timeout=DEADLINE_SECONDS)

    assert "out of paper" in message


def test_a_child_is_tried_again(client: Client, engine: Served) -> None:
    engine.needs("children that are tried again")
    global attempts
    attempts = count(1)

    assert client.run_orchestration(persistent, timeout=DEADLINE_SECONDS) == 3


def test_events_outlive_continue_as_new(client: Client) -> None:
    instance = client.schedule_new_orchestration(count_down, input=10)
    for step in range(10):
        client.raise_orchestration_event(instance, "step", data=step)

    state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert state.get_output() == 9


def test_a_bounded_fan_out_keeps_its_order(client: Client) -> None:
    greetings = client.run_orchestration(bounded, input=10, timeout=DEADLINE_SECONDS)

    assert greetings == [f"Hello {n}!" for n in range(10)]


def test_an_orchestrator_sends_an_event_to_another(client: Client, engine: Served) -> None:
    engine.needs("events between instances")
    target = client.schedule_new_orchestration(collect, input=1)

    client.run_orchestration(tell, input=target, timeout=DEADLINE_SECONDS)

    state = client.wait_for_orchestration_completion(target, timeout=DEADLINE_SECONDS)
    assert state.get_output() == [{"from": "tell"}]


def test_a_suspended_instance_goes_on_when_it_is_resumed(client: Client) -> None:
    instance = client.schedule_new_orchestration(collect, input=1)
    client.wait_for_orchestration_start(instance, timeout=DEADLINE_SECONDS)
    client.suspend_orchestration(instance, reason="lunch")
    until(client, instance, OrchestrationStatus.SUSPENDED)
    client.raise_orchestration_event(instance, "part", data="one")
    client.resume_orchestration(instance)

    state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert state.get_output() == ["one"]


def test_a_terminated_instance_keeps_the_output_it_was_given(client: Client) -> None:
    instance = client.schedule_new_orchestration(collect, input=1)
    client.wait_for_orchestration_start(instance, timeout=DEADLINE_SECONDS)
    client.terminate_orchestration(instance, output={"why": "enough"})

    state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert state.runtime_status is OrchestrationStatus.TERMINATED
    assert state.serialized_output == '{"why":"enough"}'


def test_a_purged_instance_is_gone(client: Client) -> None:
    instance = client.schedule_new_orchestration(echo, input=1)
    client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert client.purge_orchestration(instance).deleted_instance_count == 1
    assert client.get_orchestration_state(instance) is None


def test_a_live_instance_is_not_purged(client: Client) -> None:
    instance = client.schedule_new_orchestration(collect, input=1)
    client.wait_for_orchestration_start(instance, timeout=DEADLINE_SECONDS)

    assert client.purge_orchestration(instance).deleted_instance_count == 0
    client.terminate_orchestration(instance)


def test_an_unknown_id_is_not_found(client: Client) -> None:
    assert client.get_orchestration_state("nobody") is None
    assert client.purge_orchestration("nobody").deleted_instance_count == 0


def test_waiting_for_an_unknown_id_ends(client: Client, engine: Served) -> None:
    with pytest.raises(InstanceNotFoundError):
        client.wait_for_orchestration_completion("nobody", timeout=1)


def test_a_wait_ends_at_its_deadline(client: Client) -> None:
    instance = client.schedule_new_orchestration(collect, input=1)

    with pytest.raises(WaitTimeoutError):
        client.wait_for_orchestration_completion(instance, timeout=0.3)

    client.terminate_orchestration(instance)


def test_an_id_is_used_once(client: Client) -> None:
    instance = client.schedule_new_orchestration(collect, input=1)

    with pytest.raises(InstanceAlreadyExistsError):
        client.schedule_new_orchestration(collect, input=1, instance_id=instance)

    client.terminate_orchestration(instance)


def test_an_id_is_used_again_where_that_is_asked_for(client: Client) -> None:
    instance = client.schedule_new_orchestration(echo, input="first")
    client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)
    policy = OrchestrationIdReusePolicy.REPLACE_TERMINAL

    client.schedule_new_orchestration(
        echo, input="second", instance_id=instance, reuse_id_policy=policy
    )

    state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)
    assert state.serialized_output == '"second"'


def test_an_input_that_is_left_out_takes_its_default(client: Client) -> None:
    assert client.run_orchestration(echo, timeout=DEADLINE_SECONDS) == "nothing"


def test_a_hundred_instances_end(client: Client) -> None:
    instances = [client.schedule_new_orchestration(chain, input=[str(n)]) for n in range(100)]

    outputs = [
        client.wait_for_orchestration_completion(each, timeout=60).get_output()
        for each in instances
    ]

    assert outputs == [[f"Hello {n}!"] for n in range(100)]


def until(client: Client, instance: str, status: OrchestrationStatus) -> None:
    """Look until an instance has a status, up to a deadline."""
    for _ in range(600):
        state = client.get_orchestration_state(instance)
        if state is not None and state.runtime_status is status:
            return
        with pytest.raises(WaitTimeoutError):
            client.wait_for_orchestration_completion(instance, timeout=0.05)
    raise AssertionError(f"{instance} did not become {status}")
