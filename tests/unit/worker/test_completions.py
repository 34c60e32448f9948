from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from durableflow.errors import CallError
from durableflow.hub.backoff import Backoff
from durableflow.protocol.status import Status
from durableflow.worker.completions import Completions

AT_ONCE = Backoff(first_seconds=0, limit_seconds=0)


class Bench:
    def __init__(self) -> None:
        self.attempts = 0
        self.answered = asyncio.Event()
        self.done = asyncio.Event()
        self.completions = Completions(self.answered.set, backoff=AT_ONCE)

    def call_that(self, *outcomes: BaseException | None) -> Callable[[], Coroutine[Any, Any, None]]:
        left = list(outcomes)

        async def call() -> None:
            self.attempts += 1
            outcome = left.pop(0)
            if outcome is not None:
                raise outcome

        return call

    async def send(self, *outcomes: BaseException | None) -> None:
        self.completions.send(self.call_that(*outcomes), self.done.set)
        async with asyncio.timeout(20):
            await self.answered.wait()


@pytest.mark.parametrize(
    "status",
    [
        Status.UNAVAILABLE,
        Status.DEADLINE_EXCEEDED,
        Status.RESOURCE_EXHAUSTED,
        Status.ABORTED,
        Status.CANCELLED,
        Status.INTERNAL,
    ],
)
async def test_a_result_is_sent_again_until_it_is_accepted(status: Status) -> None:
    bench = Bench()

    await bench.send(CallError(status, "away"), CallError(status, "away"), None)

    assert bench.attempts == 3
    assert bench.done.is_set()
    assert bench.completions.outstanding == 0


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.NOT_FOUND, Status.UNIMPLEMENTED])
async def test_a_result_that_nobody_wants_is_not_sent_again(status: Status) -> None:
    bench = Bench()

    await bench.send(CallError(status, "unknown instance ID/task ID combo"))

    assert bench.attempts == 1
    assert bench.done.is_set()


async def test_a_defect_is_logged_and_leaves_nothing_outstanding(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()

    await bench.send(ZeroDivisionError("a defect"))

    assert "could not be sent" in caplog.text
    assert "a defect" in caplog.text
    assert bench.completions.outstanding == 0


async def test_what_is_given_up_is_not_outstanding() -> None:
    bench = Bench()
    blocked = asyncio.Event()

    async def call() -> None:
        blocked.set()
        await asyncio.Event().wait()

    bench.completions.send(call, bench.done.set)
    async with asyncio.timeout(20):
        await blocked.wait()
        assert bench.completions.outstanding == 1
        bench.completions.cancel()
        await bench.answered.wait()

    assert bench.done.is_set()
    assert bench.completions.outstanding == 0


async def test_nothing_is_said_loudly_about_a_single_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()

    with caplog.at_level(logging.WARNING):
        await bench.send(CallError(Status.UNAVAILABLE, "away"), None)

    assert not caplog.records
