"""The systems that are measured, all driven through one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol


class System(Protocol):
    """A system that runs, with these orchestrators registered.

    Each takes one number: ``chain`` and ``fan`` the number of activities, ``stamps`` the number of
    activities of which it returns when they ran, ``sleep`` the seconds that it sleeps, and
    ``pause`` the number of activities before it waits for the event "go".
    """

    @property
    def database(self) -> Path | None:
        """The SQLite file; None if there is none."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that it runs in, the client's only if there is no other one."""

    async def start(self, orchestrator: str, inputs: Sequence[int]) -> list[Any]:
        """Start an instance for each input and return their ids (or handles)."""

    async def wait_started(self, instances: Sequence[Any]) -> None:
        """Wait until each has begun."""

    async def wait(self, instances: Sequence[Any]) -> list[Any]:
        """Wait for each and return their outputs."""

    async def wait_paused(self, instances: Sequence[Any]) -> None:
        """Wait until each waits for its event."""

    async def go(self, instances: Sequence[Any]) -> None:
        """Send each the event that it waits for."""

    async def restart_worker(self) -> None:
        """Let the worker forget what it has in memory."""

    def replay_alone(self, steps: int) -> float | None:
        """What one of so many past steps costs without loading, in µs; None: not to be had."""
