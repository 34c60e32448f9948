"""Every operation of a client, written once.

A method returns a coroutine that makes the calls on the hub loop; ``Client`` blocks on it,
``AsyncClient`` awaits it.  Where values are converted the method is a plain function, so that the
conversion, which may run user code, happens on the caller's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar

from google.protobuf.wrappers_pb2 import StringValue

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import calls
from durableflow.client.calls import Subject
from durableflow.client.core import ClientCore
from durableflow.client.history import HistoryEvent, event_of
from durableflow.client.models import (
    InstanceId,
    OrchestrationIdReusePolicy,
    OrchestrationQuery,
    OrchestrationState,
    OrchestrationStatus,
    PurgeInstancesResult,
)
from durableflow.client.overdue import EXPLAIN_SECONDS, reason_of
from durableflow.client.references import AnyOrchestrator, Timeout, seconds_of
from durableflow.client.replies import next_token, purged, query_request, state_of
from durableflow.client.starting import Options, Start, plan_start
from durableflow.client.versions import UNFINISHED, VersionCount, VersionInUse
from durableflow.errors import (
    CallError,
    InstanceAlreadyExistsError,
    InstanceNotFoundError,
    OperationalError,
    OutcomeUnknownError,
    UsageError,
    WaitTimeoutError,
)
from durableflow.protocol.status import Status

T = TypeVar("T")
Work: TypeAlias = Coroutine[Any, Any, T]
_State: TypeAlias = OrchestrationState[Any]
_Wait: TypeAlias = Callable[..., Awaitable[pb.GetInstanceResponse]]


class Operations:
    """What a client can ask of a task hub.  ``Client`` documents the operations."""

    def __init__(self, core: ClientCore) -> None:
        self._core = core
        self._hub = core.hub

    def schedule(
        self, orchestrator: AnyOrchestrator, input: Any, options: Options
    ) -> Work[InstanceId[Any]]:
        """Start an instance."""
        return self._start(plan_start(self._core, orchestrator, input, options))

    def run(
        self, orchestrator: AnyOrchestrator, input: Any, options: Options, timeout: Timeout
    ) -> Work[_State]:
        """Start an instance and wait until it has ended."""
        seconds = seconds_of(timeout)
        start = plan_start(self._core, orchestrator, input, options)

        async def work() -> _State:
            deadline = _deadline(seconds)
            subject = self._subject("run_orchestration", await self._start(start))
            wait = self._hub.wait_for_instance_completion
            return await self._wait(subject, wait, deadline, is_over=_has_ended)

        return work()

    async def get_state(self, instance_id: str, *, fetch_payloads: bool) -> _State | None:
        """Look at an instance."""
        _check_switch(fetch_payloads=fetch_payloads)
        subject = self._subject("get_orchestration_state", instance_id)
        reply = await calls.repeatable(self._get(subject, fetch_payloads), subject)
        return self._state_of(reply, subject, fetch_payloads) if reply.exists else None

    async def wait_for_start(
        self, instance_id: str, *, fetch_payloads: bool, timeout: Timeout
    ) -> _State:
        """Wait until an instance is no longer PENDING."""
        _check_switch(fetch_payloads=fetch_payloads)
        deadline = _deadline(seconds_of(timeout))
        subject = self._subject("wait_for_orchestration_start", instance_id)
        wait = self._hub.wait_for_instance_start
        return await self._wait(subject, wait, deadline, fetch_payloads, is_over=_has_started)

    async def wait_for_completion(
        self, instance_id: str, *, fetch_payloads: bool, timeout: Timeout
    ) -> _State:
        """Wait until an instance has ended."""
        _check_switch(fetch_payloads=fetch_payloads)
        deadline = _deadline(seconds_of(timeout))
        subject = self._subject("wait_for_orchestration_completion", instance_id)
        wait = self._hub.wait_for_instance_completion
        return await self._wait(subject, wait, deadline, fetch_payloads, is_over=_has_ended)

    def raise_event(self, instance_id: str, event_name: str, data: Any) -> Work[object]:
        """Send an event to an instance."""
        if not event_name or not _is_text(event_name):
            raise UsageError(
                f"raise_orchestration_event: {event_name!r} is no event name; give text."
            )
        subject = self._subject("raise_orchestration_event", instance_id)
        text = self._core.dumps(data, where=f"data of event '{event_name}'")

        def send(timeout: float | None) -> Awaitable[object]:
            request = pb.RaiseEventRequest(
                instanceId=instance_id, name=event_name, input=_wrap(text)
            )
            return self._hub.raise_event(request, timeout=timeout)

        # A hub says UNAVAILABLE of this call only where it was certainly not carried out.
        return calls.once(send, subject)

    def suspend(self, instance_id: str, reason: str | None) -> Work[object]:
        """Hold an instance."""
        subject = self._subject("suspend_orchestration", instance_id, reason)

        def send(timeout: float | None) -> Awaitable[object]:
            request = pb.SuspendRequest(instanceId=instance_id, reason=_wrap(reason))
            return self._hub.suspend_instance(request, timeout=timeout)

        return calls.repeatable(send, subject)

    def resume(self, instance_id: str, reason: str | None) -> Work[object]:
        """Let a held instance go on."""
        subject = self._subject("resume_orchestration", instance_id, reason)

        def send(timeout: float | None) -> Awaitable[object]:
            request = pb.ResumeRequest(instanceId=instance_id, reason=_wrap(reason))
            return self._hub.resume_instance(request, timeout=timeout)

        return calls.repeatable(send, subject)

    def terminate(self, instance_id: str, output: Any, *, recursive: bool) -> Work[object]:
        """End an instance at once."""
        _check_switch(recursive=recursive)
        subject = self._subject("terminate_orchestration", instance_id)
        text = self._core.dumps(output, where="output of terminate_orchestration")

        def send(timeout: float | None) -> Awaitable[object]:
            request = pb.TerminateRequest(
                instanceId=instance_id, output=_wrap(text), recursive=recursive
            )
            return self._hub.terminate_instance(request, timeout=timeout)

        return calls.repeatable(send, subject)

    async def purge(self, instance_id: str, *, recursive: bool) -> PurgeInstancesResult:
        """Delete an instance that has ended."""
        _check_switch(recursive=recursive)
        subject = self._subject("purge_orchestration", instance_id)

        def send(timeout: float | None) -> Awaitable[pb.PurgeInstancesResponse]:
            request = pb.PurgeInstancesRequest(
                instanceId=instance_id, recursive=recursive, isOrchestration=True
            )
            return self._hub.purge_instances(request, timeout=timeout)

        plugins, ids = self._core.plugins, [instance_id]
        cleanups: tuple[Callable[[], object], ...] = ()
        if plugins.implement("register_cleanups"):
            # Before: afterwards others may start with the same id.
            cleanups = await asyncio.to_thread(plugins.cleanups, ids)
        result = purged(await calls.repeatable(send, subject))
        if result.deleted_instance_count:
            if cleanups:
                await asyncio.to_thread(plugins.clean_up, cleanups)
            if plugins.implement("instances_purged"):
                await asyncio.to_thread(plugins.instances_purged, ids)
        return result

    async def get_versions(self, *, include_ended: bool) -> list[VersionInUse]:
        """Count instances by version."""
        _check_switch(include_ended=include_ended)
        status = None if include_ended else UNFINISHED
        pages = self.query(OrchestrationQuery(runtime_status=status, max_instance_count=1000))
        count = VersionCount()
        while not pages.exhausted:
            count.add(await pages.read())
        return count.result()

    def query(self, query: OrchestrationQuery | None) -> Pages:
        """Look for instances."""
        if not isinstance(query, OrchestrationQuery | None):
            raise UsageError(f"query={query!r}: give an OrchestrationQuery.")
        return Pages(self._core, query or OrchestrationQuery())

    async def get_history(
        self, instance_id: str, *, execution_id: str | None
    ) -> list[HistoryEvent]:
        """Read what happened to an instance."""
        subject = self._subject("get_orchestration_history", instance_id)
        events = await calls.repeatable(partial(self._events, instance_id, execution_id), subject)
        return [event_of(event) for event in events]

    async def _start(self, start: Start) -> InstanceId[Any]:
        tries = 0

        async def send(timeout: float | None) -> None:
            nonlocal tries
            tries += 1
            await self._hub.start_instance(start.to_request(), timeout=timeout)

        subject = self._subject("schedule_new_orchestration", start.instance_id)
        try:
            if start.is_repeatable:
                await calls.repeatable(send, subject)
            else:
                await calls.once(send, subject, undecided=calls.NO_ANSWER_OR_AWAY)
        except CallError as error:
            if error.status is not Status.ALREADY_EXISTS:
                raise
            _accept_existing(start, subject, error, repeated=tries > 1)
        return InstanceId(start.instance_id, start.output_type)

    def _get(
        self, subject: Subject, fetch_payloads: bool, call: _Wait | None = None
    ) -> calls.Send[pb.GetInstanceResponse]:
        call = call or self._hub.get_instance

        def send(timeout: float | None) -> Awaitable[pb.GetInstanceResponse]:
            request = pb.GetInstanceRequest(
                instanceId=subject.instance_id, getInputsAndOutputs=fetch_payloads
            )
            return call(request, timeout=timeout)

        return send

    async def _wait(
        self,
        subject: Subject,
        call: _Wait,
        deadline: float | None,
        fetch_payloads: bool = True,
        *,
        is_over: Callable[[_State], bool],
    ) -> _State:
        send = self._get(subject, fetch_payloads, call)
        reply = await calls.wait(send, subject, deadline=deadline)
        if reply is None:
            return await self._look_once_more(subject, fetch_payloads, is_over)
        if not reply.exists:
            raise calls.instance_not_found(subject)
        return self._state_of(reply, subject, fetch_payloads)

    async def _look_once_more(
        self, subject: Subject, fetch_payloads: bool, is_over: Callable[[_State], bool]
    ) -> _State:
        """Return the state that was waited for, if it is there now that the time is up."""
        look = partial(self._look, subject, False)
        stands, asked = "goes on", "why"
        try:
            state = await look()
            if is_over(state):
                stands, asked = f"is {state.runtime_status}", "more"
                return await self._look(subject, fetch_payloads)
            read_history = partial(self._events, subject.instance_id, None, EXPLAIN_SECONDS)
            why = await reason_of(state, self._core, look, read_history)
        except InstanceNotFoundError:
            raise
        except OperationalError as error:
            why = f"{self._hub.description} does not say {asked}: {error}"
        raise WaitTimeoutError(
            f"{subject.operation}: the time is up, and instance {subject.instance_id!r} "
            f"{stands}. {why}."
        )

    async def _look(self, subject: Subject, fetch_payloads: bool) -> _State:
        reply = await self._get(subject, fetch_payloads)(EXPLAIN_SECONDS)
        if not reply.exists:
            raise calls.instance_not_found(subject)
        return self._state_of(reply, subject, fetch_payloads)

    async def _events(
        self, instance_id: str, execution_id: str | None, timeout: float | None
    ) -> list[pb.HistoryEvent]:
        request = pb.StreamInstanceHistoryRequest(
            instanceId=instance_id, executionId=_wrap(execution_id)
        )
        chunks = self._hub.stream_instance_history(request, timeout=timeout)
        return [event async for chunk in chunks for event in chunk.events]

    def _state_of(
        self, reply: pb.GetInstanceResponse, subject: Subject, fetched_payloads: bool
    ) -> _State:
        return state_of(
            reply.orchestrationState,
            self._core.converter,
            asked=subject.instance_id,
            fetched_payloads=fetched_payloads,
        )

    def _subject(self, operation: str, instance_id: str, reason: str | None = None) -> Subject:
        if not instance_id or not _is_text(instance_id):
            raise UsageError(f"{operation}: {instance_id!r} is no instance id; give its text.")
        if reason is not None and not _is_text(reason):
            raise UsageError(f"{operation}: reason={reason!r}; give text.")
        return Subject(operation, self._hub.description, instance_id)


class Pages:
    """The answer to a query, read a page at a time.

    Attributes:
        exhausted: Whether there is nothing left to read.
    """

    def __init__(self, core: ClientCore, query: OrchestrationQuery) -> None:
        self.exhausted = False
        self._core = core
        self._query = query
        self._token = ""

    async def read(self) -> list[_State]:
        """Read the next page."""

        def send(timeout: float | None) -> Awaitable[pb.QueryInstancesResponse]:
            request = query_request(self._query, self._token)
            return self._core.hub.query_instances(request, timeout=timeout)

        subject = Subject("query_orchestrations", self._core.hub.description)
        reply = await calls.repeatable(send, subject)
        self._token = next_token(reply, self._token)
        self.exhausted = not self._token
        fetched = self._query.fetch_inputs_and_outputs
        return [
            state_of(state, self._core.converter, fetched_payloads=fetched)
            for state in reply.orchestrationState
        ]


def _has_started(state: _State) -> bool:
    return state.runtime_status is not OrchestrationStatus.PENDING


def _has_ended(state: _State) -> bool:
    return state.is_terminal


def _check_switch(**switch: object) -> None:
    for name, value in switch.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name}={value!r}: give True or False.")


def _is_text(value: object) -> bool:
    """Whether it is text that can be sent, which halves of surrogate pairs cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else asyncio.get_running_loop().time() + seconds


def _accept_existing(start: Start, subject: Subject, error: CallError, *, repeated: bool) -> None:
    """Decide what it means that an instance with the id exists already."""
    policy = start.options.reuse_id_policy
    if policy is OrchestrationIdReusePolicy.USE_EXISTING or (repeated and start.id_is_ours):
        return
    if repeated:
        raise OutcomeUnknownError(
            Status.ALREADY_EXISTS,
            f"{subject.operation}: the connection to {subject.hub} broke, and now an instance "
            f"{subject.instance_id!r} exists, from this call or from another. Look at it with "
            "get_orchestration_state; reuse_id_policy=USE_EXISTING takes either.",
        ) from error
    allowed = (
        "An instance that has not ended is not replaced by REPLACE_TERMINAL: choose another id, or "
        "TERMINATE_AND_REPLACE"
        if policy is OrchestrationIdReusePolicy.REPLACE_TERMINAL
        else "Choose another id, or say with reuse_id_policy= what to do with the one that exists"
    )
    raise InstanceAlreadyExistsError(
        Status.ALREADY_EXISTS,
        f"{subject.operation}: {subject.hub} holds an instance {subject.instance_id!r} already. "
        f"{allowed}.",
    ) from error


def _wrap(text: str | None) -> StringValue | None:
    return None if text is None else StringValue(value=text)
