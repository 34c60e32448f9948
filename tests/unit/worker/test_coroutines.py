from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest

from durableflow.app_loop import AppLoop
from durableflow.worker.coroutines import CoroutinePool

Job = Callable[[], Coroutine[Any, Any, None]]
SECONDS = 20


@pytest.fixture
def app_loop() -> Iterator[AppLoop]:
    loop = AppLoop()
    yield loop
    loop.close()


def pool_on(loop: AppLoop, most: int = 2) -> CoroutinePool[Job]:
    return CoroutinePool(loop.get, most=most, run=lambda job: job())


async def test_jobs_run_on_the_given_loop(app_loop: AppLoop) -> None:
    pool = pool_on(app_loop)
    here = asyncio.get_running_loop()
    seen: asyncio.Queue[asyncio.AbstractEventLoop] = asyncio.Queue()

    async def job() -> None:
        here.call_soon_threadsafe(seen.put_nowait, asyncio.get_running_loop())

    for _ in range(100):
        pool.submit(partial(job))

    async with asyncio.timeout(SECONDS):
        assert {await seen.get() for _ in range(100)} == {app_loop.get()}


async def test_no_more_run_at_once_than_allowed(app_loop: AppLoop) -> None:
    pool = pool_on(app_loop, most=2)
    here = asyncio.get_running_loop()
    started: asyncio.Queue[int] = asyncio.Queue()
    release = asyncio.Event()
    running = 0

    async def job() -> None:
        nonlocal running
        running += 1
        here.call_soon_threadsafe(started.put_nowait, running)
        await release.wait()
        running -= 1

    for _ in range(6):
        pool.submit(partial(job))

    async with asyncio.timeout(SECONDS):
        first = [await started.get() for _ in range(2)]
        assert started.empty()
        app_loop.get().call_soon_threadsafe(release.set)
        rest = [await started.get() for _ in range(4)]
    assert max(first + rest) == 2


async def test_one_after_another_runs_where_only_one_may(app_loop: AppLoop) -> None:
    pool = pool_on(app_loop, most=1)
    here = asyncio.get_running_loop()
    ended: asyncio.Queue[int] = asyncio.Queue()

    async def job(number: int) -> None:
        await asyncio.sleep(0)
        here.call_soon_threadsafe(ended.put_nowait, number)

    for number in range(3):
        pool.submit(partial(job, number))

    async with asyncio.timeout(SECONDS):
        assert [await ended.get() for _ in range(3)] == [0, 1, 2]


async def test_one_job_can_be_cancelled_and_makes_room(app_loop: AppLoop) -> None:
    pool = pool_on(app_loop, most=1)
    here = asyncio.get_running_loop()
    events: asyncio.Queue[str] = asyncio.Queue()

    async def job(name: str) -> None:
        here.call_soon_threadsafe(events.put_nowait, name)
        await asyncio.Event().wait()

    first, second = partial(job, "first"), partial(job, "second")
    pool.submit(first)
    pool.submit(second)
    async with asyncio.timeout(SECONDS):
        assert await events.get() == "first"
        pool.cancel(first)
        assert await events.get() == "second"
        await pool.cancel_all(SECONDS)


async def test_cancelling_ends_what_runs_and_drops_what_waits(app_loop: AppLoop) -> None:
    pool = pool_on(app_loop, most=1)
    here = asyncio.get_running_loop()
    events: asyncio.Queue[str] = asyncio.Queue()

    async def job() -> None:
        here.call_soon_threadsafe(events.put_nowait, "started")
        try:
            await asyncio.Event().wait()
        finally:
            here.call_soon_threadsafe(events.put_nowait, "cancelled")

    pool.submit(partial(job))
    pool.submit(partial(job))
    async with asyncio.timeout(SECONDS):
        assert await events.get() == "started"
        await pool.cancel_all(SECONDS)
        assert await events.get() == "cancelled"
    assert events.empty()


async def test_a_job_that_ignores_its_cancellation_is_not_waited_for(app_loop: AppLoop) -> None:
    pool = pool_on(app_loop)
    here = asyncio.get_running_loop()
    started, release = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        here.call_soon_threadsafe(started.set)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    pool.submit(partial(job))
    async with asyncio.timeout(SECONDS):
        await started.wait()
        await pool.cancel_all(0.01)
    app_loop.get().call_soon_threadsafe(release.set)


async def test_a_closed_loop_is_an_error_and_no_reason_to_wait() -> None:
    closed = asyncio.new_event_loop()
    closed.close()

    async def job() -> None: ...

    pool: CoroutinePool[Job] = CoroutinePool(lambda: closed, most=1, run=lambda job: job())

    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(partial(job))
    await pool.cancel_all(SECONDS)


async def test_a_loop_that_nobody_needs_is_not_asked_for() -> None:
    def loop() -> asyncio.AbstractEventLoop:
        raise AssertionError("nothing to run")

    pool: CoroutinePool[Job] = CoroutinePool(loop, most=1, run=lambda job: job())

    await pool.cancel_all(SECONDS)


class StopsAtTheThird(int):
    """A limit at which whoever compares with it for the third time is held up."""

    reached: threading.Event
    go_on: threading.Event
    times = 0

    def __gt__(self, other: object) -> bool:
        self.times += 1
        if self.times == 3:
            self.reached.set()
            assert self.go_on.wait(SECONDS)
        return True


async def test_cancelling_while_jobs_are_being_started_breaks_nothing(
    app_loop: AppLoop, caplog: pytest.LogCaptureFixture
) -> None:
    most = StopsAtTheThird()
    most.reached, most.go_on = threading.Event(), threading.Event()
    pool = pool_on(app_loop, most=most)

    async def job() -> None:
        await asyncio.Event().wait()

    for _ in range(5):
        pool.submit(partial(job))
    assert await asyncio.to_thread(most.reached.wait, SECONDS)
    cancelling = asyncio.create_task(pool.cancel_all(SECONDS))
    asyncio.get_running_loop().call_soon(most.go_on.set)

    async with asyncio.timeout(SECONDS):
        await cancelling

    assert caplog.text == ""
