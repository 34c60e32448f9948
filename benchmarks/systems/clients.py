"""Drives a system through its asyncio client: ours and durabletask's have the same methods."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

WAIT_SECONDS: Final = 300
POLL_SECONDS: Final = 0.02
CALLS_AT_ONCE: Final = 200
"""A gRPC server begins to refuse calls when a thousand are waiting for it."""


class ClientDriver:
    """The part of a ``System`` that a client can do.

    Args:
        client: An ``AsyncClient`` or an ``AsyncTaskHubGrpcClient``.
        waits_at_once: How many instances are waited for at once.
    """

    def __init__(self, client: Any, waits_at_once: int = CALLS_AT_ONCE) -> None:
        self.client = client
        self._waits_at_once = waits_at_once

    async def start(self, orchestrator: str, inputs: Sequence[int]) -> list[str]:
        start = self.client.schedule_new_orchestration
        return await _limited(CALLS_AT_ONCE, (start(orchestrator, input=n) for n in inputs))

    async def wait_started(self, instances: Sequence[str]) -> None:
        wait = self.client.wait_for_orchestration_start
        await _limited(self._waits_at_once, (wait(one, timeout=WAIT_SECONDS) for one in instances))

    async def wait(self, instances: Sequence[str]) -> list[Any]:
        wait = self.client.wait_for_orchestration_completion
        states = await _limited(
            self._waits_at_once, (wait(one, timeout=WAIT_SECONDS) for one in instances)
        )
        for state in states:
            state.raise_if_failed()
        return [state.get_output() for state in states]

    async def wait_paused(self, instances: Sequence[str]) -> None:
        for one in instances:
            while not (await self.client.get_orchestration_state(one)).serialized_custom_status:
                await asyncio.sleep(POLL_SECONDS)

    def replay_alone(self, steps: int) -> float | None:
        return None

    async def go(self, instances: Sequence[str]) -> None:
        go = self.client.raise_orchestration_event
        await _limited(CALLS_AT_ONCE, (go(one, "go") for one in instances))


async def _limited(at_once: int, calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    turnstile = asyncio.Semaphore(at_once)

    async def call_in_turn(call: Coroutine[Any, Any, T]) -> T:
        async with turnstile:
            return await call

    return await asyncio.gather(*map(call_in_turn, calls))
