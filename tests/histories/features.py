"""One orchestrator for each feature; the files beside this one are histories of them.

What is here may gain orchestrators, but none may change: the histories must fit for ever.  New
ones are recorded by ``python -m tests.histories.record``, which leaves existing files alone.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import frozen

from durableflow import (
    ActivityContext,
    App,
    Orchestration,
    OrchestrationContext,
    RetryPolicy,
    TaskFailedError,
    when_all,
    when_any,
)

app = App("features", task_hub="sqlite://", max_concurrent_activities=10)

TWICE = RetryPolicy(first_retry_interval=timedelta(milliseconds=10), max_number_of_attempts=2)
SOON = timedelta(milliseconds=10)
NEVER = timedelta(days=365)


@frozen
class Order:
    product: str
    quantity: int


@app.activity
def greet(name: str) -> str:
    return f"Hello {name}"


@app.activity
def double(number: int) -> int:
    return number * 2


@app.activity
def price(order: Order) -> float:
    return order.quantity * 2.5


@app.activity
def flaky(ctx: ActivityContext) -> str:
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return "at last"


@app.activity
def hopeless() -> None:
    raise ValueError("never")


@app.activity(name="versioned_activity", version="1.5")
def versioned_activity(text: str) -> str:
    return text


@app.orchestrator
def sequence(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    tokyo = yield ctx.call_activity(greet, input="Tokyo")
    seattle = yield ctx.call_activity(greet, input="Seattle")
    return [tokyo, seattle, (yield ctx.call_activity(greet, input="London"))]


@app.orchestrator
async def awaited(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.call_activity(greet, input=city) for city in ["Tokyo", "Seattle"]]


@app.orchestrator
def fan_out(ctx: OrchestrationContext) -> Orchestration[int]:
    calls = [ctx.call_activity(double, input=number) for number in range(5)]
    return sum((yield when_all(calls)))


@app.orchestrator
def mapped(ctx: OrchestrationContext) -> Orchestration[list[int]]:
    return (yield ctx.map(double, range(5), limit=2))


@app.orchestrator
def typed(ctx: OrchestrationContext, order: Order) -> Orchestration[float]:
    return (yield ctx.call_activity(price, input=order))


@app.orchestrator
def retried(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(flaky, retry_policy=TWICE))


@app.orchestrator
def given_up(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        yield ctx.call_activity(hopeless, retry_policy=TWICE)
    except TaskFailedError:
        return (yield ctx.call_activity(greet, input="nobody"))
    return "unreachable"


@app.orchestrator
def failed(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.call_activity(hopeless)


@app.orchestrator
def timer(ctx: OrchestrationContext) -> Orchestration[str]:
    yield ctx.create_timer(SOON)
    return (yield ctx.call_activity(greet, input="later"))


@app.orchestrator
def event(ctx: OrchestrationContext) -> Orchestration[str]:
    order = yield ctx.wait_for_external_event("order", data_type=Order)
    return (yield ctx.call_activity(greet, input=order.product))


@app.orchestrator
def event_or_timeout(ctx: OrchestrationContext) -> Orchestration[str]:
    approval = ctx.wait_for_external_event("approval")
    timeout = ctx.create_timer(SOON)
    winner = yield when_any(approval, timeout)
    return (yield ctx.call_activity(greet, input="late" if winner == timeout else "in time"))


@app.orchestrator
def event_with_timeout(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        yield ctx.wait_for_external_event("approval", timeout=SOON)
    except TimeoutError:
        return "timed out"
    return "approved"


@app.orchestrator
def parent(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    return (yield ctx.call_sub_orchestrator(sequence))


@app.orchestrator
def parent_of_failure(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        yield ctx.call_sub_orchestrator(failed, retry_policy=TWICE)
    except TaskFailedError:
        return "the child failed"
    return "unreachable"


@app.orchestrator
def continued(ctx: OrchestrationContext, count: int = 0) -> Orchestration[int]:
    yield ctx.call_activity(double, input=count)
    yield ctx.call_sub_orchestrator(versioned, version="1.0")
    if count < 2:
        ctx.continue_as_new(count + 1)
    return count


@app.orchestrator
def sender(ctx: OrchestrationContext) -> Orchestration[str]:
    ctx.send_event("nobody", "hello", data=1)
    return (yield ctx.call_activity(greet, input="all"))


@app.orchestrator
def patched(ctx: OrchestrationContext) -> Orchestration[str]:
    before = yield ctx.call_activity(greet, input="before")
    if ctx.patched("greet-again"):
        return (yield ctx.call_activity(greet, input="again"))
    return before


@app.orchestrator(name="unpatched")
def patched_since(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    """Recorded without the question that is here now."""
    greetings = []
    for city in ["Tokyo", "Seattle"]:
        greetings.append((yield ctx.call_activity(greet, input=city)))
        if ctx.patched("greet-twice"):
            greetings.append((yield ctx.call_activity(greet, input=city)))
    return greetings


@app.orchestrator(version="1.0")
def versioned(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(versioned_activity, input="one"))


@app.orchestrator(name="versioned", version="2.0")
def versioned_2(ctx: OrchestrationContext) -> Orchestration[str]:
    yield ctx.create_timer(SOON)
    return (yield ctx.call_activity(versioned_activity, input="two", version="1.5"))


@app.orchestrator
def status_and_ids(ctx: OrchestrationContext) -> Orchestration[str]:
    ctx.set_custom_status({"step": 1})
    greeting = yield ctx.call_activity(greet, input=ctx.new_uuid())
    ctx.set_custom_status(None)
    yield ctx.create_timer(ctx.current_utc_datetime + SOON)
    return greeting


@app.orchestrator
def unawaited(ctx: OrchestrationContext) -> Orchestration[str]:
    ctx.call_activity(greet, input="nobody waits")
    ctx.create_timer(NEVER)
    return (yield ctx.call_activity(greet, input="awaited"))


@app.orchestrator
def plain(ctx: OrchestrationContext, name: str) -> str:
    return name


@app.orchestrator
def suspended(ctx: OrchestrationContext) -> Orchestration[list[int]]:
    first = yield ctx.wait_for_external_event("number", data_type=int)
    second = yield ctx.wait_for_external_event("number", data_type=int)
    yield ctx.call_activity(double, input=second)
    return [first, second]


@app.orchestrator
def terminated(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.call_activity(greet, input="first")
    yield ctx.wait_for_external_event("nothing")


@app.orchestrator
def unfinished(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.call_activity(greet, input="first")
    yield when_any(ctx.wait_for_external_event("nothing"), ctx.create_timer(NEVER))
