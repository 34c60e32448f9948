"""What current SDKs and engines are known to get wrong: each mistake tried on this worker and client.

The list is that of failures reproduced on public releases; those of storage, blobs and entities are
tried where these are.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    ActivityContext,
    App,
    CallError,
    Client,
    ConversionError,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
    RetryPolicy,
    TaskCancelledError,
    TaskFailedError,
    WaitTimeoutError,
    hookimpl,
    when_all,
)
from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.joining import FileTaskHub
from durableflow.hub.address import TaskHubAddress
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub, TaskHubFactory
from durableflow.protocol.status import Status
from tests.e2e.watching import SECONDS, output, until, until_status

pytestmark = pytest.mark.e2e

app = App("known_failures")
without_sessions = App("known_failures_without_sessions", session_cache_count=0)


class HopelessError(Exception):
    is_non_retriable = True


begun: Counter[str] = Counter()
attempts = itertools.count(1)
entered, release = threading.Event(), threading.Event()


@app.activity
def increment(n: int) -> int:
    return n + 1


@app.activity
def fails_once(ctx: ActivityContext) -> int:
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return ctx.attempt


@app.activity
def hopeless() -> None:
    next(attempts)
    raise HopelessError("no use")


@app.activity
def hundred_kilobytes(number: int) -> str:
    return str(number % 10) * 100_000


@app.activity
def blocks() -> None:
    entered.set()
    release.wait(SECONDS)


@app.activity
async def on_a_loop(n: int) -> int:
    await asyncio.sleep(0)
    return n + 1


@app.activity
def fails_silently() -> None:
    raise ValueError


@app.activity
def hides_its_cause() -> None:
    try:
        {}["hidden"]
    except KeyError:
        raise ValueError("shown") from None


@app.activity
def echo(value: Any) -> Any:
    return value


@app.activity
def takes_a_bool(value: bool) -> bool:
    return value


for each in (increment, fails_once, hundred_kilobytes):
    without_sessions.add_activity(each)


@without_sessions.orchestrator
def retries_in_time(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    policy = RetryPolicy(
        first_retry_interval=0.05, max_number_of_attempts=3, retry_timeout=timedelta(seconds=0.4)
    )
    attempt = yield ctx.call_activity(fails_once, retry_policy=policy)
    ctx.set_custom_status("succeeded")
    late = yield ctx.create_timer(0.6)
    return [attempt, late]


@app.orchestrator
def waits_for_nothing(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    return (yield when_all([]))


@app.orchestrator(name="versioned", version="1.0.0")
def versioned_1(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    return ["1.0.0", (yield ctx.call_activity(increment, input=1))]


@app.orchestrator(name="versioned", version="2.0.0")
def versioned_2(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    return ["2.0.0", (yield ctx.call_activity("increment", input=1))]


@app.orchestrator(name="fails_at_first", version="4.2")
def fails_at_first(ctx: OrchestrationContext) -> str:
    if next(attempts) == 1:
        raise ConnectionError("not yet")
    return f"version {ctx.version}"


@app.orchestrator
def tries_a_child_again(ctx: OrchestrationContext) -> Orchestration[str]:
    policy = RetryPolicy(first_retry_interval=0.01, max_number_of_attempts=3)
    return (yield ctx.call_sub_orchestrator(fails_at_first, retry_policy=policy))


@app.orchestrator
def calls_the_hopeless(ctx: OrchestrationContext) -> Orchestration[None]:
    policy = RetryPolicy(first_retry_interval=0.01, max_number_of_attempts=5)
    yield ctx.call_activity(hopeless, retry_policy=policy)


@app.orchestrator
def counts(ctx: OrchestrationContext, steps: int) -> Orchestration[int]:
    begun[ctx.instance_id] += 1
    value = 0
    for _ in range(steps):
        value = yield ctx.call_activity(increment, input=value)
    return value


@without_sessions.orchestrator
async def gathers_megabytes(ctx: OrchestrationContext) -> int:
    return sum([len(await ctx.call_activity(hundred_kilobytes, input=n)) for n in range(60)])


@app.orchestrator
def yields_five(ctx: OrchestrationContext) -> Orchestration[int]:
    return (yield 5)  # type: ignore[misc] # the mistake


@app.orchestrator
def catches_a_cancellation(ctx: OrchestrationContext) -> Orchestration[str]:
    timer = ctx.create_timer(60)
    timer.cancel()
    try:
        yield timer
    except TaskCancelledError:
        return "caught"
    return "slept"


@app.orchestrator
def is_held_up(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.call_activity(blocks)


@app.orchestrator
def only_sleeps(ctx: OrchestrationContext) -> Orchestration[str]:
    for _ in range(3):
        yield ctx.create_timer(0.01)
    return "slept"


@app.orchestrator
async def awaits_an_async_activity(ctx: OrchestrationContext) -> int:
    return await ctx.call_activity(on_a_loop, input=1)


@app.orchestrator
async def catches(ctx: OrchestrationContext, activity: str) -> list[str]:
    try:
        await ctx.call_activity(activity)
    except TaskFailedError as error:
        return [details.error_type for details in error.details.chain()]
    return ["no failure"]


@app.orchestrator
async def passes_on(ctx: OrchestrationContext, text: str) -> str:
    return await ctx.call_activity("echo", input=text, return_type=str)


@app.orchestrator
async def passes_text_for_a_bool(ctx: OrchestrationContext) -> bool:
    return await ctx.call_activity("takes_a_bool", input="false")


@app.orchestrator
async def returns_no_number(ctx: OrchestrationContext) -> float:
    return float("nan")


@app.orchestrator
async def waits(ctx: OrchestrationContext) -> str:
    return await ctx.wait_for_external_event("go", data_type=str)


@app.orchestrator
async def has_a_patient_child(ctx: OrchestrationContext, child: str) -> str:
    return await ctx.call_sub_orchestrator(waits, instance_id=child)


@app.orchestrator
async def starts_over_with_a_timer(ctx: OrchestrationContext, generation: int) -> float | None:
    if generation == 1:
        ctx.create_timer(0.05)
        ctx.continue_as_new(2)
        return None
    before = ctx.current_utc_datetime
    await ctx.create_timer(0.4)
    return (ctx.current_utc_datetime - before).total_seconds()


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


@pytest.fixture(scope="module")
def replaying_client(task_hub: str) -> Iterator[Client]:
    """The client of a worker that replays the whole history in each turn."""
    with without_sessions.running(task_hub=task_hub) as client:
        yield client


def test_1_a_retry_that_succeeded_in_time_has_succeeded_in_a_later_replay_too(
    replaying_client: Client,
):
    outputs = replaying_client.run_orchestration(retries_in_time, timeout=SECONDS)

    assert outputs == [2, None]


def test_2_waiting_for_all_of_nothing_ends(client: Client):
    assert client.run_orchestration(waits_for_nothing, timeout=SECONDS) == []


def test_3_a_version_that_nobody_has_waits_with_a_reason_and_for_whoever_has_it(task_hub: str):
    with app.running(task_hub=task_hub) as client:
        instance = client.schedule_new_orchestration("versioned", version="3.0.0")
        with pytest.raises(WaitTimeoutError, match=r"3\.0\.0"):
            client.wait_for_orchestration_completion(instance, timeout=0.5)

    newer = App("newer")
    newer.add_orchestrator(waits_for_nothing, name="versioned", version="3.0.0")
    with newer.running(task_hub=task_hub) as client:
        assert output(client, instance) == []


@pytest.mark.parametrize(
    ("orchestrator", "expected"), [(versioned_1, ["1.0.0", 2]), (versioned_2, ["2.0.0", 2])]
)
def test_4_activities_of_versioned_orchestrators_are_dispatched(
    client: Client, orchestrator: Any, expected: list[Any]
):
    assert client.run_orchestration(orchestrator, timeout=SECONDS) == expected


def test_5_a_child_that_is_tried_again_keeps_its_version(client: Client):
    global attempts
    attempts = itertools.count(1)

    assert client.run_orchestration(tries_a_child_again, timeout=SECONDS) == "version 4.2"


def test_6_what_is_not_retriable_is_not_tried_again(client: Client):
    global attempts
    attempts = itertools.count(1)

    with pytest.raises(OrchestrationFailedError, match="no use"):
        client.run_orchestration(calls_the_hopeless, timeout=SECONDS)

    assert next(attempts) == 2


class FaultyHub(FileTaskHub):
    """Cannot be reached when the first results of each kind are sent."""

    def __init__(self, path: Path, options: HubOptions) -> None:
        super().__init__(path, options)
        self._faults = Counter(turns=2, activities=2)

    def complete_orchestrator_task(
        self, request: pb.OrchestratorResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        return self._fault("turns") or super().complete_orchestrator_task(request, timeout=timeout)

    def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        return self._fault("activities") or super().complete_activity_task(request, timeout=timeout)

    def _fault(self, kind: str) -> Awaitable[object] | None:
        self._faults[kind] -= 1
        return _away() if self._faults[kind] >= 0 else None


async def _away() -> object:
    raise CallError(Status.UNAVAILABLE, "away for a moment")


class FaultyHubs:
    @hookimpl
    def register_task_hubs(self) -> Mapping[str, TaskHubFactory]:
        def make(address: TaskHubAddress, options: HubOptions) -> TaskHub:
            return FaultyHub(Path(address.target or ""), options)

        return {"faulty": make}


def test_7_a_result_that_could_not_be_sent_is_sent_again(tmp_path: Path):
    faulty = App("faulty", plugins=[FaultyHubs()], task_hub=f"faulty://{tmp_path / 'hub.db'}")
    faulty.add_activity(increment)
    faulty.add_orchestrator(counts)

    with faulty.running() as client:
        assert client.run_orchestration(counts, input=3, timeout=SECONDS) == 3


def test_7_a_result_that_is_too_large_fails_its_activity(task_hub: str):
    small = App("small", max_payload_bytes=50_000)
    small.add_activity(hundred_kilobytes, name="too_much")

    @small.orchestrator
    async def asks_for_too_much(ctx: OrchestrationContext) -> str:
        return await ctx.call_activity(hundred_kilobytes, input=1)

    with (
        small.running(task_hub=task_hub) as client,
        pytest.raises(
            OrchestrationFailedError, match=r"result of activity 'too_much'.*100,002 bytes"
        ),
    ):
        client.run_orchestration(asks_for_too_much, timeout=SECONDS)


def test_8_a_history_of_six_megabytes_is_replayed_in_each_turn(replaying_client: Client):
    total = replaying_client.run_orchestration(gathers_megabytes, timeout=50)

    assert total == 6_000_000


def test_9_four_hundred_steps_are_not_replayed_once(client: Client):
    instance = client.schedule_new_orchestration(counts, input=400)

    assert client.wait_for_orchestration_completion(instance, timeout=50).get_output() == 400
    assert begun[instance] == 1


@pytest.mark.parametrize("text", ["blob:v1:container:name", "blob:v1:https://evil.example/x"])
def test_11_text_that_looks_like_a_reference_is_text(client: Client, text: str):
    assert client.run_orchestration(passes_on, input=text, timeout=SECONDS) == text


def test_13_the_first_yield_may_be_wrong_and_is_told(client: Client):
    with pytest.raises(OrchestrationFailedError, match="you yielded int"):
        client.run_orchestration(yields_five, timeout=SECONDS)


def test_13_a_cancellation_can_be_caught(client: Client):
    assert client.run_orchestration(catches_a_cancellation, timeout=SECONDS) == "caught"


def test_14_slow_activities_do_not_delay_other_orchestrations(task_hub: str):
    narrow = App("narrow", max_concurrent_activities=1)
    narrow.add_activity(blocks, name="narrow blocks")
    narrow.add_orchestrator(is_held_up, name="narrow is_held_up")
    narrow.add_orchestrator(only_sleeps, name="narrow only_sleeps")
    entered.clear()
    release.clear()

    with narrow.running(task_hub=task_hub) as client:
        slow = [client.schedule_new_orchestration(is_held_up) for _ in range(5)]
        assert entered.wait(SECONDS)

        assert client.run_orchestration(only_sleeps, timeout=SECONDS) == "slept"
        assert client.wait_for_orchestration_start(slow[0]).runtime_status.name == "RUNNING"
        release.set()
        for instance in slow:
            output(client, instance)


def test_15_async_activities_run(client: Client):
    assert client.run_orchestration(awaits_an_async_activity, timeout=SECONDS) == 2


def test_15_what_from_none_hides_stays_hidden(client: Client):
    assert client.run_orchestration(catches, input="hides_its_cause", timeout=SECONDS) == [
        "builtins.ValueError"
    ]


def test_16_text_is_no_bool(client: Client):
    with pytest.raises(OrchestrationFailedError, match="expected bool, got str") as caught:
        client.run_orchestration(passes_text_for_a_bool, timeout=SECONDS)

    assert caught.value.details is not None
    assert caught.value.details.is_caused_by(ConversionError)


def test_16_what_is_not_a_number_is_not_written(client: Client):
    with pytest.raises(OrchestrationFailedError, match="NaN"):
        client.run_orchestration(returns_no_number, timeout=SECONDS)
    with pytest.raises(ConversionError, match="NaN"):
        client.schedule_new_orchestration("anything", input={"x": [float("nan")]})


def test_17_a_failure_without_a_message_is_a_failure(client: Client):
    assert client.run_orchestration(catches, input="fails_silently", timeout=SECONDS) == [
        "builtins.ValueError"
    ]


def test_17_a_parent_waits_for_a_child_across_restarts(task_hub: str):
    restarted = App("restarted")
    restarted.add_orchestrator(waits, name="restarted waits")
    restarted.add_orchestrator(has_a_patient_child, name="restarted has_a_patient_child")

    with restarted.running(task_hub=task_hub) as client:
        parent = client.schedule_new_orchestration(has_a_patient_child, input="patient")
        until_status(client, "patient", OrchestrationStatus.RUNNING)

    with restarted.running(task_hub=task_hub) as client:
        client.raise_orchestration_event("patient", "go", data="at last")

        assert output(client, parent) == "at last"


def test_17_a_timer_of_an_earlier_execution_does_not_wake_the_next(client: Client):
    assert client.run_orchestration(starts_over_with_a_timer, input=1, timeout=SECONDS) >= 0.4


def test_17_many_waiting_clients_hold_nobody_up(client: Client, task_hub: str):
    instance = client.schedule_new_orchestration(waits)

    def wait(_: int) -> Any:
        with app.client(task_hub=task_hub) as another:
            return output(another, instance)

    with ThreadPoolExecutor(40) as threads:
        waiting = [threads.submit(wait, number) for number in range(40)]
        assert client.run_orchestration(counts, input=5, timeout=SECONDS) == 5
        client.raise_orchestration_event(instance, "go", data="on")

        assert {each.result(SECONDS) for each in waiting} == {"on"}


def test_17_an_instance_starts_no_sooner_than_it_should(client: Client):
    moment = datetime.now(UTC) + timedelta(seconds=0.4)

    instance = client.schedule_new_orchestration(counts, input=1, start_at=moment)
    state = client.get_orchestration_state(instance)

    assert state is not None
    assert state.runtime_status is OrchestrationStatus.PENDING
    assert output(client, instance) == 1
    assert client.wait_for_orchestration_completion(instance).last_updated_at >= moment


def test_17_terminating_takes_children_along(client: Client):
    parent = client.schedule_new_orchestration(has_a_patient_child, input="taken along")
    until_status(client, "taken along", OrchestrationStatus.RUNNING)

    client.terminate_orchestration(parent)

    until(client, "taken along", lambda s: s.runtime_status is OrchestrationStatus.TERMINATED)
