"""``AsyncClient``: a task hub's operations as coroutines, on the caller's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Self, TypeVar, Unpack, overload

from durableflow.client.face import Face
from durableflow.client.history import HistoryEvent
from durableflow.client.models import (
    InstanceId,
    OrchestrationQuery,
    OrchestrationState,
    PurgeInstancesResult,
)
from durableflow.client.references import (
    AnyOrchestrator,
    InputT,
    OutputT,
    PlainT,
    Routine,
    RunOptions,
    StartOptions,
    Timeout,
    WithInput,
    WithoutInput,
)
from durableflow.client.starting import Options
from durableflow.client.versions import VersionInUse
from durableflow.hub.loop import await_on

T = TypeVar("T")


class AsyncClient(Face):
    """``Client`` with awaited methods; no call blocks the loop.

    Made by ``app.async_client()`` and ``async with app.running()``.  It may be used on any loop.
    ``Client`` documents the methods.
    """

    async def __aenter__(self) -> Self:
        try:
            self._check()
            await await_on(self._core.loop, self._core.open())
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    @overload
    async def schedule_new_orchestration(
        self, orchestrator: str, *, input: Any = None, **options: Unpack[StartOptions]
    ) -> InstanceId[Any]: ...
    @overload
    async def schedule_new_orchestration(
        self, orchestrator: WithoutInput[Routine[OutputT]], **options: Unpack[StartOptions]
    ) -> InstanceId[OutputT]: ...
    @overload
    async def schedule_new_orchestration(
        self, orchestrator: WithoutInput[PlainT], **options: Unpack[StartOptions]
    ) -> InstanceId[PlainT]: ...
    @overload
    async def schedule_new_orchestration(
        self,
        orchestrator: WithInput[InputT, Routine[OutputT]],
        *,
        input: InputT,
        **options: Unpack[StartOptions],
    ) -> InstanceId[OutputT]: ...
    @overload
    async def schedule_new_orchestration(
        self,
        orchestrator: WithInput[InputT, PlainT],
        *,
        input: InputT,
        **options: Unpack[StartOptions],
    ) -> InstanceId[PlainT]: ...
    async def schedule_new_orchestration(
        self,
        orchestrator: AnyOrchestrator,
        *,
        input: Any = None,
        **options: Unpack[StartOptions],
    ) -> InstanceId[Any]:
        """Like ``Client.schedule_new_orchestration``."""
        return await self._run(self._operations.schedule(orchestrator, input, Options.of(options)))

    @overload
    async def run_orchestration(
        self,
        orchestrator: str,
        *,
        input: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any: ...
    @overload
    async def run_orchestration(
        self, orchestrator: WithoutInput[Routine[OutputT]], **options: Unpack[RunOptions]
    ) -> OutputT: ...
    @overload
    async def run_orchestration(
        self, orchestrator: WithoutInput[PlainT], **options: Unpack[RunOptions]
    ) -> PlainT: ...
    @overload
    async def run_orchestration(
        self,
        orchestrator: WithInput[InputT, Routine[OutputT]],
        *,
        input: InputT,
        **options: Unpack[RunOptions],
    ) -> OutputT: ...
    @overload
    async def run_orchestration(
        self,
        orchestrator: WithInput[InputT, PlainT],
        *,
        input: InputT,
        **options: Unpack[RunOptions],
    ) -> PlainT: ...
    async def run_orchestration(
        self,
        orchestrator: AnyOrchestrator,
        *,
        input: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Like ``Client.run_orchestration``."""
        timeout = options.pop("timeout", None)
        start = Options.of(options)
        state = await self._run(self._operations.run(orchestrator, input, start, timeout))
        return state.get_output()

    @overload
    async def get_orchestration_state(
        self, instance_id: InstanceId[OutputT], *, fetch_payloads: bool = True
    ) -> OrchestrationState[OutputT] | None: ...
    @overload
    async def get_orchestration_state(
        self, instance_id: str, *, fetch_payloads: bool = True
    ) -> OrchestrationState[Any] | None: ...
    async def get_orchestration_state(
        self, instance_id: str, *, fetch_payloads: bool = True
    ) -> OrchestrationState[Any] | None:
        """Like ``Client.get_orchestration_state``."""
        return await self._run(
            self._operations.get_state(instance_id, fetch_payloads=fetch_payloads)
        )

    @overload
    async def wait_for_orchestration_start(
        self,
        instance_id: InstanceId[OutputT],
        *,
        fetch_payloads: bool = False,
        timeout: Timeout = None,
    ) -> OrchestrationState[OutputT]: ...
    @overload
    async def wait_for_orchestration_start(
        self, instance_id: str, *, fetch_payloads: bool = False, timeout: Timeout = None
    ) -> OrchestrationState[Any]: ...
    async def wait_for_orchestration_start(
        self, instance_id: str, *, fetch_payloads: bool = False, timeout: Timeout = None
    ) -> OrchestrationState[Any]:
        """Like ``Client.wait_for_orchestration_start``."""
        work = self._operations.wait_for_start(
            instance_id, fetch_payloads=fetch_payloads, timeout=timeout
        )
        return await self._run(work)

    @overload
    async def wait_for_orchestration_completion(
        self,
        instance_id: InstanceId[OutputT],
        *,
        fetch_payloads: bool = True,
        timeout: Timeout = None,
    ) -> OrchestrationState[OutputT]: ...
    @overload
    async def wait_for_orchestration_completion(
        self, instance_id: str, *, fetch_payloads: bool = True, timeout: Timeout = None
    ) -> OrchestrationState[Any]: ...
    async def wait_for_orchestration_completion(
        self, instance_id: str, *, fetch_payloads: bool = True, timeout: Timeout = None
    ) -> OrchestrationState[Any]:
        """Like ``Client.wait_for_orchestration_completion``."""
        work = self._operations.wait_for_completion(
            instance_id, fetch_payloads=fetch_payloads, timeout=timeout
        )
        return await self._run(work)

    async def raise_orchestration_event(
        self, instance_id: str, event_name: str, *, data: Any = None
    ) -> None:
        """Like ``Client.raise_orchestration_event``."""
        await self._run(self._operations.raise_event(instance_id, event_name, data))

    async def suspend_orchestration(self, instance_id: str, *, reason: str | None = None) -> None:
        """Like ``Client.suspend_orchestration``."""
        await self._run(self._operations.suspend(instance_id, reason))

    async def resume_orchestration(self, instance_id: str, *, reason: str | None = None) -> None:
        """Like ``Client.resume_orchestration``."""
        await self._run(self._operations.resume(instance_id, reason))

    async def terminate_orchestration(
        self, instance_id: str, *, output: Any = None, recursive: bool = True
    ) -> None:
        """Like ``Client.terminate_orchestration``."""
        await self._run(self._operations.terminate(instance_id, output, recursive=recursive))

    async def purge_orchestration(
        self, instance_id: str, *, recursive: bool = True
    ) -> PurgeInstancesResult:
        """Like ``Client.purge_orchestration``."""
        return await self._run(self._operations.purge(instance_id, recursive=recursive))

    async def query_orchestrations(
        self, query: OrchestrationQuery | None = None
    ) -> AsyncIterator[OrchestrationState[Any]]:
        """Like ``Client.query_orchestrations``."""
        pages = self._operations.query(query)
        while not pages.exhausted:
            for state in await self._run(pages.read()):
                yield state

    async def get_all_orchestration_states(
        self, query: OrchestrationQuery | None = None
    ) -> list[OrchestrationState[Any]]:
        """Like ``Client.get_all_orchestration_states``."""
        return [state async for state in self.query_orchestrations(query)]

    async def get_orchestration_history(
        self, instance_id: str, *, execution_id: str | None = None
    ) -> list[HistoryEvent]:
        """Like ``Client.get_orchestration_history``."""
        return await self._run(self._operations.get_history(instance_id, execution_id=execution_id))

    async def get_versions_in_use(self, *, include_ended: bool = False) -> list[VersionInUse]:
        """Like ``Client.get_versions_in_use``."""
        return await self._run(self._operations.get_versions(include_ended=include_ended))

    async def close(self) -> None:
        """Like ``Client.close``."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._core.on_close)

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._core.on_open is not None:
            try:
                await await_on(self._core.loop, self._core.open())
            except BaseException:
                work.close()
                raise
        return await await_on(self._core.loop, work)
