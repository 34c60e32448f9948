"""Drives a system through its asyncio client: ours and durabletask's have the same methods."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

WAIT_SECONDS = 300
POLL_SECONDS = 0.02


class ClientDriver:
    """The part of a ``System`` that a client can do.

    Args:
        client: An ``AsyncClient`` or an ``AsyncTaskHubGrpcClient``.
        waits_at_once: How many instances are waited for at once; None if it does not matter.
    """

    def __init__(self, client: Any, waits_at_once: int | None = None) -> None:
        self.client = client
        self._waits_at_once = waits_at_once

    async def start(self, orchestrator: str, inputs: Sequence[int]) -> list[str]:
        start = self.client.schedule_new_orchestration
        ids: list[str] = await asyncio.gather(*[start(orchestrator, input=n) for n in inputs])
        return ids

    async def wait_started(self, instances: Sequence[str]) -> None:
        wait = self.client.wait_for_orchestration_start
        await self._limited(wait(instance, timeout=WAIT_SECONDS) for instance in instances)

    async def wait(self, instances: Sequence[str]) -> list[Any]:
        wait = self.client.wait_for_orchestration_completion
        states = await self._limited(wait(one, timeout=WAIT_SECONDS) for one in instances)
        for state in states:
            state.raise_if_failed()
        return [state.get_output() for state in states]

    async def wait_paused(self, instances: Sequence[str]) -> None:
        for instance in instances:
            while not (
                await self.client.get_orchestration_state(instance)
            ).serialized_custom_status:
                await asyncio.sleep(POLL_SECONDS)

    async def go(self, instances: Sequence[str]) -> None:
        go = self.client.raise_orchestration_event
        await asyncio.gather(*[go(instance, "go") for instance in instances])

    async def _limited(self, calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        if self._waits_at_once is None:
            return await asyncio.gather(*calls)
        turnstile = asyncio.Semaphore(self._waits_at_once)

        async def call_in_turn(call: Coroutine[Any, Any, T]) -> T:
            async with turnstile:
                return await call

        return await asyncio.gather(*map(call_in_turn, calls))
