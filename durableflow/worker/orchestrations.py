"""Orchestrator work items: from the stream to the orchestrator thread and back.

Everything here runs on the hub loop and never blocks it.  It keeps the items that are being worked
on, reads histories where a session is missing, sends the outcomes, and watches the thread: a turn
that takes seconds is reported, one that takes half a minute loses its thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, OperationalError
from durableflow.hub.payload_stream import PAYLOAD
from durableflow.hub.port import TaskHub
from durableflow.protocol.metadata import (
    ABANDON_KIND,
    ABANDON_REASON,
    Metadata,
    encode_text,
)
from durableflow.protocol.sizes import is_refused_for_size
from durableflow.worker.completions import Call, Completions
from durableflow.worker.orchestrator_thread import OrchestratorThread
from durableflow.worker.turns import Completed, GivenBack, HistoryNeeded, TurnJob, TurnRunner

logger = logging.getLogger(__name__)

LONG_TURN: Final = "long-turn"

_REASON_CHARACTERS: Final = 2000


@frozen(kw_only=True)
class TurnLimits:
    """How long one turn may take.

    Attributes:
        slow_seconds: After this long a turn is logged with its stack.
        forfeit_seconds: After this long it loses its thread.
        most_lost_threads: After this many lost threads the worker gives up.
    """

    slow_seconds: float = 2.0
    forfeit_seconds: float = 30.0
    most_lost_threads: int = 3


class Orchestrations:
    """The orchestrator work items of one worker.

    Args:
        loop: The hub loop.
        new_runner: Makes what runs turns; asked again when a thread was lost.
        on_failure: Called once, with the reason, when too many threads were lost.
    """

    def __init__(
        self,
        hub: TaskHub,
        completions: Completions,
        loop: asyncio.AbstractEventLoop,
        *,
        new_runner: Callable[[], TurnRunner],
        limits: TurnLimits,
        on_failure: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._completions = completions
        self._new_runner = new_runner
        self._limits = limits
        self._on_failure = on_failure
        self._loop = loop
        self._jobs: set[TurnJob] = set()  # with the thread
        self._readers: dict[TurnJob, asyncio.Task[None]] = {}  # waiting for their history
        self._watch: asyncio.TimerHandle | None = None
        self._reported: TurnJob | None = None
        self._lost: Counter[str] = Counter()
        self._thread_ended = asyncio.Event()
        self._thread = self._new_thread()

    @property
    def outstanding(self) -> int:
        """How many items are being worked on."""
        return len(self._jobs) + len(self._readers)

    def start(self) -> None:
        """Start the orchestrator thread."""
        self._thread.start()

    def dispatch(self, request: pb.OrchestratorRequest, token: str) -> None:
        """Take on a work item."""
        self._submit(TurnJob(request, token))

    def drop_sessions(self) -> None:
        """Forget every session: they are void once their stream has ended."""
        self._thread.drop_sessions()

    def abandon_rest(self) -> None:
        """Give back what is still being worked on, for others to take at once."""
        for job in [*self._jobs, *self._readers]:
            self._give_back(job, ())
        for reader in self._readers.values():
            reader.cancel()
        self._jobs.clear()
        self._readers.clear()

    async def close(self, timeout: float) -> None:
        """Close the sessions and end the thread; one that hangs is left behind.

        Args:
            timeout: In seconds.
        """
        if self._watch is not None:
            self._watch.cancel()
        self._thread.stop()
        try:
            await asyncio.wait_for(self._thread_ended.wait(), timeout)
        except TimeoutError:
            self._thread.forfeit()
            logger.warning("An orchestrator still runs at the end:\n%s", self._thread.stack())

    @property
    def _watch_seconds(self) -> float:
        return min(self._limits.slow_seconds, self._limits.forfeit_seconds) / 4

    def _new_thread(self) -> OrchestratorThread:
        def wake() -> None:
            self._loop.call_soon_threadsafe(self._drain, thread)

        def ended() -> None:
            self._loop.call_soon_threadsafe(self._thread_ended.set)

        thread = OrchestratorThread(self._new_runner(), wake=wake, ended=ended)
        return thread

    def _submit(self, job: TurnJob) -> None:
        self._jobs.add(job)
        self._thread.submit(job)
        if self._watch is None:
            self._watch = self._loop.call_later(self._watch_seconds, self._look)

    def _drain(self, thread: OrchestratorThread) -> None:
        if thread is not self._thread:
            return
        outcomes = thread.outcomes
        while outcomes:
            outcome = outcomes.popleft()
            if outcome.job not in self._jobs:
                continue  # given back already
            self._jobs.remove(outcome.job)
            if isinstance(outcome, Completed):
                self._complete(outcome)
            elif isinstance(outcome, GivenBack):
                self._park(outcome)
            else:
                self._fetch(outcome)

    def _complete(self, outcome: Completed) -> None:
        hub = self._hub

        def instead(error: CallError) -> Call | None:
            if not is_refused_for_size(error):
                return None
            failed = outcome.refused_for_size(error)
            return lambda: hub.complete_orchestrator_task(failed.response())

        self._completions.send(
            lambda: hub.complete_orchestrator_task(outcome.response()), instead=instead
        )

    def _park(self, outcome: GivenBack) -> None:
        if outcome.kind is None:
            logger.warning(
                "The turn of instance '%s' is given back: %s",
                outcome.job.request.instanceId,
                outcome.reason,
            )
            self._give_back(outcome.job, ())
        else:
            self._give_back(outcome.job, _parking(outcome.kind, outcome.reason))

    def _give_back(self, job: TurnJob, metadata: Metadata) -> None:
        hub, token = self._hub, job.token
        self._completions.send(
            lambda: hub.abandon_orchestrator_task(
                pb.AbandonOrchestrationTaskRequest(completionToken=token), metadata=metadata
            )
        )

    def _fetch(self, outcome: HistoryNeeded) -> None:
        job = outcome.job
        self._readers[job] = asyncio.create_task(self._read_history(job))

    async def _read_history(self, job: TurnJob) -> None:
        request = pb.StreamInstanceHistoryRequest(
            instanceId=job.request.instanceId, forWorkItemProcessing=True
        )
        if job.request.HasField("executionId"):
            request.executionId.value = job.request.executionId.value
        history: list[pb.HistoryEvent] = []
        try:
            async for chunk in self._hub.stream_instance_history(request):
                history.extend(chunk.events)
        except OperationalError as error:
            self._give_back(job, _without_history(job.request.instanceId, error))
        else:
            job.history = history
            self._submit(job)
        finally:
            self._readers.pop(job, None)

    def _look(self) -> None:
        """Look after the thread, for as long as it has work."""
        self._watch = None
        if not self._jobs:
            return
        thread = self._thread
        self._drain(thread)
        busy = thread.busy_seconds()
        if busy >= self._limits.forfeit_seconds:
            self._replace(thread)
        elif busy >= self._limits.slow_seconds and thread.current is not self._reported:
            self._reported = thread.current
            logger.warning(
                "%s: a turn takes %.1f s. Orchestrators share one thread; move what blocks into "
                "an activity. It is here:\n%s",
                _described(thread.current),
                busy,
                thread.stack(),
            )
        self._watch = self._loop.call_later(self._watch_seconds, self._look)

    def _replace(self, thread: OrchestratorThread) -> None:
        """Leave a hanging thread behind, and go on with a new one."""
        stuck = thread.current
        instance_id = stuck.request.instanceId if stuck is not None else ""
        self._lost[instance_id] += 1
        reason = (
            f"A turn has not ended for {thread.busy_seconds():.3g} s and has lost its thread. "
            f"This worker has lost {self._lost.total()}, {self._lost[instance_id]} of them to this "
            "instance. Move what blocks into an activity. The turn is here:\n"
        )
        stack = thread.stack()
        logger.error("%s: %s%s", _described(stuck), reason, stack)
        thread.forfeit()
        self._thread = self._new_thread()
        self._thread.start()
        if stuck in self._jobs:
            self._jobs.remove(stuck)
            shown = stack[-(_REASON_CHARACTERS - len(reason)) :]
            self._give_back(stuck, _parking(LONG_TURN, reason + shown))
        for job in self._jobs:
            self._thread.submit(job)
        if self._lost.total() == self._limits.most_lost_threads:
            self._on_failure(f"{self._limits.most_lost_threads} orchestrator threads hang")


def _parking(kind: str, reason: str) -> Metadata:
    """Make the metadata by which an instance is set aside, with a reason for people."""
    return ((ABANDON_KIND, kind), (ABANDON_REASON, encode_text(reason[:_REASON_CHARACTERS])))


def _without_history(instance_id: str, error: OperationalError) -> Metadata:
    """Log that a history could not be read, and make the metadata for giving its turn back."""
    if not (isinstance(error, CallError) and is_refused_for_size(error)):
        logger.info("No history of instance '%s': %s", instance_id, error)
        return ()
    reason = (
        f"The history of instance '{instance_id}' has an event that is larger than this worker "
        f"accepts ({str(error).removesuffix('.')}). Raise max_message_bytes for the worker and "
        "start it again."
    )
    logger.error("%s", reason)
    return _parking(PAYLOAD, reason)


def _described(job: TurnJob | None) -> str:
    return f"Instance '{job.request.instanceId}'" if job is not None else "An evicted session"
