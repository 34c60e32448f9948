"""A task hub that others run, asked only for what its kind of engine can do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final, TypeVar

from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError
from durableflow.hub.calls import ForwardingHub
from durableflow.hub.port import WorkItemStream
from durableflow.hub.probing import identify
from durableflow.hub.profiles import (
    DURABLETASK_GO,
    SCHEDULER,
    EngineProfile,
    Feature,
    FeatureMissingError,
    feature_of,
    features_used,
)
from durableflow.hub.remote import HubLostError, RemoteTaskHub
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.patches import make_timers
from durableflow.protocol.status import Status

logger = logging.getLogger(__name__)

Reply = TypeVar("Reply", bound=Message)

# How far apart streams are ended to give work items back, at least.
BREAK_SECONDS: Final = 1.0


class GuardedTaskHub(ForwardingHub):
    """Refuses what the engine lacks, before anything is sent, and translates what it says.

    What an engine answers with UNIMPLEMENTED it is not asked again.  A turn that makes use of
    something missing fails its instance: the engine would have dropped it in silence.

    A work item is given back to an engine that takes none by ending the stream that brought it:
    the engine then takes back all that it waits for, and hands it out again, this one after a
    while.  Left without an answer, one item holds up others; durabletask-go would give out nothing
    more.

    Args:
        profile: The kind of engine; None finds out with the first call, and again each time that a
            worker says hello.
    """

    def __init__(self, hub: RemoteTaskHub, profile: EngineProfile | None = None) -> None:
        self._hub = hub
        self._named = profile
        self._profile = profile
        self._unimplemented: set[str] = set()
        self._asking: asyncio.Task[EngineProfile] | None = None
        self._stream: WorkItemStream | None = None
        self._breaking: asyncio.TimerHandle | None = None
        self._broken_at = -BREAK_SECONDS

    @property
    def description(self) -> str:
        """See ``TaskHub``."""
        return self._hub.description

    async def open(self) -> None:
        """See ``TaskHub``."""
        await self._hub.open()

    async def close(self) -> None:
        """See ``TaskHub``."""
        if self._breaking is not None:
            self._breaking.cancel()
        await self._hub.close()

    async def forward(
        self,
        method: str,
        request: Message,
        reply: type[Reply],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Reply:
        """Carry out a call, if the engine can.

        Raises:
            FeatureMissingError: it cannot.
            TaskHubAddressError: the engine speaks another dialect.
        """
        if method == "hello":
            self._forget()
        profile = self._profile or await self._identify(timeout)
        if feature_of(method) is Feature.ABANDON and not profile.supports(Feature.ABANDON):
            self._give_all_back()
            return reply()
        request = self._admitted(method, request, profile)
        try:
            return await self._hub.forward(
                method, request, reply, timeout=timeout, metadata=metadata
            )
        except HubLostError:
            self._forget()
            raise
        except CallError as error:
            translated = self._translated(method, error, profile)
            if method == "purge_instances" and translated.status in _NOTHING_TO_PURGE:
                return reply()
            raise translated from error

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        """See ``KnowsTakers``."""
        return await self._hub.taken(work, timeout=timeout)

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        """See ``TaskHub``."""
        method = "stream_instance_history"
        profile = self._profile or await self._identify(timeout)
        self._admitted(method, request, profile)
        try:
            async for chunk in self._hub.stream_instance_history(request, timeout=timeout):
                yield chunk
        except CallError as error:
            raise self._translated(method, error, profile) from error

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> WorkItemStream:
        """See ``TaskHub``.  A worker has said hello before, and so knows the engine."""
        if self._profile is SCHEDULER:
            _list_names_once(request.workItemFilters)
        self._stream = self._hub.get_work_items(request, metadata=metadata)
        return self._stream

    def _give_all_back(self) -> None:
        if self._breaking is None:
            loop = asyncio.get_running_loop()
            due = max(loop.time(), self._broken_at + BREAK_SECONDS)
            self._breaking = loop.call_at(due, self._break)

    def _break(self) -> None:
        self._breaking = None
        self._broken_at = asyncio.get_running_loop().time()
        if self._stream is not None:
            logger.info("The stream from %s is ended to give work items back.", self.description)
            self._stream.cancel()

    def _forget(self) -> None:
        """What answers at this address next may be another engine."""
        self._profile = self._named
        self._unimplemented.clear()

    async def _identify(self, timeout: float | None) -> EngineProfile:
        if self._asking is None:
            self._asking = asyncio.create_task(identify(self._hub, timeout))
            self._asking.add_done_callback(self._identified)
        return await asyncio.shield(self._asking)

    def _identified(self, task: asyncio.Task[EngineProfile]) -> None:
        self._asking = None
        if not task.cancelled() and task.exception() is None:
            self._profile = task.result()

    def _admitted(self, method: str, request: Message, profile: EngineProfile) -> Message:
        """Return what may be sent in place of a request.

        Raises:
            FeatureMissingError: nothing.
        """
        if method in self._unimplemented:
            raise _missing(method, profile)
        if not profile.support:
            return request
        if isinstance(request, pb.OrchestratorResponse) and not profile.supports(
            Feature.SEND_EVENT
        ):
            make_timers(request)
        for feature in features_used(method, request):
            if profile.supports(feature):
                continue
            refusal = profile.refusal(feature)
            if not isinstance(request, pb.OrchestratorResponse):
                raise refusal
            return _failed(request, refusal)
        if profile is DURABLETASK_GO and isinstance(request, pb.CreateInstanceRequest):
            _write_old_reuse_policy(request)
        return request

    def _translated(self, method: str, error: CallError, profile: EngineProfile) -> CallError:
        status = error.status
        if status is Status.UNKNOWN:
            text = str(error)
            found = (meant for part, meant in profile.statuses.items() if part in text)
            status = next(found, status)
        if status is Status.UNIMPLEMENTED:
            self._unimplemented.add(method)
            return _missing(method, profile)
        return error if status is error.status else CallError(status, str(error))


_NOTHING_TO_PURGE = frozenset({Status.NOT_FOUND, Status.FAILED_PRECONDITION})
_REPLACE = 2


def _missing(method: str, profile: EngineProfile) -> FeatureMissingError:
    feature = feature_of(method)
    if feature is not None:
        return profile.refusal(feature)
    hint = "Use another engine, or do without it."
    return FeatureMissingError(f"the call {method}", profile.title, hint)


def _failed(response: pb.OrchestratorResponse, refusal: FeatureMissingError) -> Message:
    """Answer a turn by failing its instance."""
    failed = pb.OrchestratorResponse(
        instanceId=response.instanceId, completionToken=response.completionToken
    )
    action = failed.actions.add(id=-1)
    action.completeOrchestration.orchestrationStatus = pb.ORCHESTRATION_STATUS_FAILED
    details = action.completeOrchestration.failureDetails
    details.errorType = "durableflow.errors.UnsupportedByEngineError"
    details.errorMessage = str(refusal)
    details.isNonRetriable = True
    return failed


def _list_names_once(filters: pb.WorkItemFilters) -> None:
    """Ask for any version only, where some are named and any is asked for as well.

    What a scheduler makes of a name that is listed twice is not documented.
    """
    for listed in (filters.orchestrations, filters.activities):
        taking_any = {each.name for each in listed if not each.versions}
        for index in reversed(range(len(listed))):
            if listed[index].versions and listed[index].name in taking_any:
                del listed[index]


def _write_old_reuse_policy(request: pb.CreateInstanceRequest) -> None:
    """Say what to replace in the words of the older protocol, too.

    There the statuses have the same number, and a second field, which is not ours any more, says
    what to do with an instance that has one: nothing unless told to replace it.

    Source: orchestrator_service.proto of v0.6, OrchestrationIdReusePolicy and
    CreateOrchestrationAction.TERMINATE.
    """
    if request.orchestrationIdReusePolicy.replaceableStatus:
        request.orchestrationIdReusePolicy.MergeFromString(bytes([2 << 3, _REPLACE]))
