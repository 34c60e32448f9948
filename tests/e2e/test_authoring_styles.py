"""Generators, coroutines and plain functions; activities of each kind; many calls with a limit."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    ActivityContext,
    ActivityTimeoutError,
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestratorError,
    TaskFailedError,
    when_all,
    when_any,
)
from tests.e2e.watching import SECONDS, output

pytestmark = pytest.mark.e2e

app = App("authoring_styles")
logger = logging.getLogger("authoring_styles")


class Gauge:
    """Counts how many run at once, and how many ever did."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


gauge = Gauge()


# Activities


@app.activity
def with_both(ctx: ActivityContext, n: int) -> int:
    return n + len(ctx.orchestration_id) * 0


@app.activity
def with_context(ctx: ActivityContext) -> str:
    return f"{ctx.name} of {ctx.orchestration_id}, call {ctx.task_id}, attempt {ctx.attempt}"


@app.activity
def with_input(n: int) -> int:
    return n + 1


@app.activity
def with_nothing() -> str:
    return "nothing"


@app.activity
async def on_the_loop(n: int) -> list[Any]:
    await asyncio.sleep(0)
    return [n, threading.current_thread().name]


@app.activity(executor="process")
def in_a_process(n: int) -> list[int]:
    return [n, os.getpid()]


@app.activity
def gauged(ctx: ActivityContext, n: int) -> int:
    with gauge:
        # The later the item the sooner it ends, so that results do not come in order.
        time.sleep(0.002 * (7 - n % 7))
        return n * n


@app.activity
def fails_at(n: int) -> int:
    if n == 5:
        raise ValueError("five is right out")
    return n


@app.activity(timeout=0.1)
async def takes_long(ctx: ActivityContext) -> None:
    await asyncio.sleep(60)


@app.activity(timeout=0.1)
def takes_long_on_a_thread(ctx: ActivityContext) -> str:
    ctx.cancel_token.wait(SECONDS)
    return "stopped"


# Orchestrators: each thing in both styles


@app.orchestrator
def chain(ctx: OrchestrationContext, n: int) -> Orchestration[int]:
    n = yield ctx.call_activity(with_both, input=n)
    n = yield from ctx.call_activity(with_input, input=n)
    return (yield ctx.call_activity("with_input", input=n, return_type=int))


@app.orchestrator
async def chain_async(ctx: OrchestrationContext, n: int) -> int:
    n = await ctx.call_activity(with_both, input=n)
    n = await ctx.call_activity(with_input, input=n)
    return await ctx.call_activity("with_input", input=n, return_type=int)


@app.orchestrator
def fan(ctx: OrchestrationContext, n: int) -> Orchestration[int]:
    first, second = yield when_all(
        ctx.call_activity(with_input, input=n), ctx.call_activity(with_both, input=n)
    )
    more = yield when_all([ctx.call_activity(with_input, input=k) for k in range(n)])
    return first + second + sum(more)


@app.orchestrator
async def fan_async(ctx: OrchestrationContext, n: int) -> int:
    first, second = await when_all(
        ctx.call_activity(with_input, input=n), ctx.call_activity(with_both, input=n)
    )
    more = await when_all([ctx.call_activity(with_input, input=k) for k in range(n)])
    return first + second + sum(more)


@app.orchestrator
def race(ctx: OrchestrationContext, n: int) -> Orchestration[list[Any]]:
    slow, quick = ctx.create_timer(60), ctx.call_activity(with_input, input=n)
    winner = yield when_any([slow, quick])
    return [winner is quick, winner.is_complete, winner.get_result(), winner.result, slow.cancel()]


@app.orchestrator
async def race_async(ctx: OrchestrationContext, n: int) -> list[Any]:
    slow, quick = ctx.create_timer(60), ctx.call_activity(with_input, input=n)
    winner = await when_any([slow, quick])
    return [winner is quick, winner.is_complete, winner.get_result(), winner.result, slow.cancel()]


@app.orchestrator
def catch(ctx: OrchestrationContext, n: int) -> Orchestration[list[Any]]:
    try:
        yield ctx.call_activity(fails_at, input=5)
    except TaskFailedError as error:
        failed = ctx.call_activity(fails_at, input=5)
        yield when_any([failed])
        return [error.details.message, failed.is_failed, failed.get_exception().details.message]
    return []


@app.orchestrator
async def catch_async(ctx: OrchestrationContext, n: int) -> list[Any]:
    try:
        await ctx.call_activity(fails_at, input=5)
    except TaskFailedError as error:
        failed = ctx.call_activity(fails_at, input=5)
        await when_any([failed])
        exception: Any = failed.get_exception()
        return [error.details.message, failed.is_failed, exception.details.message]
    return []


@app.orchestrator
def map_(ctx: OrchestrationContext, n: int) -> Orchestration[list[int]]:
    return (yield ctx.map(gauged, range(n), limit=3))


@app.orchestrator
async def map_async(ctx: OrchestrationContext, n: int) -> list[int]:
    return await ctx.map(gauged, range(n), limit=3)


def helper(ctx: OrchestrationContext, n: int) -> Orchestration[int]:
    return (yield ctx.call_activity(with_input, input=n))


async def helper_async(ctx: OrchestrationContext, n: int) -> int:
    return await ctx.call_activity(with_input, input=n)


@app.orchestrator
def helped(ctx: OrchestrationContext, n: int) -> Orchestration[int]:
    return (yield from helper(ctx, (yield from helper(ctx, n))))


@app.orchestrator
async def helped_async(ctx: OrchestrationContext, n: int) -> int:
    return await helper_async(ctx, await helper_async(ctx, n))


@app.orchestrator
def empty(ctx: OrchestrationContext, n: int) -> Orchestration[list[Any]]:
    nothing = yield when_all([])
    nobody = yield ctx.map(with_input, [])
    return [nothing, nobody]


@app.orchestrator
async def empty_async(ctx: OrchestrationContext, n: int) -> list[Any]:
    return [await when_all([]), await ctx.map(with_input, [])]


@app.orchestrator
def at_once(ctx: OrchestrationContext) -> str:
    return f"{ctx.name} never waits"


# Others


@app.orchestrator
async def each_kind(ctx: OrchestrationContext) -> list[Any]:
    return [
        await ctx.call_activity(with_both, input=1),
        await ctx.call_activity(with_context),
        await ctx.call_activity(with_input, input=1),
        await ctx.call_activity(with_nothing),
        await ctx.call_activity(on_the_loop, input=1),
        await ctx.call_activity(in_a_process, input=1),
    ]


@app.orchestrator
async def maps_a_failure(ctx: OrchestrationContext) -> list[int]:
    return await ctx.map(fails_at, range(100), limit=2)


@app.orchestrator
async def waits_too_long(ctx: OrchestrationContext, on_a_thread: bool) -> list[Any]:
    try:
        await ctx.call_activity(takes_long_on_a_thread if on_a_thread else takes_long)
    except TaskFailedError as error:
        return [error.details.is_caused_by(ActivityTimeoutError), error.details.message]
    return [False, "in time"]


@app.orchestrator
async def knows_itself(ctx: OrchestrationContext) -> list[Any]:
    log = ctx.create_replay_safe_logger(logger)
    log.info("begin")
    first = [ctx.new_uuid(), ctx.current_utc_datetime]
    await ctx.create_timer(0)
    log.info("go on")
    await ctx.call_activity(with_nothing)
    log.info("end")
    return [ctx.instance_id, ctx.name, ctx.parent_instance_id, ctx.version, *first]


@app.orchestrator
async def sleeps(ctx: OrchestrationContext) -> None:
    await asyncio.sleep(1)


@app.orchestrator
async def creates_a_task(ctx: OrchestrationContext) -> None:
    await asyncio.create_task(asyncio.sleep(0))


@app.orchestrator
async def gathers(ctx: OrchestrationContext) -> None:
    await asyncio.gather(helper_async(ctx, 1), helper_async(ctx, 2))


@app.orchestrator
async def opens_a_connection(ctx: OrchestrationContext) -> None:
    await asyncio.open_connection("127.0.0.1", 9)


@app.orchestrator
async def runs_on_a_thread(ctx: OrchestrationContext) -> None:
    await asyncio.to_thread(Path.cwd)


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


@pytest.mark.parametrize(
    ("orchestrator", "expected"),
    [
        (chain, 6),
        (chain_async, 6),
        (fan, 5 + 4 + 1 + 2 + 3 + 4),
        (fan_async, 5 + 4 + 1 + 2 + 3 + 4),
        (race, [True, True, 5, 5, True]),
        (race_async, [True, True, 5, 5, True]),
        (catch, ["five is right out", True, "five is right out"]),
        (catch_async, ["five is right out", True, "five is right out"]),
        (map_, [0, 1, 4, 9]),
        (map_async, [0, 1, 4, 9]),
        (helped, 6),
        (helped_async, 6),
        (empty, [[], []]),
        (empty_async, [[], []]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_both_styles_do_the_same(client: Client, orchestrator: Any, expected: Any):
    assert client.run_orchestration(orchestrator, input=4, timeout=SECONDS) == expected


def test_a_plain_function_is_an_orchestrator_too(client: Client):
    assert client.run_orchestration(at_once, timeout=SECONDS) == "at_once never waits"


def test_activities_take_context_and_input_or_leave_them_out(client: Client):
    instance = client.schedule_new_orchestration(each_kind)

    both, context, plain, nothing, coroutine, process = output(client, instance)

    assert (both, plain, nothing) == (1, 2, "nothing")
    assert context == f"with_context of {instance}, call 2, attempt 1"
    assert coroutine[0] == process[0] == 1
    assert process[1] != os.getpid()


@pytest.mark.parametrize("orchestrator", [map_, map_async])
def test_a_map_keeps_the_order_and_the_limit(client: Client, orchestrator: Any):
    gauge.most = 0

    results = client.run_orchestration(orchestrator, input=50, timeout=SECONDS)

    assert results == [n * n for n in range(50)]
    assert 1 <= gauge.most <= 3


def test_a_map_fails_with_the_item_that_failed_and_calls_no_more(client: Client):
    instance = client.schedule_new_orchestration(maps_a_failure)

    with pytest.raises(OrchestrationFailedError, match="item 5 of 100"):
        output(client, instance)

    history = client.get_orchestration_history(instance)
    assert sum(event.kind == "task_scheduled" for event in history) < 10


@pytest.mark.parametrize("on_a_thread", [False, True])
def test_an_activity_that_takes_too_long_fails(client: Client, on_a_thread: bool):
    is_timeout, message = client.run_orchestration(
        waits_too_long, input=on_a_thread, timeout=SECONDS
    )

    assert is_timeout
    assert "0.1" in message


def test_an_orchestrator_knows_itself_and_logs_once(
    client: Client, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger.name)
    instance = client.schedule_new_orchestration(knows_itself, version="1.5", tags={"a": "b"})

    state = client.wait_for_orchestration_completion(instance, timeout=SECONDS)
    instance_id, name, parent, version, uuid, now = state.get_output(list[Any])

    assert [instance_id, name, parent, version] == [instance, "knows_itself", None, "1.5"]
    assert len(uuid) == 36
    assert now.startswith(f"{state.created_at:%Y-%m-%d}")
    assert dict(state.tags) == {"a": "b"}
    assert [r.getMessage() for r in caplog.records if r.name == logger.name] == [
        "begin",
        "go on",
        "end",
    ]


@pytest.mark.parametrize(
    ("orchestrator", "words"),
    [
        (sleeps, "await ctx.create_timer"),
        (creates_a_task, "what the context is asked for starts at once"),
        (gathers, "when_all"),
        (opens_a_connection, "belongs in an activity"),
        (runs_on_a_thread, "use an activity"),
    ],
)
def test_what_is_not_durable_is_refused_with_what_to_use(
    client: Client, orchestrator: Any, words: str
):
    with pytest.raises(OrchestrationFailedError, match=words) as caught:
        client.run_orchestration(orchestrator, timeout=SECONDS)

    assert caught.value.details is not None
    assert caught.value.details.is_caused_by(OrchestratorError)
    assert Path(__file__).name in str(caught.value)


async def test_async_activities_run_on_the_callers_loop(tmp_path: Path):
    other = App("loops", task_hub=f"sqlite:///{tmp_path / 'hub.db'}")
    loops: list[object] = []

    @other.activity
    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    @other.orchestrator
    async def orchestrate(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(note)

    async with other.running() as client:
        await client.run_orchestration(orchestrate, timeout=SECONDS)

    assert loops == [asyncio.get_running_loop()]
