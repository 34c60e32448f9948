"""A worker of an app while it runs: ``Run`` starts and stops it, ``Running`` is a ``with`` block.

Parts are opened in one order and closed in the reverse one, whatever fails in between: the task
hub, the lifespan, the worker.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from types import TracebackType
from typing import Any, TypeAlias

from durableflow.app_loop import AppLoop, HeldContext
from durableflow.client import AsyncClient, Client, ClientCore
from durableflow.errors import SetupError
from durableflow.hub.loop import await_on
from durableflow.plan import Connection, Plan
from durableflow.worker import Worker
from durableflow.worker.orchestrations import TurnLimits
from durableflow.worker.processes import PROCESS_NAME

logger = logging.getLogger(__name__)

Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]


class Run:
    """One run of an app's worker.  It can be started once.

    Args:
        lifespan: Makes the context that surrounds the worker; None for none.
        runs: The app's runs in this process; this one is among them while its task hub is open.
    """

    def __init__(self, plan: Plan, lifespan: Lifespan | None, runs: list[Run]) -> None:
        self.plan = plan
        self._lifespan = lifespan
        self._runs = runs
        self._app_loop = AppLoop()
        self._connection: Connection | None = None
        self._worker: Worker | None = None
        self._undo = ExitStack()
        self._undo_async = AsyncExitStack()

    @property
    def connection(self) -> Connection:
        """The open task hub.

        Raises:
            SetupError: the run has not been started.
        """
        if self._connection is None:
            raise SetupError(f"App {self.plan.app_name!r} is not running; start it first.")
        return self._connection

    @property
    def app_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the app's coroutines, None if none is running."""
        return self._app_loop.current

    @property
    def failure(self) -> str | None:
        """Why the worker ended by itself; None if it did not."""
        return self._worker.failure if self._worker else None

    @property
    def health_address(self) -> str | None:
        """Where the worker answers probes; None if nowhere."""
        return self._worker.health_address if self._worker else None

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        """Start the worker; block until it has started.

        Args:
            on_failure: Called on the hub loop if the worker ends by itself.

        Raises:
            SetupError: the app is not fit to run.
            OperationalError: the task hub cannot be opened.
        """
        with ExitStack() as undo:
            undo.callback(self._app_loop.close)
            connection = self._prepare(undo)
            undo.callback(connection.close)
            hub_loop = connection.loop
            hub_loop.run(connection.hub.open())
            self._be_listed(undo)
            state = None
            if self._lifespan is not None:
                held = HeldContext(self._lifespan())
                state = self._app_loop.run(held.enter())
                undo.callback(self._leave, held)
            worker = self._worker = self._make_worker(state)
            hub_loop.run(worker.start())
            undo.callback(lambda: hub_loop.run(self._drain(worker)))
            if on_failure is not None:
                watch = hub_loop.submit(_tell(worker, on_failure))
                undo.callback(watch.cancel)
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Drain and stop; block until everything is closed."""
        self._undo.close()

    def _leave(self, held: HeldContext) -> None:
        if self._app_loop.responds():
            self._app_loop.run(held.leave())
        else:
            logger.warning("The app's loop hangs, so its lifespan cannot be left.")

    async def start_async(self) -> None:
        """Do as ``start`` does, with the caller's loop as the app's loop."""
        async with AsyncExitStack() as undo:
            self._app_loop = AppLoop(asyncio.get_running_loop())
            connection = self._prepare(undo)
            undo.push_async_callback(asyncio.to_thread, connection.close)
            hub_loop = connection.loop
            await await_on(hub_loop, connection.hub.open())
            self._be_listed(undo)
            state = None
            if self._lifespan is not None:
                state = await undo.enter_async_context(self._lifespan())
            worker = self._worker = self._make_worker(state)
            await await_on(hub_loop, worker.start())
            undo.push_async_callback(lambda: await_on(hub_loop, self._drain(worker)))
            self._undo_async = undo.pop_all()

    async def stop_async(self) -> None:
        """Drain and stop what ``start_async`` started."""
        await self._undo_async.aclose()

    def _prepare(self, undo: ExitStack | AsyncExitStack) -> Connection:
        if multiprocessing.current_process().name == PROCESS_NAME:
            raise SetupError(
                f"App {self.plan.app_name!r} cannot run inside of a process of its own activities. "
                "These import the program, which must not start by that: put app.run() under "
                '`if __name__ == "__main__":`.'
            )
        self.plan.registry.freeze()
        undo.callback(self.plan.registry.thaw)
        self._connection = Connection(self.plan, "worker")
        return self._connection

    def _be_listed(self, undo: ExitStack | AsyncExitStack) -> None:
        self._runs.append(self)
        undo.callback(self._runs.remove, self)

    def _make_worker(self, state: Any) -> Worker:
        plan = self.plan
        return Worker(
            hub=self.connection.hub,
            hub_loop=self.connection.loop,
            app_loop=self._app_loop.get,
            registry=plan.registry,
            converter=plan.converter,
            plugins=plan.plugins,
            settings=plan.settings_inside,
            app=plan.app,
            state=state,
            limits=TurnLimits(forfeit_seconds=plan.settings.turn_timeout_seconds),
            serves_alone=plan.is_private,
        )

    async def _drain(self, worker: Worker) -> None:
        await worker.drain(self.plan.settings.drain_timeout_seconds)


async def _tell(worker: Worker, on_failure: Callable[[], None]) -> None:
    await worker.wait_failed()
    on_failure()


def core_of(plan: Plan, connection: Connection, runs: list[Run]) -> ClientCore:
    """Put together what a client works with that opens and closes a connection of its own.

    Args:
        runs: The app's runs in this process, now and later.
    """

    def serves_here() -> bool:
        return any(run.plan.address == plan.address for run in runs)

    async def open_hub() -> None:
        await connection.hub.open()

    return ClientCore(
        hub=connection.hub,
        loop=connection.loop,
        registry=plan.registry,
        converter=plan.converter,
        plugins=plan.plugins,
        max_payload_bytes=plan.settings_inside.max_payload_bytes,
        default_version=plan.settings.default_version,
        hub_is_private=plan.is_private,
        serves_here=serves_here,
        app_loop=lambda: next((run.app_loop for run in runs if run.app_loop), None),
        on_open=open_hub,
        on_close=connection.close,
    )


class Running:
    """A worker for the length of a ``with`` or ``async with`` block, which gets a client.

    Args:
        make_run: Called on entering, so that one object can be entered again.
        runs: The app's runs in this process.
    """

    def __init__(self, make_run: Callable[[], Run], runs: list[Run]) -> None:
        self._make_run = make_run
        self._runs = runs
        self._undo = ExitStack()
        self._undo_async = AsyncExitStack()

    def __enter__(self) -> Client:
        with ExitStack() as undo:
            run = self._make_run()
            run.start()
            undo.callback(run.stop)
            client = undo.enter_context(Client(self._core(run)))
            self._undo = undo.pop_all()
        return client

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    async def __aenter__(self) -> AsyncClient:
        async with AsyncExitStack() as undo:
            run = self._make_run()
            await run.start_async()
            undo.push_async_callback(run.stop_async)
            client = await undo.enter_async_context(AsyncClient(self._core(run)))
            self._undo_async = undo.pop_all()
        return client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._undo_async.aclose()

    def _core(self, run: Run) -> ClientCore:
        return core_of(run.plan, Connection(run.plan, "client"), self._runs)
