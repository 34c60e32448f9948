"""The orchestrators and activities, written for durableflow."""

from __future__ import annotations

import time
from datetime import timedelta

from durableflow import App, Orchestration, OrchestrationContext, when_all, when_any

app = App("bench")


@app.activity
def increment(number: int) -> int:
    return number + 1


@app.activity
def now() -> float:
    return time.monotonic()


@app.orchestrator
def chain(ctx: OrchestrationContext, steps: int) -> Orchestration[int]:
    number = 0
    for _ in range(steps):
        number = yield ctx.call_activity(increment, input=number)
    return number


@app.orchestrator
def fan(ctx: OrchestrationContext, width: int) -> Orchestration[int]:
    numbers = yield when_all([ctx.call_activity(increment, input=i) for i in range(width)])
    return sum(numbers)


@app.orchestrator
def stamps(ctx: OrchestrationContext, steps: int) -> Orchestration[list[float]]:
    times: list[float] = []
    for _ in range(steps):
        time_of_step = yield ctx.call_activity(now)
        times.append(time_of_step)
    return times


@app.orchestrator
def sleep(ctx: OrchestrationContext, seconds: int) -> Orchestration[None]:
    yield ctx.create_timer(timedelta(seconds=seconds))


@app.orchestrator
def sleep_or_go(ctx: OrchestrationContext, seconds: int) -> Orchestration[None]:
    yield when_any([ctx.wait_for_external_event("go"), ctx.create_timer(seconds)])


@app.orchestrator
def pause(ctx: OrchestrationContext, steps: int) -> Orchestration[int]:
    number = 0
    for _ in range(steps):
        number = yield ctx.call_activity(increment, input=number)
    ctx.set_custom_status("paused")
    yield ctx.wait_for_external_event("go")
    return number
