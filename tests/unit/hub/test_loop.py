"""The hub loop: one thread while somebody holds it, and none after."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator

import pytest

from durableflow.errors import UsageError
from durableflow.hub.loop import HubLoop, await_on

DEADLINE_SECONDS = 10


@pytest.fixture
def hub_loop() -> Iterator[HubLoop]:
    loop = HubLoop.acquire()
    yield loop
    loop.release()


def hub_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "durableflow-hub"]


async def thread_id() -> int:
    return threading.get_ident()


def test_all_holders_share_one_thread_which_ends_with_the_last() -> None:
    first, second = HubLoop.acquire(), HubLoop.acquire()
    shared = len(hub_threads())

    first.release()
    still_there = len(hub_threads())
    second.release()

    assert (shared, still_there, len(hub_threads())) == (1, 1, 0)


def test_a_released_loop_can_be_acquired_again() -> None:
    HubLoop.acquire().release()
    again = HubLoop.acquire()

    assert again.run(asyncio.sleep(0, "alive"), DEADLINE_SECONDS) == "alive"
    again.release()


def test_a_coroutine_runs_on_the_hub_thread_and_its_result_comes_back(hub_loop: HubLoop) -> None:
    assert hub_loop.run(thread_id()) == hub_threads()[0].ident


def test_an_exception_comes_back_as_it_is(hub_loop: HubLoop) -> None:
    async def fail() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        hub_loop.run(fail())


def test_a_timeout_cancels_the_coroutine(hub_loop: HubLoop) -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        hub_loop.run(hang(), 0.01)

    assert cancelled.wait(DEADLINE_SECONDS)


def test_the_last_release_cancels_what_still_runs() -> None:
    loop = HubLoop.acquire()
    begun, cancelled = threading.Event(), threading.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    loop.submit(hang())
    begun.wait(DEADLINE_SECONDS)
    loop.release()

    assert cancelled.is_set()


def test_what_misses_its_cancellation_at_the_end_is_cancelled_again() -> None:
    loop = HubLoop.acquire()
    begun, missed, cancelled = (threading.Event() for _ in range(3))

    async def hang() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        missed.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    loop.submit(hang())
    begun.wait(DEADLINE_SECONDS)
    loop.release()

    assert (missed.is_set(), cancelled.is_set(), hub_threads()) == (True, True, [])


def test_what_is_begun_at_the_end_is_cancelled_too() -> None:
    loop = HubLoop.acquire()
    begun, cancelled = threading.Event(), threading.Event()
    later: list[asyncio.Task[None]] = []

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            if later:
                cancelled.set()
            else:
                later.append(asyncio.create_task(hang()))

    loop.submit(hang())
    begun.wait(DEADLINE_SECONDS)
    loop.release()

    assert cancelled.is_set()


def test_what_never_ends_is_named_and_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("durableflow.hub.loop.PATIENCE_SECONDS", 0.05)
    loop = HubLoop.acquire()
    begun, freed = threading.Event(), asyncio.Event()

    async def insist_on_staying() -> None:
        begun.set()
        while not freed.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await freed.wait()

    staying = loop.submit(insist_on_staying())
    begun.wait(DEADLINE_SECONDS)
    loop.release()

    assert (hub_threads(), staying.done()) == ([], False)
    assert "insist_on_staying" in caplog.text


def test_a_call_that_comes_as_the_loop_ends_is_cancelled() -> None:
    loop = HubLoop.acquire()
    last_turn, called, told = (threading.Event() for _ in range(3))

    def hold_up_the_last_turn() -> None:
        last_turn.set()
        called.wait(DEADLINE_SECONDS)

    def end() -> None:
        loop.release()
        loop.loop.call_soon(hold_up_the_last_turn)

    loop.loop.call_soon_threadsafe(end)
    last_turn.wait(DEADLINE_SECONDS)
    call = loop.call(thread_id(), told.set)
    called.set()

    assert told.wait(DEADLINE_SECONDS)
    with pytest.raises(asyncio.CancelledError):
        call.result()


def test_blocking_on_the_hub_loop_itself_is_refused(hub_loop: HubLoop) -> None:
    async def block() -> None:
        hub_loop.run(thread_id())

    with pytest.raises(UsageError, match="would wait for itself"):
        hub_loop.run(block())


async def test_a_coroutine_of_another_loop_can_await_on_the_hub_loop(hub_loop: HubLoop) -> None:
    assert await await_on(hub_loop, thread_id()) == hub_threads()[0].ident
    assert hub_loop.run(await_on(hub_loop, thread_id())) == hub_threads()[0].ident


async def test_cancelling_the_caller_cancels_what_it_awaits(hub_loop: HubLoop) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    caller = asyncio.create_task(await_on(hub_loop, hang()))
    await asyncio.to_thread(begun.wait, DEADLINE_SECONDS)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert await asyncio.to_thread(cancelled.wait, DEADLINE_SECONDS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_told_to_start_its_own(hub_loop: HubLoop) -> None:
    answers, child_end = multiprocessing.Pipe(duplex=False)

    def in_child() -> None:
        try:
            hub_loop.run(thread_id())
        except UsageError as error:
            own = HubLoop.acquire()
            child_end.send((str(error), own.run(asyncio.sleep(0, "own loop"), DEADLINE_SECONDS)))
            own.release()

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join(DEADLINE_SECONDS)

    assert answers.poll(0)
    message, answer = answers.recv()
    assert "started before the process was forked" in message
    assert "spawn" in message
    assert answer == "own loop"
    answers.close()
    child_end.close()
