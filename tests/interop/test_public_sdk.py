"""The public SDK's worker and client on our engine, and each together with ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from durabletask import client as sdk_client
from durabletask import task as sdk
from durabletask import worker as sdk_worker

from durableflow import App, Client, OrchestrationContext, OrchestrationStatus, TaskFailedError
from tests.interop.conftest import Engines
from tests.interop.engines import Served

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

DEADLINE_SECONDS = 30

attempts = count(1)


# What the public SDK's worker runs


def sdk_double(ctx: sdk.ActivityContext, number: int) -> int:
    return 2 * number


def sdk_fail_twice(ctx: sdk.ActivityContext, _: Any) -> int:
    attempt = next(attempts)
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


def sdk_fail(ctx: sdk.ActivityContext, message: str) -> None:
    raise ValueError(message)


def sdk_chain(ctx: sdk.OrchestrationContext, number: int) -> Any:
    for _ in range(3):
        number = yield ctx.call_activity(sdk_double, input=number)
    ctx.set_custom_status({"doubled": 3})
    return number


def sdk_fan_out(ctx: sdk.OrchestrationContext, numbers: list[int]) -> Any:
    return (yield sdk.when_all([ctx.call_activity(sdk_double, input=n) for n in numbers]))


def sdk_timer(ctx: sdk.OrchestrationContext, _: Any) -> Any:
    before = ctx.current_utc_datetime
    yield ctx.create_timer(timedelta(milliseconds=200))
    return (ctx.current_utc_datetime - before).total_seconds() >= 0.2


def sdk_events(ctx: sdk.OrchestrationContext, most: int) -> Any:
    found = []
    for _ in range(most):
        event = yield ctx.wait_for_external_event("part")
        found.append(event)
    return found


def sdk_retry(ctx: sdk.OrchestrationContext, _: Any) -> Any:
    policy = sdk.RetryPolicy(
        first_retry_interval=timedelta(milliseconds=50), max_number_of_attempts=5
    )
    return (yield ctx.call_activity(sdk_fail_twice, retry_policy=policy))


def sdk_broken(ctx: sdk.OrchestrationContext, _: Any) -> Any:
    yield ctx.call_activity(sdk_fail, input="out of paper")


def sdk_parent(ctx: sdk.OrchestrationContext, numbers: list[int]) -> Any:
    children = [ctx.call_sub_orchestrator(sdk_chain, input=number) for number in numbers]
    return (yield sdk.when_all(children))


def sdk_parent_of_broken(ctx: sdk.OrchestrationContext, _: Any) -> Any:
    try:
        yield ctx.call_sub_orchestrator(sdk_broken)
    except sdk.TaskFailedError as error:
        return error.details.error_type


def sdk_count_down(ctx: sdk.OrchestrationContext, number: int) -> Any:
    event = yield ctx.wait_for_external_event("step")
    if number <= 1:
        return event
    ctx.continue_as_new(number - 1, save_events=True)


def sdk_send(ctx: sdk.OrchestrationContext, target: str) -> Any:
    ctx.send_event(target, "part", data="sent")
    return "done"
    yield


def sdk_calls_ours(ctx: sdk.OrchestrationContext, number: int) -> Any:
    return (yield ctx.call_activity("our_triple", input=number))


ORCHESTRATORS = [
    sdk_chain,
    sdk_fan_out,
    sdk_timer,
    sdk_events,
    sdk_retry,
    sdk_broken,
    sdk_parent,
    sdk_parent_of_broken,
    sdk_count_down,
    sdk_send,
    sdk_calls_ours,
]


# What ours runs

app = App("ours")


@app.activity
def our_triple(ctx: Any, number: int) -> int:
    return 3 * number


@app.orchestrator
def our_chain(ctx: OrchestrationContext, number: int) -> Any:
    number = yield ctx.call_activity(our_triple, input=number)
    event = yield ctx.wait_for_external_event("go")
    return {"number": number, "event": event}


@app.orchestrator
def ours_calls_sdk(ctx: OrchestrationContext, number: int) -> Any:
    return (yield ctx.call_activity("sdk_double", input=number))


@app.orchestrator
def ours_calls_a_broken_one(ctx: OrchestrationContext) -> Any:
    try:
        yield ctx.call_activity("sdk_fail", input="")
    except TaskFailedError as error:
        return [error.details.error_type, error.details.message]


@pytest.fixture(scope="module")
def engine(engines: Engines) -> Served:
    return engines["ours"]


@pytest.fixture(scope="module")
def theirs(engine: Served) -> Iterator[sdk_client.TaskHubGrpcClient]:
    """Their client, while their worker runs."""
    with sdk_worker.TaskHubGrpcWorker(host_address=engine.target) as worker:
        for orchestrator in ORCHESTRATORS:
            worker.add_orchestrator(orchestrator)
        for activity in (sdk_double, sdk_fail, sdk_fail_twice):
            worker.add_activity(activity)
        worker.use_work_item_filters()
        worker.start()
        with sdk_client.TaskHubGrpcClient(host_address=engine.target) as client:
            yield client


@pytest.fixture(scope="module")
def ours(engine: Served) -> Iterator[Client]:
    """Our client, while our worker runs."""
    with app.running(task_hub=engine.address) as client:
        yield client


def finish(client: sdk_client.TaskHubGrpcClient, instance: str) -> Any:
    state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)
    assert state is not None
    assert state.runtime_status is sdk_client.OrchestrationStatus.COMPLETED, state.failure_details
    return state.get_output()


def run(client: sdk_client.TaskHubGrpcClient, orchestrator: Any, input: Any = None) -> Any:
    return finish(client, client.schedule_new_orchestration(orchestrator, input=input))


# Their worker, their client, our engine


@pytest.mark.parametrize(
    ("orchestrator", "input", "output"),
    [
        (sdk_chain, 1, 8),
        (sdk_fan_out, [1, 2, 3], [2, 4, 6]),
        (sdk_timer, None, True),
        (sdk_parent, [1, 2], [8, 16]),
        (sdk_parent_of_broken, None, "durabletask.task.TaskFailedError"),
    ],
)
def test_their_orchestrators_end_on_our_engine(
    theirs: sdk_client.TaskHubGrpcClient,
    orchestrator: Callable[..., Any],
    input: Any,
    output: Any,
) -> None:
    assert run(theirs, orchestrator, input) == output


def test_their_retries_run_on_our_timers(theirs: sdk_client.TaskHubGrpcClient) -> None:
    global attempts
    attempts = count(1)

    assert run(theirs, sdk_retry) == 3


def test_their_custom_status_is_shown(theirs: sdk_client.TaskHubGrpcClient) -> None:
    instance = theirs.schedule_new_orchestration(sdk_chain, input=1)

    state = theirs.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert state is not None
    assert state.serialized_custom_status == '{"doubled": 3}'


def test_their_events_come_in_order(theirs: sdk_client.TaskHubGrpcClient) -> None:
    instance = theirs.schedule_new_orchestration(sdk_events, input=5)
    for number in range(5):
        theirs.raise_orchestration_event(instance, "part", data=number)

    assert finish(theirs, instance) == [0, 1, 2, 3, 4]


def test_their_events_outlive_continue_as_new(theirs: sdk_client.TaskHubGrpcClient) -> None:
    instance = theirs.schedule_new_orchestration(sdk_count_down, input=10)
    for number in range(10):
        theirs.raise_orchestration_event(instance, "step", data=number)

    assert finish(theirs, instance) == 9


def test_their_orchestrators_send_events_to_each_other(
    theirs: sdk_client.TaskHubGrpcClient,
) -> None:
    target = theirs.schedule_new_orchestration(sdk_events, input=1)

    assert run(theirs, sdk_send, target) == "done"

    assert finish(theirs, target) == ["sent"]


def test_their_failures_arrive(theirs: sdk_client.TaskHubGrpcClient) -> None:
    instance = theirs.schedule_new_orchestration(sdk_broken)

    state = theirs.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)

    assert state is not None
    assert state.runtime_status is sdk_client.OrchestrationStatus.FAILED
    assert state.failure_details is not None
    assert "out of paper" in state.failure_details.message


def test_their_client_suspends_resumes_and_terminates(
    theirs: sdk_client.TaskHubGrpcClient,
) -> None:
    instance = theirs.schedule_new_orchestration(sdk_events, input=2)
    theirs.wait_for_orchestration_start(instance, timeout=DEADLINE_SECONDS)
    theirs.suspend_orchestration(instance)
    until(theirs, instance, sdk_client.OrchestrationStatus.SUSPENDED)
    theirs.raise_orchestration_event(instance, "part", data=1)
    theirs.resume_orchestration(instance)
    until(theirs, instance, sdk_client.OrchestrationStatus.RUNNING)

    theirs.terminate_orchestration(instance, output="enough")

    state = theirs.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)
    assert state is not None
    assert state.runtime_status is sdk_client.OrchestrationStatus.TERMINATED
    assert state.get_output() == "enough"


def test_their_client_purges_and_queries(theirs: sdk_client.TaskHubGrpcClient) -> None:
    instance = theirs.schedule_new_orchestration(sdk_chain, input=1)
    finish(theirs, instance)

    listed = {state.instance_id for state in theirs.get_all_orchestration_states()}
    purged = theirs.purge_orchestration(instance)

    assert instance in listed
    assert purged.deleted_instance_count == 1
    assert theirs.get_orchestration_state(instance) is None


def test_their_client_reads_our_history(theirs: sdk_client.TaskHubGrpcClient) -> None:
    instance = theirs.schedule_new_orchestration(sdk_chain, input=1)
    finish(theirs, instance)

    kinds = [type(event).__name__ for event in theirs.get_orchestration_history(instance)]

    assert kinds[:2] == ["OrchestratorStartedEvent", "ExecutionStartedEvent"]
    assert kinds.count("TaskCompletedEvent") == 3
    assert kinds[-1] == "ExecutionCompletedEvent"


def test_a_hundred_of_their_instances_end(theirs: sdk_client.TaskHubGrpcClient) -> None:
    instances = [theirs.schedule_new_orchestration(sdk_chain, input=n) for n in range(100)]

    assert [finish(theirs, each) for each in instances] == [8 * n for n in range(100)]


# Theirs and ours together


def test_their_client_runs_our_orchestrator(
    theirs: sdk_client.TaskHubGrpcClient, ours: Client
) -> None:
    instance = theirs.schedule_new_orchestration("our_chain", input=2)
    theirs.raise_orchestration_event(instance, "go", data={"by": "them"})

    assert finish(theirs, instance) == {"number": 6, "event": {"by": "them"}}


def test_our_client_runs_their_orchestrator(
    theirs: sdk_client.TaskHubGrpcClient, ours: Client
) -> None:
    assert ours.run_orchestration("sdk_chain", input=2, timeout=DEADLINE_SECONDS) == 16


def test_our_orchestrator_calls_their_activity(
    theirs: sdk_client.TaskHubGrpcClient, ours: Client
) -> None:
    assert ours.run_orchestration(ours_calls_sdk, input=4, timeout=DEADLINE_SECONDS) == 8


def test_their_orchestrator_calls_our_activity(
    theirs: sdk_client.TaskHubGrpcClient, ours: Client
) -> None:
    assert run(theirs, sdk_calls_ours, 4) == 12


def test_their_failures_without_a_message_are_failures(
    theirs: sdk_client.TaskHubGrpcClient, ours: Client
) -> None:
    found = ours.run_orchestration(ours_calls_a_broken_one, timeout=DEADLINE_SECONDS)

    assert found == ["builtins.ValueError", ""]


def test_our_client_sees_their_instance_as_they_do(
    theirs: sdk_client.TaskHubGrpcClient, ours: Client
) -> None:
    instance = theirs.schedule_new_orchestration(sdk_events, input=1, tags={"team": "x"})
    state = ours.wait_for_orchestration_start(instance, timeout=DEADLINE_SECONDS)

    assert state.name == "sdk_events"
    assert state.runtime_status is OrchestrationStatus.RUNNING
    assert state.tags == {"team": "x"}
    ours.terminate_orchestration(instance)


def until(
    client: sdk_client.TaskHubGrpcClient, instance: str, status: sdk_client.OrchestrationStatus
) -> None:
    """Look until an instance has a status, up to a deadline."""
    for _ in range(2000):
        state = client.get_orchestration_state(instance)
        if state is not None and state.runtime_status is status:
            return
    raise AssertionError(f"{instance} did not become {status}")
