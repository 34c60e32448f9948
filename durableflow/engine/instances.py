"""What clients ask for: start, look, wait, raise, suspend, resume, terminate, purge, query."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import transitions
from durableflow.engine.batch import TimerRow
from durableflow.engine.core import Core
from durableflow.engine.histories import messages
from durableflow.engine.lifecycles import Lifecycles
from durableflow.engine.resident import Resident, wake
from durableflow.engine.state import PENDING, Instance, key_of, start_row
from durableflow.engine.suspects import Suspects
from durableflow.engine.turns import Turns
from durableflow.engine.views import reply_of, state_of
from durableflow.errors import CallError
from durableflow.hub.names import new_id
from durableflow.protocol.status import Status

PAGE_SIZE: Final = 100
BATCH_LIMIT: Final = 500


class Instances:
    """The calls of clients, on one incarnation of the engine."""

    def __init__(
        self,
        core: Core,
        *,
        suspects: Suspects,
        turns: Turns,
        lifecycles: Lifecycles,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = core.clock
        self._committer = core.committer
        self._working_set = core.working_set
        self._histories = core.histories
        self._delivery = core.delivery
        self._reading = core.reading
        self._reader = core.reader
        self._suspects = suspects
        self._turns = turns
        self._lifecycles = lifecycles
        self._stopped: CallError | None = None

    def stop(self, error: CallError) -> None:
        """Let nobody begin to wait any more: nothing will happen to these instances."""
        self._stopped = error

    async def start(self, request: pb.CreateInstanceRequest) -> pb.CreateInstanceResponse:
        """Create an instance; an empty id gets one.

        A request that names its execution may be sent again: it is carried out once.

        Raises:
            CallError: ALREADY_EXISTS if the id is taken and the policy does not name its status.
        """
        if not request.name:
            raise CallError(Status.INVALID_ARGUMENT, "StartInstance needs an orchestrator name.")
        if not request.instanceId:
            request.instanceId = new_id()
        instance_id = request.instanceId
        with self._working_set.holding():
            existing = await self._lifecycles.load_with_parent(instance_id)
            if existing is None or _may_replace(existing.instance, request):
                resident, is_ours = self._lifecycles.replace(existing, request), True
            else:
                resident, is_ours = existing, _is_of(existing.instance, request)
        await self._settled(resident)
        if not is_ours:
            raise CallError(
                Status.ALREADY_EXISTS,
                f"An orchestration instance with id '{instance_id}' exists already.",
            )
        return pb.CreateInstanceResponse(instanceId=instance_id)

    async def get(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        """The state of an instance, as it is committed."""
        resident = await self._working_set.load(request.instanceId)
        return await self._reply(resident, request)

    async def wait_for_start(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        """The state of an instance once its first turn is applied."""
        while True:
            resident = await self._working_set.load(request.instanceId)
            if resident is None or resident.instance.status != PENDING:
                return await self._reply(resident, request)
            await self._wait(resident.start_waiters, resident)

    async def wait_for_completion(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        """The state of an instance once it is terminal."""
        while True:
            resident = await self._working_set.load(request.instanceId)
            if resident is None or resident.instance.is_terminal:
                return await self._reply(resident, request)
            await self._wait(resident.completion_waiters, resident)

    async def raise_event(self, request: pb.RaiseEventRequest) -> pb.RaiseEventResponse:
        """Put an event into an instance's inbox; for a terminal instance it is dropped."""
        resident = await self._existing(request.instanceId, "raise an event for")
        if not resident.instance.is_terminal:
            event = transitions.event_raised(request, self._clock.now())
            self._turns.add_message(resident, event)
        await self._settled(resident)
        return pb.RaiseEventResponse()

    async def suspend(self, request: pb.SuspendRequest) -> pb.SuspendResponse:
        """Hold an instance back; suspending twice changes nothing."""
        resident = await self._existing(request.instanceId, "suspend")
        instance = resident.instance
        if not (instance.is_terminal or instance.suspended):
            reason = request.reason.value if request.HasField("reason") else None
            in_turn = resident.turn is not None
            event = transitions.suspend(instance, reason, self._clock.now(), in_turn=in_turn)
            self._committer.writes(resident).changed = True
            self._turns.add_message(resident, event)
            wake(resident.start_waiters)
        await self._settled(resident)
        return pb.SuspendResponse()

    async def resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        """Let a suspended instance go on, and give a quarantined one another try."""
        resident = await self._existing(request.instanceId, "resume")
        instance = resident.instance
        if instance.suspended:
            reason = request.reason.value if request.HasField("reason") else None
            event = transitions.resume(instance, reason, self._clock.now())
            self._committer.writes(resident).changed = True
            self._turns.add_message(resident, event)
        self._suspects.pardon([-instance.key, *instance.activities])
        await self._settled(resident)
        return pb.ResumeResponse()

    async def terminate(self, request: pb.TerminateRequest) -> pb.TerminateResponse:
        """End an instance at once, whatever it is doing, and with ``recursive`` its children.

        An unknown id is silently accepted.
        """
        output = request.output.value if request.HasField("output") else None
        with self._working_set.holding():
            resident = await self._lifecycles.load(request.instanceId, with_family=True)
            if resident is None:
                return pb.TerminateResponse()
            self._lifecycles.terminate_all(resident, output, recursive=request.recursive)
        await self._settled(resident)
        return pb.TerminateResponse()

    async def purge(self, request: pb.PurgeInstancesRequest) -> pb.PurgeInstancesResponse:
        """Remove terminal instances by id, with everything of theirs.

        Raises:
            CallError: UNIMPLEMENTED for a purge by filter, INVALID_ARGUMENT for too many ids.
        """
        kind = request.WhichOneof("request")
        if kind == "instanceId":
            instance_ids = [request.instanceId]
        elif kind == "instanceBatch":
            instance_ids = list(dict.fromkeys(request.instanceBatch.instanceIds))
        else:
            raise CallError(
                Status.UNIMPLEMENTED,
                "PurgeInstances by filter is not carried out yet. Purge by instance id.",
            )
        if len(instance_ids) > BATCH_LIMIT:
            raise CallError(
                Status.INVALID_ARGUMENT,
                f"{len(instance_ids)} instance ids in one purge; the limit is {BATCH_LIMIT}.",
            )
        purged: list[Resident] = []
        while instance_ids:
            instance_id = instance_ids.pop()
            resident = await self._working_set.load(instance_id)
            if resident is None or not resident.instance.is_terminal:
                continue
            self._lifecycles.remove(resident)
            purged.append(resident)
            if request.recursive:
                instance_ids += await self._reading.submit(
                    self._reader.children, resident.instance, live=False
                )
        for resident in purged:
            await self._settled(resident)
        reply = pb.PurgeInstancesResponse(deletedInstanceCount=len(purged))
        reply.isComplete.value = True
        return reply

    async def query(self, request: pb.QueryInstancesRequest) -> pb.QueryInstancesResponse:
        """One page of instances, in the order of their creation.

        Raises:
            CallError: INVALID_ARGUMENT for a continuation token that is not ours.
        """
        query = request.query
        after = _position(query.continuationToken.value)
        limit = query.maxInstanceCount if query.maxInstanceCount > 0 else PAGE_SIZE
        page = await self._reading.submit(self._reader.query, query, after, limit)
        reply = pb.QueryInstancesResponse()
        payloads = query.fetchInputsAndOutputs
        reply.orchestrationState.extend(state_of(i, payloads=payloads) for i in page.instances)
        if page.next is not None:
            reply.continuationToken.value = f"{page.next[0]}-{page.next[1]}"
        return reply

    async def history(
        self, request: pb.StreamInstanceHistoryRequest
    ) -> AsyncIterator[pb.HistoryChunk]:
        """The history of an instance, in chunks.

        It is that of the execution that is asked for, or else of the current one, whole.

        Raises:
            CallError: NOT_FOUND for an unknown id, or an execution that is gone.
        """
        for message in messages(await self._whole_history(request)):
            yield message

    def fire(self, resident: Resident, timer: TimerRow) -> None:
        """A timer of this instance is due."""
        instance = resident.instance
        if instance.timers.pop(timer.row, None) is None:
            return
        self._committer.writes(resident).end_timer(timer.row)
        if timer.row == start_row(instance.key):
            self._turns.ready(resident)
            return
        event = transitions.timer_fired(timer.timer_id, timer.stamp, self._clock.now())
        self._turns.add_message(resident, event)

    async def fire_all(self, due: Sequence[TimerRow]) -> None:
        """Load the instances of due timers and let them fire."""
        residents = await self._working_set.load_keys([key_of(timer.row) for timer in due])
        by_key = {resident.instance.key: resident for resident in residents}
        for timer in due:
            resident = by_key.get(key_of(timer.row))
            if resident is not None and not resident.gone:
                self.fire(resident, timer)

    async def _whole_history(self, request: pb.StreamInstanceHistoryRequest) -> list[bytes]:
        execution_id = request.executionId.value
        while True:
            resident = await self._existing(request.instanceId, "read the history of")
            if execution_id and execution_id != resident.instance.execution_id:
                raise CallError(
                    Status.NOT_FOUND,
                    f"Instance '{request.instanceId}' has no execution '{execution_id}' any more.",
                )
            try:
                return await self._histories.read(resident)
            except CallError:
                if not resident.gone:
                    raise
                # Another execution has taken its place, or none has, which ``_existing`` finds out.

    async def _existing(self, instance_id: str, what: str) -> Resident:
        resident = await self._working_set.load(instance_id)
        if resident is None:
            raise CallError(
                Status.NOT_FOUND, f"Cannot {what} instance '{instance_id}': there is none."
            )
        return resident

    async def _reply(
        self, resident: Resident | None, request: pb.GetInstanceRequest
    ) -> pb.GetInstanceResponse:
        """Make the reply of what is known now, then wait until that is committed."""
        instance: Instance | None = None if resident is None else resident.instance
        reply = reply_of(instance, payloads=request.getInputsAndOutputs)
        if resident is not None:
            await self._settled(resident)
        return reply

    async def _settled(self, resident: Resident) -> None:
        barrier = self._committer.barrier(resident)
        if barrier is not None:
            await barrier
        else:
            self._working_set.settle(resident)

    async def _wait(self, waiters: list[asyncio.Future[None]], resident: Resident) -> None:
        if self._stopped is not None:  # while the instance was being loaded
            raise self._stopped
        future: asyncio.Future[None] = self._loop.create_future()
        waiters.append(future)
        try:
            await future
        finally:
            if future in waiters:
                waiters.remove(future)
                self._working_set.settle(resident)


def _is_of(instance: Instance, request: pb.CreateInstanceRequest) -> bool:
    """Whether it was this very request that made an instance."""
    return instance.execution_id == request.executionId.value


def _may_replace(instance: Instance, request: pb.CreateInstanceRequest) -> bool:
    named = instance.status in request.orchestrationIdReusePolicy.replaceableStatus
    return named and not _is_of(instance, request)


def _position(token: str) -> tuple[int, int]:
    """Read a continuation token, ``created-key``; an absent one is the beginning."""
    if not token:
        return (-1, -1)
    created, _, key = token.partition("-")
    if created.isdecimal() and key.isdecimal():
        return int(created), int(key)
    raise CallError(
        Status.INVALID_ARGUMENT,
        f"'{token}' is not a continuation token of this engine. Start the query again.",
    )
