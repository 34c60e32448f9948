"""Messages to a loop: all of them, in order, and nobody is kept waiting by them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from durableflow.hub.mailbox import Mailbox


async def test_what_threads_put_arrives_in_the_order_of_each() -> None:
    mailbox = Mailbox(asyncio.get_running_loop())
    seen: list[tuple[str, int]] = []
    done = asyncio.Event()

    def put(name: str) -> None:
        for number in range(500):
            mailbox.put(lambda number=number: seen.append((name, number)))
        mailbox.put(lambda: len(seen) == 1000 and done.set())

    threads = [threading.Thread(target=put, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(10):
        await done.wait()

    assert [number for name, number in seen if name == "a"] == list(range(500))
    assert [number for name, number in seen if name == "b"] == list(range(500))


async def test_messages_that_lead_to_messages_do_not_hold_the_loop_up() -> None:
    mailbox = Mailbox(asyncio.get_running_loop())
    goes_on = True

    def again() -> None:
        if goes_on:
            mailbox.put(again)

    mailbox.put(again)
    for _ in range(3):
        await asyncio.sleep(0)
    goes_on = False


def test_a_closed_loop_is_told_to_everyone_who_puts() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()

    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            mailbox.put(print)
