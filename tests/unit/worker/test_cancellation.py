from __future__ import annotations

import asyncio
import threading

import pytest

from durableflow.errors import ActivityCancelledError
from durableflow.worker.cancellation import CancelToken

SECONDS = 20


def test_a_token_that_is_not_set_lets_everything_go_on() -> None:
    token = CancelToken()

    token.raise_if_set()

    assert not token.is_set()
    assert token.reason is None
    assert not token.wait(0)


def test_only_the_first_reason_counts() -> None:
    token = CancelToken()

    token.set("first")
    token.set("second")

    assert token.is_set()
    assert token.reason == "first"
    assert token.wait()
    with pytest.raises(ActivityCancelledError, match="first"):
        token.raise_if_set()


def test_setting_it_wakes_a_thread_that_waits() -> None:
    token = CancelToken()
    woken = threading.Event()
    ready = threading.Event()

    def wait() -> None:
        ready.set()
        if token.wait(SECONDS):
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert ready.wait(SECONDS)
    token.set("enough")

    assert woken.wait(SECONDS)
    thread.join()


async def test_setting_it_on_another_thread_wakes_a_coroutine() -> None:
    token = CancelToken()

    async def wait() -> str:
        return await token

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await asyncio.to_thread(token.set, "enough")

    async with asyncio.timeout(SECONDS):
        assert await waiting == "enough"


async def test_awaiting_one_that_is_set_returns_at_once() -> None:
    token = CancelToken()
    token.set("enough")

    assert await token == "enough"
