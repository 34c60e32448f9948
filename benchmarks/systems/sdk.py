"""The durabletask package with its in-memory backend: backend, worker, client in three processes.

As a module that is run it is one of the first two:
``python -m benchmarks.systems.sdk backend PORT`` or ``… worker HOST:PORT``.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.task import ActivityContext, OrchestrationContext, Task, when_all
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

from benchmarks.processes import Process
from benchmarks.systems.clients import CALLS_AT_ONCE, ClientDriver

WAITS_AT_ONCE: Final = 4
"""The backend has ten threads for calls, and a call that waits holds one."""

MAX_HISTORY_SIZE: Final = 100_000

QUIET: Final = logging.getLogger("quiet")
"""Logging each step, as the package does by default, would slow it down."""

QUIET.setLevel(logging.WARNING)

Steps = Generator[Task[Any], Any, Any]


def increment(ctx: ActivityContext, number: int) -> int:
    return number + 1


def now(ctx: ActivityContext, nothing: None) -> float:
    return time.monotonic()


def chain(ctx: OrchestrationContext, steps: int) -> Steps:
    number = 0
    for _ in range(steps):
        number = yield ctx.call_activity(increment, input=number)
    return number


def fan(ctx: OrchestrationContext, width: int) -> Steps:
    numbers = yield when_all([ctx.call_activity(increment, input=i) for i in range(width)])
    return sum(numbers)


def stamps(ctx: OrchestrationContext, steps: int) -> Steps:
    times: list[float] = []
    for _ in range(steps):
        time_of_step = yield ctx.call_activity(now)
        times.append(time_of_step)
    return times


def sleep(ctx: OrchestrationContext, seconds: int) -> Steps:
    yield ctx.create_timer(timedelta(seconds=seconds))


def pause(ctx: OrchestrationContext, steps: int) -> Steps:
    number = 0
    for _ in range(steps):
        number = yield ctx.call_activity(increment, input=number)
    ctx.set_custom_status("paused")
    yield ctx.wait_for_external_event("go")
    return number


class SdkWorker(ClientDriver):
    """See ``System``.

    Args:
        hub: The process of the task hub.
    """

    def __init__(
        self,
        client: object,
        address: str,
        hub: Process,
        database: Path | None = None,
        waits_at_once: int = CALLS_AT_ONCE,
    ) -> None:
        super().__init__(client, waits_at_once)
        self.database = database
        self._address = address
        self._hub = hub
        self._worker = self._start_worker()

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._hub.pid, self._worker.pid)

    async def restart_worker(self) -> None:
        self.stop()
        self._worker = self._start_worker()

    def stop(self) -> None:
        self._worker.kill()

    def _start_worker(self) -> Process:
        worker = Process("benchmarks.systems.sdk", "worker", self._address)
        worker.read_line()
        return worker


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[SdkWorker]:
    """Run it for the length of an ``async with`` block."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    with Process("benchmarks.systems.sdk", "backend", str(port)) as backend:
        address = backend.read_line()
        async with AsyncTaskHubGrpcClient(host_address=address, logger=QUIET) as client:
            system = SdkWorker(client, address, backend, waits_at_once=WAITS_AT_ONCE)
            try:
                yield system
            finally:
                system.stop()


def _serve_backend(port: int) -> None:
    backend = create_test_backend(port, MAX_HISTORY_SIZE)
    print(f"localhost:{port}", flush=True)
    sys.stdin.read()
    backend.stop()


def _work(address: str) -> None:
    with TaskHubGrpcWorker(host_address=address, logger=QUIET) as worker:
        for orchestrator in (chain, fan, stamps, sleep, pause):
            worker.add_orchestrator(orchestrator)
        for activity in (increment, now):
            worker.add_activity(activity)
        worker.start()
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _role, _argument = sys.argv[1:]
    if _role == "backend":
        _serve_backend(int(_argument))
    else:
        _work(_argument)
