"""A whole worker, with the test on the other side of its task hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durableflow._proto import task_hub_pb2 as pb
from durableflow.app_loop import AppLoop
from durableflow.converter import Converter
from durableflow.hub.loop import HubLoop, await_on
from durableflow.plugins import PluginSet
from durableflow.protocol.status import Status
from durableflow.registry import Registry
from durableflow.routing import ExactVersionRouting
from durableflow.settings import Settings
from durableflow.worker import Worker
from durableflow.worker.orchestrations import TurnLimits
from tests.unit.worker.hub import ScriptedHub

SECONDS = 20


class Bench:
    """A worker on a scripted hub; everything about the hub happens on the hub loop."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.plugins = PluginSet()
        self.plugins.register(ExactVersionRouting())
        self.hub_loop = HubLoop.acquire()
        self.app_loop = AppLoop()
        self.limits = TurnLimits()
        self.lease_seconds = 10.0
        self.settings: dict[str, Any] = {}
        self.hub = ScriptedHub()
        self.worker: Worker | None = None

    async def start(self) -> None:
        self.worker = Worker(
            hub=self.hub,  # type: ignore[arg-type]  # the client's half of the port is not there
            hub_loop=self.hub_loop,
            app_loop=self.app_loop.get,
            registry=self.registry,
            converter=Converter(),
            plugins=self.plugins,
            settings=Settings(task_hub="scripted://", root=Path("/srv"), **self.settings),
            app="the app",
            limits=self.limits,
            lease_seconds=self.lease_seconds,
        )
        await await_on(self.hub_loop, self.worker.start())
        await await_on(self.hub_loop, self.worker.wait_ready())

    async def push(self, *items: pb.WorkItem) -> None:
        async def push() -> None:
            for item in items:
                self.hub.streams[-1].push(item)

        await await_on(self.hub_loop, push())

    async def fail_stream(self, status: Status = Status.UNAVAILABLE) -> None:
        async def fail() -> None:
            count = len(self.hub.streams)
            self.hub.streams[-1].fail(status)
            await self.hub.until(lambda: len(self.hub.streams) > count)

        await await_on(self.hub_loop, fail())

    async def lose_stream(self) -> None:
        """End the stream, and let the hub answer nobody until it is restored."""

        async def lose() -> None:
            self.hub.failures["hello"] = [Status.UNAVAILABLE] * 1000
            self.hub.streams[-1].fail(Status.UNAVAILABLE)

        await await_on(self.hub_loop, lose())

    async def restore_stream(self) -> None:
        async def restore() -> None:
            count = len(self.hub.streams)
            self.hub.failures.clear()
            await self.hub.until(lambda: len(self.hub.streams) > count)

        await await_on(self.hub_loop, restore())

    async def wait_failed(self) -> str:
        assert self.worker is not None
        async with asyncio.timeout(SECONDS):
            return await await_on(self.hub_loop, self.worker.wait_failed())

    async def until(self, condition: Callable[[], object]) -> None:
        await await_on(self.hub_loop, self.hub.until(condition))

    async def answers(self, count: int = 1) -> list[Any]:
        await self.until(lambda: len(self.hub.completed) >= count)
        return self.hub.completed

    async def abandons(self, count: int = 1) -> list[tuple[str, dict[str, str]]]:
        await self.until(lambda: len(self.hub.abandoned) >= count)
        return self.hub.abandoned

    async def drain(self, seconds: float = SECONDS) -> None:
        assert self.worker is not None
        await await_on(self.hub_loop, self.worker.drain(seconds))

    async def stop(self) -> None:
        assert self.worker is not None
        await await_on(self.hub_loop, self.worker.stop())

    async def close(self) -> None:
        if self.worker is not None:
            await self.stop()
        await asyncio.to_thread(self.app_loop.close)
        await asyncio.to_thread(self.hub_loop.release)


class Gate:
    """Where an activity or a turn blocks until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.passed = 0

    def block(self) -> None:
        self.entered.set()
        self.opened.wait(SECONDS)
        self.passed += 1

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, SECONDS)
