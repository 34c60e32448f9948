"""Programs that type checkers refuse: each line marked `# E` is reported, and no other line."""

from __future__ import annotations

from datetime import timedelta

from accepted import Order, coroutine, generator, no_input, place, send

from durableflow import (
    ActivityContext,
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    RetryPolicy,
    when_all,
)

app = App("rejected")


async def calls(ctx: OrchestrationContext, client: Client) -> None:
    await ctx.call_activity(place, input="no")  # E: wrong input, async activity
    await ctx.call_activity(send, input="no")  # E: wrong input
    await ctx.call_activity(send)  # E: missing input
    await ctx.call_activity(place)  # E: missing input, async activity
    await ctx.call_activity(no_input, input=3)  # E: input to an activity that takes none
    await ctx.call_activity(generator, input=Order(1))  # E: orchestrator as activity
    ctx.call_sub_orchestrator(generator, input=3)  # E: wrong input
    ctx.call_sub_orchestrator(coroutine, input=3)  # E: wrong input, coroutine
    ctx.call_sub_orchestrator(generator)  # E: missing input
    ctx.call_sub_orchestrator(generator, Order(1))  # E: positional input
    ctx.call_sub_orchestrator(send, input=Order(1))  # E: activity as orchestrator
    ctx.call_sub_orchestrator(generator, input=Order(1), tags={"a": 1})  # E: tags are text
    ctx.map(place, ["no"])  # E: wrong item
    ctx.map(no_input, [1])  # E: items for an activity that takes none
    ctx.map(place, [Order(1)], limit="2")  # E: a limit is a number
    ctx.send_event("another", 5)  # E: names are text
    RetryPolicy(first_retry_interval=1, max_number_of_attempts=2, retry_on=5)  # E: not a type
    client.schedule_new_orchestration(generator, input=3)  # E: wrong input
    client.schedule_new_orchestration(coroutine, input=3)  # E: wrong input, coroutine
    client.schedule_new_orchestration(generator)  # E: missing input
    client.schedule_new_orchestration(generator, Order(1))  # E: positional input
    client.schedule_new_orchestration(send, input=Order(1))  # E: activity as orchestrator
    when_all([1, 2])  # E: no tasks
    number: int = await ctx.call_activity(no_input)  # E: wrong result


@app.activity  # E: three parameters
def too_many(ctx: ActivityContext, a: int, b: int) -> None: ...


@app.activity  # E: the context of an orchestrator
def wrong_context(ctx: OrchestrationContext, a: int) -> None: ...


@app.orchestrator("1.0")  # E: positional version
def positional_version(ctx: OrchestrationContext, a: int) -> Orchestration[int]:
    yield ctx.create_timer(timedelta(1))
    return 1


@app.orchestrator  # E: the context of an activity
async def wrong_context_too(ctx: ActivityContext, a: int) -> int:
    return 1


@app.orchestrator
def no_task(ctx: OrchestrationContext, a: int) -> Orchestration[int]:
    yield 3  # E: not a task
    return 1


@app.orchestrator
def await_in_generator(ctx: OrchestrationContext, a: int) -> Orchestration[int]:
    await ctx.create_timer(timedelta(1))  # E: await in a generator
    yield ctx.create_timer(timedelta(1))
    return 1


@app.orchestrator
def wrong_return(ctx: OrchestrationContext, a: int) -> Orchestration[int]:
    yield ctx.create_timer(timedelta(1))
    return "x"  # E: not the declared result
