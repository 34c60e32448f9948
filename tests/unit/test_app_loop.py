"""The loop of an app's coroutines, and what hangs on it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Iterator

import pytest

from durableflow.app_loop import AppLoop

SECONDS = 20


@pytest.fixture
def loop() -> Iterator[AppLoop]:
    made = AppLoop(patience_seconds=0.1)
    yield made
    made.close()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_what_coroutines_give_to_threads_comes_back(loop: AppLoop):
    name = contextvars.ContextVar("name", default="nobody")

    def greet(greeting: str) -> str:
        assert threading.current_thread().daemon
        return f"{greeting} {name.get()}"

    async def work() -> list[str]:
        name.set("Ann")
        return await asyncio.gather(*(asyncio.to_thread(greet, "Hello") for _ in range(100)))

    assert loop.run(work()) == ["Hello Ann"] * 100


def test_what_a_thread_raises_comes_back_too(loop: AppLoop):
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loop.run(asyncio.to_thread(fail))


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_wants_to_end_the_program_ends_alone(
    loop: AppLoop, caplog: pytest.LogCaptureFixture, error: type[BaseException]
):
    async def fail() -> None:
        raise error

    async def work() -> str:
        with contextlib.suppress(error):
            await asyncio.create_task(fail())
        return "done"

    assert loop.run(work()) == "done"
    assert "only the task has ended" in caplog.text


def test_what_still_runs_is_cancelled_at_the_end(loop: AppLoop):
    begun, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
            raise SystemExit

    asyncio.run_coroutine_threadsafe(work(), loop.get())
    assert begun.wait(SECONDS)

    loop.close()

    assert cancelled.is_set()


def test_a_thread_that_hangs_does_not_hold_up_the_end(loop: AppLoop, released: threading.Event):
    hanging = threading.Event()

    def hang() -> None:
        hanging.set()
        released.wait(SECONDS)

    asyncio.run_coroutine_threadsafe(asyncio.to_thread(hang), loop.get())
    assert hanging.wait(SECONDS)

    loop.close()

    assert not released.is_set()


def test_a_coroutine_that_blocks_the_loop_is_left_behind(
    loop: AppLoop, released: threading.Event, caplog: pytest.LogCaptureFixture
):
    hanging = threading.Event()

    async def hang() -> None:
        hanging.set()
        released.wait(SECONDS)

    asyncio.run_coroutine_threadsafe(hang(), loop.get())
    assert hanging.wait(SECONDS)

    assert not loop.responds()
    loop.close()

    assert "they are left behind" in caplog.text
    assert "released.wait(SECONDS)" in caplog.text


def test_a_coroutine_that_ignores_its_cancellation_is_left_behind(
    loop: AppLoop, caplog: pytest.LogCaptureFixture
):
    hanging, released = threading.Event(), asyncio.Event()

    async def hang() -> None:
        hanging.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async def work() -> None:
        await hang()

    running = loop.get()
    asyncio.run_coroutine_threadsafe(work(), running)
    assert hanging.wait(SECONDS)

    assert loop.responds()
    loop.close()

    assert "they are left behind" in caplog.text
    assert "await released.wait()" in caplog.text
    running.call_soon_threadsafe(released.set)


def test_a_loop_that_was_closed_starts_again(loop: AppLoop):
    async def work() -> str:
        return "done"

    assert loop.run(work()) == "done"
    loop.close()
    assert loop.current is None

    assert loop.run(work()) == "done"
