"""``Client``: a task hub's operations as calls that block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, Unpack, overload

from durableflow.client.blocking import BlockingFace
from durableflow.client.face import undone_on_failure
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


class Client(BlockingFace):
    """Starts, watches and steers orchestration instances; every call blocks its thread.

    Made by ``app.client()`` and ``app.running()``.  Any number of threads may use one client.
    ``AsyncClient`` has the same methods for programs that run on asyncio.

    No call is made where it would do harm: in an orchestrator, which would repeat it on every
    replay (``OrchestratorError``), and on a running asyncio loop, which would stand still
    (``UsageError``).  Interactive sessions run on a loop themselves and may block it.
    """

    def __enter__(self) -> Self:
        with undone_on_failure(self.close):
            self._check()
            self._core.loop.run(self._core.open())
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    @overload
    def schedule_new_orchestration(
        self, orchestrator: str, *, input: Any = None, **options: Unpack[StartOptions]
    ) -> InstanceId[Any]: ...
    @overload
    def schedule_new_orchestration(
        self, orchestrator: WithoutInput[Routine[OutputT]], **options: Unpack[StartOptions]
    ) -> InstanceId[OutputT]: ...
    @overload
    def schedule_new_orchestration(
        self, orchestrator: WithoutInput[PlainT], **options: Unpack[StartOptions]
    ) -> InstanceId[PlainT]: ...
    @overload
    def schedule_new_orchestration(
        self,
        orchestrator: WithInput[InputT, Routine[OutputT]],
        *,
        input: InputT,
        **options: Unpack[StartOptions],
    ) -> InstanceId[OutputT]: ...
    @overload
    def schedule_new_orchestration(
        self,
        orchestrator: WithInput[InputT, PlainT],
        *,
        input: InputT,
        **options: Unpack[StartOptions],
    ) -> InstanceId[PlainT]: ...
    def schedule_new_orchestration(
        self,
        orchestrator: AnyOrchestrator,
        *,
        input: Any = None,
        **options: Unpack[StartOptions],
    ) -> InstanceId[Any]:
        """Start an orchestration instance.

        Args:
            orchestrator: A function registered in this app, or the name of one that may live in
                another program.
            input: Handed to the orchestrator; must fit the type that it declares.
            instance_id: Names the instance; a unique id is made unless given.
            version: Start this version instead of the function's own.
            start_at: Do not start before this moment, given with a time zone.
            tags: Stay with the instance, for people and tools.
            reuse_id_policy: What to do if an instance with this id exists.

        Returns:
            The id, a ``str`` that knows the type of the output.

        Raises:
            NotRegisteredError: the function is not registered in this app, or the name is
                certainly a mistake: where nothing else can serve the hub (one in memory), or where
                it differs from one of the app's own in case or separators only.
            ConversionError: the input does not fit; names the path.  Nothing was sent.
            UsageError: an input is missing or not wanted, or an option does not do.
            InstanceAlreadyExistsError: the policy does not allow what exists.
            OutcomeUnknownError: the connection broke, and repeating might have started a second
                instance.
        """
        return self._run(self._operations.schedule(orchestrator, input, Options.of(options)))

    @overload
    def run_orchestration(
        self,
        orchestrator: str,
        *,
        input: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any: ...
    @overload
    def run_orchestration(
        self, orchestrator: WithoutInput[Routine[OutputT]], **options: Unpack[RunOptions]
    ) -> OutputT: ...
    @overload
    def run_orchestration(
        self, orchestrator: WithoutInput[PlainT], **options: Unpack[RunOptions]
    ) -> PlainT: ...
    @overload
    def run_orchestration(
        self,
        orchestrator: WithInput[InputT, Routine[OutputT]],
        *,
        input: InputT,
        **options: Unpack[RunOptions],
    ) -> OutputT: ...
    @overload
    def run_orchestration(
        self,
        orchestrator: WithInput[InputT, PlainT],
        *,
        input: InputT,
        **options: Unpack[RunOptions],
    ) -> PlainT: ...
    def run_orchestration(
        self,
        orchestrator: AnyOrchestrator,
        *,
        input: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Start an instance, wait until it has ended, and return its output.

        Args:
            orchestrator: As for ``schedule_new_orchestration``.
            input: The same.
            timeout: Seconds, or a ``timedelta``; None waits for ever.  The instance goes on when
                it passes.
            options: The other arguments of ``schedule_new_orchestration``.

        Raises:
            OrchestrationFailedError: the instance failed or was terminated.
            WaitTimeoutError: says what the instance waits for.
            DurableFlowError: whatever ``schedule_new_orchestration`` raises.
        """
        timeout = options.pop("timeout", None)
        start = Options.of(options)
        state = self._run(self._operations.run(orchestrator, input, start, timeout))
        return state.get_output()

    @overload
    def get_orchestration_state(
        self, instance_id: InstanceId[OutputT], *, fetch_payloads: bool = True
    ) -> OrchestrationState[OutputT] | None: ...
    @overload
    def get_orchestration_state(
        self, instance_id: str, *, fetch_payloads: bool = True
    ) -> OrchestrationState[Any] | None: ...
    def get_orchestration_state(
        self, instance_id: str, *, fetch_payloads: bool = True
    ) -> OrchestrationState[Any] | None:
        """Look at an instance.

        Args:
            instance_id: The instance.
            fetch_payloads: Whether to bring input and output along.

        Returns:
            Its state, or None if the hub holds no such instance.
        """
        return self._run(self._operations.get_state(instance_id, fetch_payloads=fetch_payloads))

    @overload
    def wait_for_orchestration_start(
        self,
        instance_id: InstanceId[OutputT],
        *,
        fetch_payloads: bool = False,
        timeout: Timeout = None,
    ) -> OrchestrationState[OutputT]: ...
    @overload
    def wait_for_orchestration_start(
        self, instance_id: str, *, fetch_payloads: bool = False, timeout: Timeout = None
    ) -> OrchestrationState[Any]: ...
    def wait_for_orchestration_start(
        self, instance_id: str, *, fetch_payloads: bool = False, timeout: Timeout = None
    ) -> OrchestrationState[Any]:
        """Wait until an instance has started: until it is no longer PENDING.

        Args:
            instance_id: The instance.
            fetch_payloads: Whether to bring input and output along.
            timeout: Seconds, or a ``timedelta``; None waits for ever.

        Raises:
            InstanceNotFoundError: the hub holds no such instance.
            WaitTimeoutError: says what the instance waits for.
            TaskHubUnavailableError: nobody answers, and there is no timeout.
        """
        work = self._operations.wait_for_start(
            instance_id, fetch_payloads=fetch_payloads, timeout=timeout
        )
        return self._run(work)

    @overload
    def wait_for_orchestration_completion(
        self,
        instance_id: InstanceId[OutputT],
        *,
        fetch_payloads: bool = True,
        timeout: Timeout = None,
    ) -> OrchestrationState[OutputT]: ...
    @overload
    def wait_for_orchestration_completion(
        self, instance_id: str, *, fetch_payloads: bool = True, timeout: Timeout = None
    ) -> OrchestrationState[Any]: ...
    def wait_for_orchestration_completion(
        self, instance_id: str, *, fetch_payloads: bool = True, timeout: Timeout = None
    ) -> OrchestrationState[Any]:
        """Wait until an instance has ended: completed, failed or terminated.

        Args:
            instance_id: The instance.
            fetch_payloads: Whether to bring input and output along.
            timeout: Seconds, or a ``timedelta``; None waits for ever.

        Raises:
            InstanceNotFoundError: the hub holds no such instance.
            WaitTimeoutError: says what the instance waits for.
            TaskHubUnavailableError: nobody answers, and there is no timeout.
        """
        work = self._operations.wait_for_completion(
            instance_id, fetch_payloads=fetch_payloads, timeout=timeout
        )
        return self._run(work)

    def raise_orchestration_event(
        self, instance_id: str, event_name: str, *, data: Any = None
    ) -> None:
        """Send an event to an instance, which ``ctx.wait_for_external_event`` receives.

        An instance that has ended drops it.

        Args:
            instance_id: The instance.
            event_name: Case does not matter.
            data: What the event carries.

        Raises:
            InstanceNotFoundError: the hub holds no such instance.
            ConversionError: the data cannot travel.  Nothing was sent.
            OutcomeUnknownError: the connection broke; it is not repeated, as the instance might
                receive it twice.
        """
        self._run(self._operations.raise_event(instance_id, event_name, data))

    def suspend_orchestration(self, instance_id: str, *, reason: str | None = None) -> None:
        """Hold an instance: it takes no further step until it is resumed.  Events wait for it.

        Args:
            instance_id: The instance.
            reason: Stays in the history.

        Raises:
            InstanceNotFoundError: the hub holds no such instance.
        """
        self._run(self._operations.suspend(instance_id, reason))

    def resume_orchestration(self, instance_id: str, *, reason: str | None = None) -> None:
        """Let a suspended instance go on.

        Args:
            instance_id: The instance.
            reason: Stays in the history.

        Raises:
            InstanceNotFoundError: the hub holds no such instance.
        """
        self._run(self._operations.resume(instance_id, reason))

    def terminate_orchestration(
        self, instance_id: str, *, output: Any = None, recursive: bool = True
    ) -> None:
        """End an instance at once, without running its code again.

        Activities that run now finish, and their results are dropped.  Nothing happens to an
        instance that has ended or does not exist.

        Args:
            instance_id: The instance.
            output: Becomes the instance's output.
            recursive: Whether to end its sub-orchestrations too.

        Raises:
            ConversionError: the output cannot travel.  Nothing was sent.
        """
        self._run(self._operations.terminate(instance_id, output, recursive=recursive))

    def purge_orchestration(
        self, instance_id: str, *, recursive: bool = True
    ) -> PurgeInstancesResult:
        """Delete an instance that has ended, with its history.

        Args:
            instance_id: The instance.
            recursive: Whether to delete its sub-orchestrations too.

        Returns:
            How many instances were deleted: none if it does not exist or has not ended.
        """
        return self._run(self._operations.purge(instance_id, recursive=recursive))

    def query_orchestrations(
        self, query: OrchestrationQuery | None = None
    ) -> Iterator[OrchestrationState[Any]]:
        """Look for instances, in pages that are fetched as the iteration goes on.

        Args:
            query: Conditions; None finds every instance.
        """
        pages = self._operations.query(query)
        while not pages.exhausted:
            yield from self._run(pages.read())

    def get_all_orchestration_states(
        self, query: OrchestrationQuery | None = None
    ) -> list[OrchestrationState[Any]]:
        """Return everything that ``query_orchestrations`` finds, as a list.

        Args:
            query: Conditions; None finds every instance.
        """
        return list(self.query_orchestrations(query))

    def get_orchestration_history(
        self, instance_id: str, *, execution_id: str | None = None
    ) -> list[HistoryEvent]:
        """Read what happened to an instance, in order.

        Args:
            instance_id: The instance.
            execution_id: Read this generation; the newest unless given.

        Raises:
            InstanceNotFoundError: the hub holds no such instance.
        """
        return self._run(self._operations.get_history(instance_id, execution_id=execution_id))

    def get_versions_in_use(self, *, include_ended: bool = False) -> list[VersionInUse]:
        """Count instances by orchestrator and version: what may not be deleted from the code yet.

        All of them are read, so it takes its time where there are many.

        Args:
            include_ended: Whether those count too that have ended.
        """
        return self._run(self._operations.get_versions(include_ended=include_ended))

    def close(self) -> None:
        """Let go of the task hub.  Idempotent."""
        if not self._closed:
            self._closed = True
            self._core.on_close()
