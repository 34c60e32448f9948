"""Retries: what is tried again, how often, after how long, and what a replay makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durableflow import (
    ActivityContext,
    App,
    Client,
    FailureDetails,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    RetryPolicy,
    TaskFailedError,
    UsageError,
)
from tests.e2e.watching import SECONDS, output, until

pytestmark = pytest.mark.e2e

app = App("authoring_retries")


class BusyError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.failure_properties = {"status": status}


class VeryBusyError(BusyError):
    pass


class HopelessError(Exception):
    is_non_retriable = True


FAILURES = {
    "busy": BusyError(503),
    "very busy": VeryBusyError(500),
    "hopeless": HopelessError("no use"),
    "value": ValueError("no such value"),
    "silent": ValueError(),
}


def is_503(failure: FailureDetails) -> bool:
    return failure.properties.get("status") == 503


def broken(failure: FailureDetails) -> bool:
    raise LookupError("the predicate is broken")


def policy(**options: Any) -> RetryPolicy:
    return RetryPolicy(**{"first_retry_interval": 0.01, "max_number_of_attempts": 4, **options})


POLICIES = {
    "plain": policy(),
    "once": policy(max_number_of_attempts=1),
    "backoff": policy(backoff_coefficient=2.0, max_number_of_attempts=5),
    "capped": policy(backoff_coefficient=3.0, max_retry_interval=0.05, max_number_of_attempts=5),
    "no wait": policy(first_retry_interval=timedelta(0)),
    "timeout": policy(
        first_retry_interval=0.06, retry_timeout=timedelta(seconds=0.1), max_number_of_attempts=50
    ),
    "jitter": policy(first_retry_interval=0.05, jitter=1.0, max_number_of_attempts=6),
    "by class": policy(retry_on=BusyError),
    "by base class": policy(retry_on=[OSError, BusyError]),
    "by name": policy(retry_on="ValueError"),
    "by predicate": policy(retry_on=is_503),
    "by a broken predicate": policy(retry_on=broken),
}


def attempt_of(ctx: ActivityContext, outcomes: list[str]) -> int:
    """Fail as the outcomes say, one for each attempt, and succeed after the last."""
    if ctx.attempt <= len(outcomes):
        raise FAILURES[outcomes[ctx.attempt - 1]]
    return ctx.attempt


@app.activity
def flaky(ctx: ActivityContext, outcomes: list[str]) -> int:
    return attempt_of(ctx, outcomes)


@app.activity(retry_policy=policy(max_number_of_attempts=2))
async def flaky_by_itself(ctx: ActivityContext, outcomes: list[str]) -> int:
    return attempt_of(ctx, outcomes)


@app.activity
def who_am_i(ctx: ActivityContext, attempts: int) -> list[Any]:
    keys.append(ctx.idempotency_key)
    if ctx.attempt < attempts:
        raise BusyError(ctx.attempt)
    return [ctx.attempt, ctx.task_id, ctx.tags]


keys: list[str] = []
runs: Counter[str] = Counter()


@app.orchestrator
def flaky_child(ctx: OrchestrationContext, outcomes: list[str]) -> int:
    runs[ctx.instance_id] += 1
    if runs[ctx.instance_id] <= len(outcomes):
        raise FAILURES[outcomes[runs[ctx.instance_id] - 1]]
    return runs[ctx.instance_id]


@app.orchestrator
def calls_an_activity(ctx: OrchestrationContext, case: list[Any]) -> Orchestration[Any]:
    name, outcomes = case
    return (yield ctx.call_activity(flaky, input=outcomes, retry_policy=POLICIES[name]))


@app.orchestrator
async def calls_a_child(ctx: OrchestrationContext, case: list[Any]) -> Any:
    name, outcomes = case
    child = ctx.instance_id + " child"
    return await ctx.call_sub_orchestrator(
        flaky_child, input=outcomes, retry_policy=POLICIES[name], instance_id=child
    )


@app.orchestrator
async def uses_the_activitys_policy(ctx: OrchestrationContext, outcomes: list[str]) -> int:
    return await ctx.call_activity(flaky_by_itself, input=outcomes)


@app.orchestrator
async def overrides_the_activitys_policy(ctx: OrchestrationContext, outcomes: list[str]) -> int:
    return await ctx.call_activity(flaky_by_itself, input=outcomes, retry_policy=POLICIES["plain"])


@app.orchestrator
async def maps_with_a_policy(ctx: OrchestrationContext, cases: list[list[str]]) -> list[int]:
    return await ctx.map(flaky, cases, limit=2, retry_policy=POLICIES["plain"])


@app.orchestrator
async def asks_who(ctx: OrchestrationContext, attempts: int) -> list[Any]:
    await ctx.create_timer(0)
    return await ctx.call_activity(
        who_am_i, input=attempts, retry_policy=POLICIES["plain"], tags={"team": "x"}
    )


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


def waits_of(client: Client, instance: str) -> list[float]:
    """Return how long each retry timer of an instance was to last, in seconds."""
    waits = []
    now = datetime.now(UTC)
    for event in client.get_orchestration_history(instance):
        if event.kind == "orchestrator_started":
            now = event.timestamp
        elif event.kind == "timer_created":
            waits.append((event.attributes["fire_at"] - now).total_seconds())
    return waits


def attempts_of(client: Client, instance: str) -> int:
    kinds = [event.kind for event in client.get_orchestration_history(instance)]
    return kinds.count("task_scheduled") + kinds.count("sub_orchestration_instance_created")


CALLERS = pytest.mark.parametrize("caller", [calls_an_activity, calls_a_child])


@CALLERS
@pytest.mark.parametrize(
    ("name", "outcomes", "attempts"),
    [
        ("plain", [], 1),
        ("plain", ["busy"], 2),
        ("plain", ["busy", "value", "silent"], 4),
        ("once", [], 1),
        ("by class", ["busy", "very busy", "busy"], 4),
        ("by base class", ["very busy"], 2),
        ("by name", ["value", "silent"], 3),
        ("by predicate", ["busy", "busy"], 3),
        ("no wait", ["busy"] * 3, 4),
    ],
)
def test_what_is_tried_again_succeeds_in_the_end(
    client: Client, caller: Any, name: str, outcomes: list[str], attempts: int
):
    instance = client.schedule_new_orchestration(caller, input=[name, outcomes])

    assert output(client, instance) == attempts
    assert attempts_of(client, instance) == attempts


@CALLERS
@pytest.mark.parametrize(
    ("name", "outcomes", "attempts", "words"),
    [
        ("plain", ["busy"] * 4, 4, "status 503"),
        ("plain", ["hopeless"], 1, "no use"),
        ("plain", ["busy", "hopeless"], 2, "no use"),
        ("once", ["busy"], 1, "status 503"),
        ("by class", ["busy", "value"], 2, "no such value"),
        ("by class", ["hopeless"], 1, "no use"),
        ("by name", ["busy"], 1, "status 503"),
        ("by predicate", ["very busy"], 1, "status 500"),
        ("by a broken predicate", ["busy"], 1, "the predicate is broken"),
    ],
)
def test_what_is_not_tried_again_fails_with_the_last_failure(
    client: Client, caller: Any, name: str, outcomes: list[str], attempts: int, words: str
):
    instance = client.schedule_new_orchestration(caller, input=[name, outcomes])

    with pytest.raises(OrchestrationFailedError, match=words):
        output(client, instance)

    assert attempts_of(client, instance) == attempts


@CALLERS
@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("plain", [0.01, 0.01, 0.01]),
        ("backoff", [0.01, 0.02, 0.04, 0.08]),
        ("capped", [0.01, 0.03, 0.05, 0.05]),
        ("no wait", [0, 0, 0]),
    ],
)
def test_waits_grow_as_the_policy_says(client: Client, caller: Any, name: str, waits: list[float]):
    instance = client.schedule_new_orchestration(caller, input=[name, ["busy"] * 9])

    with pytest.raises(OrchestrationFailedError):
        output(client, instance)

    assert waits_of(client, instance) == pytest.approx(waits, abs=1e-5)


@CALLERS
def test_a_timeout_ends_the_attempts(client: Client, caller: Any):
    instance = client.schedule_new_orchestration(caller, input=["timeout", ["busy"] * 99])

    with pytest.raises(OrchestrationFailedError):
        output(client, instance)

    assert 1 < attempts_of(client, instance) <= 3


@CALLERS
def test_jitter_shortens_each_wait_and_differs_between_instances(client: Client, caller: Any):
    instances = [
        client.schedule_new_orchestration(caller, input=["jitter", ["busy"] * 9]) for _ in range(2)
    ]
    for instance in instances:
        with pytest.raises(OrchestrationFailedError):
            output(client, instance)

    waits = [waits_of(client, instance) for instance in instances]

    assert all(0 <= wait <= 0.05 for one in waits for wait in one)
    assert len({round(wait, 5) for one in waits for wait in one}) > 5


def test_the_activitys_own_policy_is_used_where_the_call_names_none(client: Client):
    assert client.run_orchestration(uses_the_activitys_policy, input=["busy"]) == 2
    with pytest.raises(OrchestrationFailedError, match="2 attempts"):
        client.run_orchestration(uses_the_activitys_policy, input=["busy"] * 2)


def test_the_policy_of_a_call_takes_the_place_of_the_activitys_own(client: Client):
    instance = client.schedule_new_orchestration(overrides_the_activitys_policy, input=["busy"] * 3)

    assert output(client, instance) == 4


def test_each_item_of_a_map_is_tried_again(client: Client):
    cases = [[], ["busy"], ["busy", "busy"], [], ["value"]]

    assert client.run_orchestration(maps_with_a_policy, input=cases, timeout=SECONDS) == [
        1, 2, 3, 1, 2,
    ]  # fmt: skip


def test_the_attempts_of_one_call_share_a_key_and_other_calls_have_others(client: Client):
    keys.clear()
    first = client.run_orchestration(asks_who, input=3, timeout=SECONDS)
    second = client.run_orchestration(asks_who, input=1, timeout=SECONDS)

    assert first == [3, 2, {"team": "x"}]
    assert second == [1, 2, {"team": "x"}]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def app_with(retry_policy: RetryPolicy | None) -> App:
    """Make what one deployment runs."""
    deployed = App("deployed")
    deployed.add_activity(flaky)

    @deployed.orchestrator
    def persist(ctx: OrchestrationContext, outcomes: list[str]) -> Orchestration[list[Any]]:
        try:
            attempt = yield ctx.call_activity(flaky, input=outcomes, retry_policy=retry_policy)
        except TaskFailedError as error:
            attempt = error.details.message
        ctx.set_custom_status("decided")
        go = yield ctx.wait_for_external_event("go")
        return [attempt, go]

    return deployed


@pytest.mark.parametrize(
    ("before", "after", "attempt"),
    [
        (policy(), policy(max_number_of_attempts=1), 4),
        (policy(), None, 4),
        (policy(), policy(first_retry_interval=3600, backoff_coefficient=7.0), 4),
        (policy(), policy(retry_on=KeyError), 4),
        (None, policy(max_number_of_attempts=99), "status 503"),
        (policy(max_number_of_attempts=2), policy(max_number_of_attempts=99), "status 503"),
        (policy(retry_on=KeyError), policy(), "status 503"),
    ],
)
def test_another_policy_does_not_change_what_has_happened(
    task_hub: str, before: RetryPolicy | None, after: RetryPolicy | None, attempt: int | str
):
    with app_with(before).running(task_hub=task_hub) as client:
        instance = client.schedule_new_orchestration("persist", input=["busy"] * 3)
        until(client, instance, lambda state: state.serialized_custom_status)

    with app_with(after).running(task_hub=task_hub) as client:
        client.raise_orchestration_event(instance, "go", data="on")

        assert output(client, instance) == [attempt, "on"]


def test_another_policy_decides_once_what_was_begun_has_ended(task_hub: str):
    with app_with(policy(first_retry_interval=0.5)).running(task_hub=task_hub) as client:
        instance = client.schedule_new_orchestration("persist", input=["busy"] * 3)
        until(client, instance, lambda _state: waits_of(client, instance))

    with app_with(None).running(task_hub=task_hub) as client:
        client.raise_orchestration_event(instance, "go", data="on")

        assert output(client, instance) == ["status 503", "on"]
        assert attempts_of(client, instance) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"first_retry_interval": -1},
        {"first_retry_interval": "soon"},
        {"max_number_of_attempts": 0},
        {"max_number_of_attempts": 2.5},
        {"backoff_coefficient": 0.5},
        {"backoff_coefficient": float("nan")},
        {"max_retry_interval": -1},
        {"retry_timeout": "late"},
        {"jitter": 1.5},
        {"retry_on": 5},
        {"retry_on": []},
        {"retry_on": [int]},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_the_name_of_the_option(
    options: dict[str, Any],
):
    with pytest.raises(UsageError, match=f"RetryPolicy\\({next(iter(options))}="):
        policy(**options)
