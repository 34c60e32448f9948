"""How activities end: in time, too late, or because nobody waits for them any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from durableflow.errors import CallError
from durableflow.protocol.status import Status
from durableflow.worker import ActivityContext
from tests.unit.worker.bench import SECONDS, Bench, Gate
from tests.unit.worker.hub import activity_item

TIMED_OUT = "durableflow.errors.ActivityTimeoutError"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


async def test_an_activity_that_runs_for_too_long_has_failed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    def work() -> str:
        gate.block()
        return "too late"

    bench.registry.add_activity(work, timeout=0.02)
    await bench.start()
    await bench.push(activity_item("work"))

    (answer,) = await bench.answers()

    assert answer.failureDetails.errorType == TIMED_OUT
    assert "its timeout of 0.02 s" in answer.failureDetails.errorMessage
    assert not answer.failureDetails.isNonRetriable
    assert "threads cannot be stopped" in caplog.text
    gate.opened.set()


async def test_what_a_late_activity_returns_no_longer_counts(bench: Bench) -> None:
    gate, ended = Gate(), threading.Event()

    def work() -> str:
        gate.block()
        ended.set()
        return "too late"

    bench.registry.add_activity(work, timeout=0.02)
    await bench.start()
    await bench.push(activity_item("work", token="t1"))
    await bench.answers()

    gate.opened.set()
    assert await asyncio.to_thread(ended.wait, SECONDS)
    await bench.push(activity_item("unknown", token="t2", task_id=2))
    await bench.answers(2)
    await bench.drain()

    assert [answer.completionToken for answer in bench.hub.completed] == ["t1", "t2"]


async def test_an_activity_in_time_is_not_disturbed_by_its_timeout(bench: Bench) -> None:
    def work(ctx: ActivityContext) -> bool:
        return ctx.cancelled

    bench.registry.add_activity(work, timeout=3600)
    await bench.start()
    await bench.push(activity_item("work"))

    (answer,) = await bench.answers()

    assert answer.result.value == "false"


async def test_a_thread_that_hangs_holds_up_no_other_activity(bench: Bench) -> None:
    gate = Gate()

    def hang() -> None:
        gate.block()

    def work() -> str:
        return "done"

    bench.settings["max_concurrent_activities"] = 1
    bench.registry.add_activity(hang, timeout=0.02)
    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("hang"), activity_item("work", task_id=2))

    answers = await bench.answers(2)

    assert answers[0].failureDetails.errorType == TIMED_OUT
    assert answers[1].result.value == '"done"'
    gate.opened.set()


async def test_the_time_that_an_activity_waits_for_its_turn_is_not_counted(bench: Bench) -> None:
    def hang(ctx: ActivityContext) -> None:
        ctx.cancel_token.wait(SECONDS)

    def work() -> str:
        return "done"

    bench.settings["max_concurrent_activities"] = 1
    bench.registry.add_activity(hang, timeout=0.2)
    bench.registry.add_activity(work, timeout=0.2)
    await bench.start()
    await bench.push(activity_item("hang"), activity_item("work", task_id=2))

    answers = await bench.answers(2)

    assert [answer.result.value for answer in answers] == ["", '"done"']


async def test_an_async_activity_that_runs_for_too_long_is_cancelled(bench: Bench) -> None:
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    bench.registry.add_activity(work, timeout=0.02)
    await bench.start()
    await bench.push(activity_item("work"))

    (answer,) = await bench.answers()

    assert answer.failureDetails.errorType == TIMED_OUT
    assert await asyncio.to_thread(cancelled.wait, SECONDS)


async def test_a_late_activity_learns_that_it_may_stop(bench: Bench) -> None:
    reasons: list[str | None] = []
    ended = threading.Event()

    def work(ctx: ActivityContext) -> None:
        ctx.cancel_token.wait(SECONDS)
        reasons.append(ctx.cancel_token.reason)
        ended.set()

    bench.registry.add_activity(work, timeout=0.02)
    await bench.start()
    await bench.push(activity_item("work"))

    assert await asyncio.to_thread(ended.wait, SECONDS)
    assert "timeout of 0.02 s" in str(reasons[0])


async def test_an_activity_learns_that_the_time_for_draining_is_up(bench: Bench) -> None:
    gate = Gate()
    told = threading.Event()

    def work(ctx: ActivityContext) -> None:
        gate.entered.set()
        if ctx.cancel_token.wait(SECONDS):
            told.set()

    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work"))
    await gate.wait_entered()

    await bench.drain(0)

    assert await asyncio.to_thread(told.wait, SECONDS)
    assert bench.hub.abandoned == [("t1", {})]
    assert not bench.hub.completed


async def test_an_activity_that_heeds_a_lost_lease_runs_again(bench: Bench) -> None:
    gate = Gate()

    def work(ctx: ActivityContext) -> str:
        if not gate.entered.is_set():
            gate.entered.set()
            ctx.cancel_token.wait(SECONDS)
            ctx.cancel_token.raise_if_set()
        return "done"

    bench.lease_seconds = 0.02
    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work", token="first"))
    await gate.wait_entered()

    await bench.lose_stream()
    assert await bench.abandons() == [("first", {})]
    await bench.restore_stream()
    await bench.push(activity_item("work", token="second"))

    (answer,) = await bench.answers()
    assert (answer.completionToken, answer.result.value) == ("second", '"done"')


async def test_what_an_activity_returns_in_spite_of_a_lost_lease_counts(bench: Bench) -> None:
    gate = Gate()

    def work(ctx: ActivityContext) -> bool:
        gate.entered.set()
        return ctx.cancel_token.wait(SECONDS)

    bench.lease_seconds = 0.02
    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work"))
    await gate.wait_entered()

    await bench.lose_stream()

    (answer,) = await bench.answers()
    assert answer.result.value == "true"


async def test_a_stream_that_comes_back_in_time_disturbs_no_activity(bench: Bench) -> None:
    gate = Gate()

    def work(ctx: ActivityContext) -> bool:
        gate.block()
        return ctx.cancelled

    bench.lease_seconds = 3600
    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work", token="first"))
    await gate.wait_entered()

    await bench.fail_stream()
    await bench.push(activity_item("work", token="second"))
    await bench.push(activity_item("unknown", token="after", task_id=2))
    await bench.answers()
    gate.opened.set()

    answers = await bench.answers(2)
    assert (answers[1].completionToken, answers[1].result.value) == ("second", "false")


TOO_LARGE = "durableflow.errors.PayloadTooLargeError"
LARGER_THAN_MAX = CallError(
    Status.RESOURCE_EXHAUSTED, "Received message larger than max (5000 vs. 4096)"
)


async def test_a_result_that_is_too_large_fails_that_activity_for_good(bench: Bench) -> None:
    def work() -> str:
        return "x" * 2000

    bench.settings["max_payload_bytes"] = 1024
    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work"))

    (answer,) = await bench.answers()

    assert answer.failureDetails.errorType == TOO_LARGE
    assert "result of activity 'work' is too large: 2,002 bytes" in (
        answer.failureDetails.errorMessage
    )
    assert answer.failureDetails.isNonRetriable


async def test_a_result_that_is_too_large_for_the_engine_is_sent_once(bench: Bench) -> None:
    def work() -> str:
        return "x" * 5000

    bench.registry.add_activity(work)
    await bench.start()
    bench.hub.failures["complete_activity_task"] = [LARGER_THAN_MAX]
    await bench.push(activity_item("work"))

    (answer,) = await bench.answers()

    assert answer.failureDetails.errorType == TOO_LARGE
    assert "too large for the engine: 5,002 bytes" in answer.failureDetails.errorMessage
    assert "5000 vs. 4096" in answer.failureDetails.errorMessage
    assert answer.completionToken == "t1"
