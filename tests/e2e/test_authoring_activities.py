"""Activities with timeouts, in processes, and cancelled, as authors use them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from durableflow import (
    ActivityContext,
    ActivityCrashedError,
    ActivityTimeoutError,
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    RetryPolicy,
    TaskFailedError,
    when_all,
)
from tests.e2e.watching import SECONDS

pytestmark = pytest.mark.e2e

app = App("authoring_activities", max_activity_processes=2)
again = RetryPolicy(first_retry_interval=0.01, max_number_of_attempts=3)


@app.activity(timeout=0.1)
def late_once(ctx: ActivityContext) -> int:
    if ctx.attempt == 1:
        ctx.cancel_token.wait(SECONDS)
        ctx.cancel_token.raise_if_set()
    return ctx.attempt


@app.activity(timeout=0.1)
async def late_once_async(ctx: ActivityContext) -> int:
    if ctx.attempt == 1:
        await asyncio.Event().wait()
    return ctx.attempt


@app.activity(timeout=0.1)
async def late_for_ever(ctx: ActivityContext) -> None:
    await ctx.cancel_token


@app.activity(executor="process")
def crash_once(ctx: ActivityContext) -> list[Any]:
    if ctx.attempt == 1:
        os._exit(3)
    return [ctx.attempt, ctx.idempotency_key]


@app.activity(executor="process")
def square(number: int) -> int:
    return number * number


@app.orchestrator
def retried(ctx: OrchestrationContext, name: str) -> Orchestration[Any]:
    return (yield ctx.call_activity(name, retry_policy=again))


@app.orchestrator
def handled(ctx: OrchestrationContext) -> Orchestration[list[bool]]:
    try:
        yield ctx.call_activity(late_for_ever)
    except TaskFailedError as error:
        return [error.details.is_a(cls) for cls in (ActivityTimeoutError, TimeoutError, OSError)]
    return []


@app.orchestrator
def choosy(ctx: OrchestrationContext) -> Orchestration[str]:
    """Try again what crashed, and nothing else."""
    crashed = RetryPolicy(
        first_retry_interval=0.01, max_number_of_attempts=2, retry_on=ActivityCrashedError
    )
    yield ctx.call_activity(crash_once, retry_policy=crashed)
    try:
        yield ctx.call_activity(late_once, retry_policy=crashed)
    except TaskFailedError as error:
        return error.details.error_type
    return ""


@app.orchestrator
async def squares(ctx: OrchestrationContext, count: int) -> list[int]:
    return await when_all([ctx.call_activity(square, input=number) for number in range(count)])


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


@pytest.mark.parametrize("name", ["late_once", "late_once_async"])
def test_what_took_too_long_is_tried_again(client: Client, name: str):
    assert client.run_orchestration(retried, input=name, timeout=SECONDS) == 2


def test_an_orchestrator_sees_which_activity_took_too_long(client: Client):
    assert client.run_orchestration(handled, timeout=SECONDS) == [True, True, True]


def test_what_crashed_is_tried_again_under_the_same_key(client: Client):
    attempt, key = client.run_orchestration(retried, input="crash_once", timeout=SECONDS)

    assert attempt == 2
    assert key.count(":") == 2


def test_policies_tell_crashes_from_timeouts(client: Client):
    failed = client.run_orchestration(choosy, timeout=SECONDS)

    assert failed == "durableflow.errors.ActivityTimeoutError"


def test_more_activities_than_processes_are_all_run(client: Client):
    assert client.run_orchestration(squares, input=20, timeout=SECONDS) == [
        number * number for number in range(20)
    ]
