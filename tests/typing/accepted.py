"""Programs that mypy --strict and pyright accept.  Checked, never run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from durableflow import (
    ActivityContext,
    App,
    Blueprint,
    FailureDetails,
    InstanceId,
    Orchestration,
    OrchestrationContext,
    RetryPolicy,
    Task,
    when_all,
    when_any,
)

app = App("orders")
bp = Blueprint("more")


@dataclass(frozen=True)
class Order:
    cost: float


@dataclass(frozen=True)
class Approval:
    approver: str


# Activities: with and without context, input and default; plain and async; bare and called.


@app.activity
def send(ctx: ActivityContext, order: Order) -> None: ...


@app.activity(
    retry_policy=RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=5)
)
async def place(ctx: ActivityContext, order: Order) -> int:
    return 1


@bp.activity
def no_input(ctx: ActivityContext) -> list[str]:
    return []


@app.activity(timeout=timedelta(minutes=5), executor="process")
def crunch(number: int) -> int:
    return number


@bp.activity(name="another_name", version="2", timeout=2.5)
async def no_input_async(ctx: ActivityContext) -> list[str]:
    return []


@app.activity
def ignored(ctx: ActivityContext, _: None) -> str:
    return ""


@app.activity
def ignored_any(ctx: ActivityContext, _: Any) -> str:
    return ""


@app.activity
def defaulted(ctx: ActivityContext, n: int = 3) -> str:
    return ""


@app.activity
def total(ctx: ActivityContext, numbers: list[float]) -> float:
    return 0


@app.activity
def total_of_groups(ctx: ActivityContext, groups: dict[str, list[int]]) -> float:
    return 0


@app.activity
def optional(ctx: ActivityContext, text: str | None) -> float:
    return 0


@app.activity
def sequence(ctx: ActivityContext, numbers: Sequence[float]) -> str:
    return ""


@app.activity
async def no_context(n: int) -> str:
    return ""


@app.activity
def nothing() -> int:
    return 1


# Orchestrators: generators, coroutines, plain functions.


@app.orchestrator(version="1.0.0")
def generator(ctx: OrchestrationContext, order: Order) -> Orchestration[str]:
    yielded = yield ctx.call_activity(place, input=order)
    assert_type(yielded, Any)
    typed = yield from ctx.call_activity(place, input=order)
    assert_type(typed, int)
    approval = ctx.wait_for_external_event("approval", data_type=Approval)
    timeout = ctx.create_timer(timedelta(hours=1))
    winner = yield when_any([approval, timeout])
    if winner == timeout:
        return "Canceled"
    listed = yield from when_any([approval, timeout])
    separate = yield from when_any(approval, timeout)
    assert_type(separate, Task[Approval] | Task[None])
    if listed == timeout or listed is timeout:
        return "Canceled"
    return approval.get_result().approver


@app.orchestrator
def generator_without_input(ctx: OrchestrationContext) -> Orchestration[str]:
    texts = yield from ctx.call_activity(no_input)
    return texts[0]


@app.orchestrator
def spelt_out(ctx: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, str]:
    yield ctx.call_activity(no_input)
    return ""


@app.orchestrator
def plain(ctx: OrchestrationContext, n: int) -> int:
    return n


@app.orchestrator
async def coroutine(ctx: OrchestrationContext, order: Order) -> int:
    assert_type(await ctx.call_activity(place, input=order), int)
    # mypy would rather not see the value of a call that returns None.
    await ctx.call_activity(send, input=order)
    assert_type(ctx.call_activity(send, input=order), Task[None])
    assert_type(await ctx.call_activity(no_input), list[str])
    assert_type(await ctx.call_activity(no_input_async), list[str])
    assert_type(await ctx.call_activity(ignored), str)
    assert_type(await ctx.call_activity(ignored_any), str)
    assert_type(await ctx.call_activity(defaulted), str)
    assert_type(await ctx.call_activity(defaulted, input=3), str)
    assert_type(await ctx.call_activity(total, input=[]), float)
    assert_type(await ctx.call_activity(total, input=[1, 2]), float)
    assert_type(await ctx.call_activity(total_of_groups, input={"a": []}), float)
    assert_type(await ctx.call_activity(optional, input=None), float)
    assert_type(await ctx.call_activity(optional, input="x"), float)
    assert_type(await ctx.call_activity(optional), float)
    assert_type(await ctx.call_activity(sequence, input=[1, 2]), str)
    assert_type(await ctx.call_activity(no_context, input=2), str)
    assert_type(await ctx.call_activity(nothing), int)
    assert_type(await ctx.call_activity("by_name", input=3, return_type=int), int)
    assert_type(await ctx.call_activity("by_name", input=3), Any)
    return 3


@app.orchestrator
async def children(ctx: OrchestrationContext, order: Order) -> None:
    assert_type(await ctx.call_sub_orchestrator(generator, input=order), str)
    assert_type(await ctx.call_sub_orchestrator(generator_without_input), str)
    assert_type(await ctx.call_sub_orchestrator(spelt_out), str)
    assert_type(await ctx.call_sub_orchestrator(coroutine, input=order), int)
    assert_type(await ctx.call_sub_orchestrator(plain, input=2), int)
    assert_type(await ctx.call_sub_orchestrator("by_name", input=2), Any)
    assert_type(await ctx.call_sub_orchestrator("by_name", return_type=int), int)
    child = ctx.call_sub_orchestrator(
        coroutine,
        input=order,
        instance_id="child",
        version="2",
        retry_policy=RetryPolicy(first_retry_interval=1, max_number_of_attempts=2),
        tags={"team": "a"},
    )
    assert_type(child, Task[int])


@app.orchestrator
async def maps(ctx: OrchestrationContext) -> None:
    assert_type(await ctx.map(place, [Order(1), Order(2)], limit=5), list[int])
    assert_type(await ctx.map(total, [[1, 2], []]), list[float])
    assert_type(await ctx.map(no_context, (n for n in range(3))), list[str])
    assert_type(await ctx.map("by_name", [1, 2], return_type=int), list[int])
    assert_type(await ctx.map("by_name", [1, 2]), list[Any])


def retries(failure: FailureDetails) -> bool:
    return failure.is_caused_by(OSError)


policies = [
    RetryPolicy(first_retry_interval=1, max_number_of_attempts=2, jitter=0.5, retry_on=retries),
    RetryPolicy(first_retry_interval=1, max_number_of_attempts=2, retry_on=OSError),
    RetryPolicy(first_retry_interval=1, max_number_of_attempts=2, retry_on=(OSError, "a.B")),
]


@app.orchestrator
def rounds(ctx: OrchestrationContext, n: int) -> Orchestration[None]:
    typed = yield from ctx.wait_for_external_event("a", data_type=Approval, timeout=5)
    assert_type(typed, Approval)
    untyped = yield from ctx.wait_for_external_event("a", timeout=timedelta(hours=1))
    assert_type(untyped, Any)
    ctx.send_event("another", "a", data=typed)
    ctx.continue_as_new(n + 1, save_events=False, new_version="2")


@app.orchestrator
async def joins(ctx: OrchestrationContext, order: Order) -> None:
    number, texts = await when_all(
        ctx.call_activity(place, input=order), ctx.call_activity(no_input)
    )
    assert_type(number, int)
    assert_type(texts, list[str])
    numbers = await when_all([ctx.call_activity(place, input=order) for _ in range(3)])
    assert_type(numbers, list[int])
    from_tuple = await when_all(tuple(ctx.call_activity(place, input=order) for _ in range(3)))
    assert_type(from_tuple, list[int])
    first = await when_any([ctx.call_activity(place, input=order), ctx.call_activity(nothing)])
    assert_type(first, Task[int])


# Clients, and what comes back.


def main() -> None:
    with app.client() as client:
        assert_type(client.run_orchestration(generator, input=Order(1)), str)
        assert_type(client.run_orchestration(generator_without_input), str)
        assert_type(client.run_orchestration(coroutine, input=Order(1)), int)
        started = client.schedule_new_orchestration(generator, input=Order(1))
        assert_type(started, InstanceId[str])
        text: str = started
        assert_type(client.wait_for_orchestration_completion(started).get_output(), str)
        assert_type(client.wait_for_orchestration_completion("abc").get_output(), Any)
        assert_type(client.wait_for_orchestration_completion(text).get_output(int), int)
        assert_type(client.schedule_new_orchestration(coroutine, input=Order(1)), InstanceId[int])
        assert_type(client.schedule_new_orchestration(plain, input=1), InstanceId[int])
        assert_type(client.schedule_new_orchestration(generator_without_input), InstanceId[str])
        assert_type(client.schedule_new_orchestration(spelt_out), InstanceId[str])
        assert_type(client.schedule_new_orchestration("by_name", input=2), InstanceId[Any])


async def async_main() -> None:
    async with app.running() as client:
        started = await client.schedule_new_orchestration(generator, input=Order(1))
        assert_type(started, InstanceId[str])
        state = await client.wait_for_orchestration_completion(started)
        assert_type(state.get_output(), str)


# Decorated functions keep their types.

decorated: Callable[[ActivityContext, Order], None] = send
decorated_orchestrator: Callable[[OrchestrationContext, Order], Orchestration[str]] = generator
