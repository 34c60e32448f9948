"""Durable timers: from no time at all to years, cancelled or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durableflow import (
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
    TaskCancelledError,
    TaskFailedError,
    when_all,
    when_any,
)
from tests.e2e.watching import SECONDS, output, until, until_status

pytestmark = pytest.mark.e2e

app = App("authoring_timers")


@app.orchestrator
def sleeps(ctx: OrchestrationContext, seconds: list[float]) -> Orchestration[list[float]]:
    slept = []
    for duration in seconds:
        before = ctx.current_utc_datetime
        yield ctx.create_timer(timedelta(seconds=duration))
        slept.append((ctx.current_utc_datetime - before).total_seconds())
    return slept


@app.orchestrator
async def sleeps_until(ctx: OrchestrationContext, moment: datetime) -> datetime:
    await ctx.create_timer(moment)
    return ctx.current_utc_datetime


@app.orchestrator
async def in_order_of_time(ctx: OrchestrationContext) -> list[str]:
    timers = {ctx.create_timer(n / 10): str(n) for n in (3, 1, 2)}
    fired = []
    while timers:
        winner: Any = await when_any(list(timers))
        fired.append(timers.pop(winner))
    return fired


@app.orchestrator
async def waits_for_years(ctx: OrchestrationContext, duration: timedelta) -> str:
    timer = ctx.create_timer(duration)
    stop = ctx.wait_for_external_event("stop")
    ctx.set_custom_status("waiting")
    winner: Any = await when_any([timer, stop])
    return "years later" if winner is timer else "stopped"


@app.orchestrator
def catches_the_cancellation(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    timer = ctx.create_timer(3600)
    cancelled = timer.cancel()
    try:
        yield timer
    except TaskCancelledError as error:
        return [cancelled, timer.cancel(), timer.is_complete, timer.is_failed, str(error)]
    return []


@app.orchestrator
async def cancels_one_of_all(ctx: OrchestrationContext) -> str:
    timers = [ctx.create_timer(3600), ctx.create_timer(0)]
    everything = when_all(timers)
    await timers[1]
    timers[0].cancel()
    try:
        await everything
    except TaskCancelledError:
        return "cancelled"
    return "slept"


@app.orchestrator
async def lets_the_cancellation_through(ctx: OrchestrationContext) -> None:
    timer = ctx.create_timer(3600)
    timer.cancel()
    await timer


@app.orchestrator
async def asks_for(ctx: OrchestrationContext, what: str) -> None:
    times: dict[str, Any] = {
        "a time without a zone": datetime(2030, 1, 1),  # noqa: DTZ001 -- the mistake
        "a time after the last": timedelta(days=3_000_000),
        "a text": "tomorrow",
        "nothing": None,
        "no number": float("nan"),
        "eternity": float("inf"),
    }
    await ctx.create_timer(times[what])


@app.orchestrator
async def loses_the_race(ctx: OrchestrationContext) -> str:
    late = ctx.create_timer(0.3)
    early = ctx.create_timer(0.05)
    assert await when_any(late, early) is early
    return "early"


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


def test_a_timer_lasts_at_least_as_long_as_it_says(client: Client):
    wanted = [0.0, 0.001, 0.02, 0.3]

    slept = client.run_orchestration(sleeps, input=wanted, timeout=SECONDS)

    assert all(actual >= duration for actual, duration in zip(slept, wanted, strict=True))
    assert sum(slept) < 5


def test_a_timer_fires_at_a_moment(client: Client):
    moment = datetime.now(UTC) + timedelta(seconds=0.3)

    fired = client.run_orchestration(sleeps_until, input=moment, timeout=SECONDS)

    assert moment <= fired < moment + timedelta(seconds=5)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00Z", "1969-07-20T20:17Z", "2001-01-01T00:00Z"])
def test_a_moment_in_the_past_fires_at_once(client: Client, moment: str):
    past = datetime.fromisoformat(moment)

    assert client.run_orchestration(sleeps_until, input=past, timeout=SECONDS) > past


def test_timers_fire_in_the_order_of_their_times(client: Client):
    assert client.run_orchestration(in_order_of_time, timeout=SECONDS) == ["1", "2", "3"]


@pytest.mark.parametrize("years", [1, 10, 1000, 7000])
def test_timers_of_years_are_accepted_and_hold_nothing_up(client: Client, years: int):
    instance = client.schedule_new_orchestration(waits_for_years, input=timedelta(days=365 * years))
    until(client, instance, lambda state: state.serialized_custom_status)
    client.raise_orchestration_event(instance, "stop")

    assert output(client, instance) == "stopped"


def test_code_can_catch_that_a_timer_was_cancelled(client: Client):
    caught = client.run_orchestration(catches_the_cancellation, timeout=SECONDS)

    assert caught[:4] == [True, False, True, True]
    assert "timer" in caught[4]


def test_waiting_for_all_fails_when_one_is_cancelled(client: Client):
    assert client.run_orchestration(cancels_one_of_all, timeout=SECONDS) == "cancelled"


def test_a_cancellation_that_nobody_catches_fails_the_instance_by_its_name(client: Client):
    with pytest.raises(OrchestrationFailedError) as caught:
        client.run_orchestration(lets_the_cancellation_through, timeout=SECONDS)

    assert caught.value.details is not None
    assert caught.value.details.is_caused_by(TaskCancelledError)
    assert not caught.value.details.is_caused_by(TaskFailedError)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("a time without a zone", "time zone"),
        ("a time after the last", "year 9999"),
        ("a text", "'tomorrow' is no time"),
        ("nothing", "None is no time"),
        ("no number", "nan is no time"),
        ("eternity", "inf is no time"),
    ],
)
def test_times_that_are_none_are_refused_in_words(client: Client, what: str, words: str):
    with pytest.raises(OrchestrationFailedError, match=words):
        client.run_orchestration(asks_for, input=what, timeout=SECONDS)


def test_a_timer_that_fires_after_the_end_changes_nothing(client: Client):
    instance = client.schedule_new_orchestration(loses_the_race)
    assert output(client, instance) == "early"

    later = client.run_orchestration(sleeps, input=[0.5], timeout=SECONDS)

    assert later
    until_status(client, instance, OrchestrationStatus.COMPLETED)
    assert output(client, instance) == "early"
