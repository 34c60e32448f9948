"""Coroutines that use asyncio where only durable things will do."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from durableflow import OrchestratorError
from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import OrchestrationContext
from tests.unit.replay.histories import Bench, described, failure_of, started
from tests.unit.replay.orchestrators import hello

HERE = __file__


def run(bench: Bench, function: Callable[..., Any]) -> pb.TaskFailureDetails:
    """Make a turn on a thread like that of orchestrators, where there is no event loop."""
    with ThreadPoolExecutor(1) as thread:
        turn = thread.submit(bench.run, function, started()).result(30)
    gc.collect()  # of coroutines that nobody awaited, Python complains here
    return failure_of(turn)


async def work() -> None:
    """Do nothing."""


async def waits_for_a_lock() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    await lock.acquire()


async def enters_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work())


async def enters_a_timeout() -> None:
    async with asyncio.timeout(1):
        await work()


async def iterates_as_completed() -> None:
    for first in asyncio.as_completed([work()]):
        await first


async def awaits_two_in_a_list() -> None:
    await asyncio.wait([asyncio.ensure_future(work())])


TIMER = "use `await ctx.create_timer(…)`"
START = "what the context is asked for starts at once: keep the tasks that it returns"
JOIN = "use `await when_all([…])` or `await when_any([…])`"
PATIENCE = "use `await when_any([task, ctx.create_timer(…)])`, or `timeout=`"
SIGNAL = "use `await ctx.wait_for_external_event(…)`"

CALLS: dict[str, tuple[Callable[[], Coroutine[Any, Any, Any]], str]] = {
    "sleep": (lambda: asyncio.sleep(1), TIMER),
    "sleep_0": (lambda: asyncio.sleep(0), TIMER),
    "wait_for": (lambda: asyncio.wait_for(work(), 1), PATIENCE),
    "timeout": (enters_a_timeout, PATIENCE),
    "TaskGroup": (enters_a_group, START),
    "ensure_future": (awaits_two_in_a_list, START),
    "as_completed": (iterates_as_completed, JOIN),
    "Event": (lambda: asyncio.Event().wait(), SIGNAL),
    "Queue": (lambda: asyncio.Queue[int]().get(), SIGNAL),
    "to_thread": (lambda: asyncio.to_thread(int), "use an activity"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_asyncio_offers_is_refused_with_its_durable_counterpart(bench: Bench, name: str):
    make, words = CALLS[name]

    async def order(ctx: OrchestrationContext) -> None:
        await make()

    failure = run(bench, order)

    assert failure.errorType == "durableflow.errors.OrchestratorError"
    assert words in failure.errorMessage
    assert f"({HERE}:" in failure.errorMessage
    assert "`asyncio." in failure.errorMessage


def test_gathering_is_refused(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        await asyncio.gather(work(), work())

    line = order.__code__.co_firstlineno + 1
    assert run(bench, order).errorMessage == (
        f"an orchestrator runs on no event loop; `asyncio.gather` is not durable, {JOIN} "
        f"({HERE}:{line})"
    )


def test_gathering_tasks_of_the_context_is_refused(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        await asyncio.gather(*[ctx.call_activity(hello, input=name) for name in "ab"])

    assert JOIN in run(bench, order).errorMessage


def test_creating_a_task_is_refused(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        asyncio.create_task(work())  # noqa: RUF006 -- it is refused

    assert START in run(bench, order).errorMessage


def test_the_refusal_is_caused_by_what_asyncio_said(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        await asyncio.sleep(1)

    failure = run(bench, order)

    assert failure.innerFailure.errorMessage == "no running event loop"
    assert failure.isNonRetriable


def test_other_uses_of_a_loop_are_told_where_they_belong(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        await asyncio.get_running_loop().run_in_executor(None, int)

    assert "belongs in an activity" in run(bench, order).errorMessage


def test_a_library_that_needs_a_loop_is_told_where_it_belongs(bench: Bench):
    library: dict[str, Any] = {"__name__": "http_library", "asyncio": asyncio}
    code = compile(
        "async def get(url): await asyncio.sleep(1)", "/x/site-packages/http_library.py", "exec"
    )
    exec(code, library)

    async def order(ctx: OrchestrationContext) -> None:
        await library["get"]("http://example.com")

    message = run(bench, order).errorMessage

    assert "belongs in an activity" in message
    assert "create_timer" not in message


def test_the_errors_of_other_libraries_for_loops_are_explained(bench: Bench):
    class AsyncLibraryNotFoundError(RuntimeError):
        pass

    async def order(ctx: OrchestrationContext) -> None:
        raise AsyncLibraryNotFoundError("unknown async library, or not in async context")

    assert "an orchestrator runs on no event loop" in run(bench, order).errorMessage


def test_awaiting_a_future_of_another_loop_is_refused(bench: Bench):
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    async def order(ctx: OrchestrationContext) -> None:
        await future

    message = run(bench, order).errorMessage
    loop.close()

    assert message.startswith("you awaited Future; a Future of asyncio is lost when this process")
    assert "belongs in an activity" in message


def test_awaiting_what_cannot_be_awaited_is_told_where_it_belongs(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        pool = ThreadPoolExecutor(1)
        with pool:
            await pool.submit(int)  # type: ignore[misc] # the mistake

    failure = run(bench, order)

    assert failure.errorType == "builtins.TypeError"
    assert "belongs in an activity" in failure.errorMessage


def test_generators_that_yield_a_coroutine_of_asyncio_get_the_same_words(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield asyncio.sleep(1)

    message = run(bench, order).errorMessage

    assert message.startswith(f"you yielded coroutine; `asyncio.sleep` is not durable, {TIMER} (")


def test_the_refusal_can_be_caught(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        try:
            await asyncio.sleep(0)
        except OrchestratorError:
            await ctx.call_activity(hello, input="Ann")

    assert described(bench.run(order, started())) == ['1 hello("Ann")']


def test_helpers_that_await_durable_things_only_are_fine(bench: Bench):
    async def helper(ctx: OrchestrationContext) -> str:
        return await ctx.call_activity(hello, input="Ann")

    async def order(ctx: OrchestrationContext) -> str:
        return await helper(ctx)

    assert described(bench.run(order, started())) == ['1 hello("Ann")']


def test_an_error_whose_arguments_cannot_be_shown_is_passed_on(bench: Bench):
    class Unspeakable:
        def __str__(self) -> str:
            raise ValueError

        __repr__ = __str__

    async def order(ctx: OrchestrationContext) -> None:
        raise TypeError(Unspeakable())

    assert run(bench, order).errorType == "builtins.TypeError"
