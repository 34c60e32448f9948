"""Activity work items: from the stream to a thread, a process or the app's loop, and back.

Dispatching and answering happen on the hub loop; running on the activity pool (``def``), on a
thread that watches a process (``executor="process"``), or on the app's loop (``async def``).  What
ended is collected and told to the hub loop with one wake-up for as many as there are by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from attrs import evolve

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import ActivityTimeoutError, CallError
from durableflow.hub.mailbox import Mailbox
from durableflow.hub.port import TaskHub
from durableflow.protocol.sizes import is_refused_for_size, refused_for_size
from durableflow.worker.activity_runner import ActivityJob, ActivityRunner
from durableflow.worker.completions import Call, Completions
from durableflow.worker.coroutines import CoroutinePool
from durableflow.worker.notices import ActivityNotices
from durableflow.worker.pool import ActivityPool
from durableflow.worker.processes import ActivityProcesses

logger = logging.getLogger(__name__)

LEASE_SECONDS: Final = 10.0
"""How long a task hub keeps the activities of a stream that broke off for the same worker."""

_Key: TypeAlias = tuple[str, str, int]


class Activities:
    """The activity work items of one worker.

    Args:
        loop: The hub loop.
        app_loop: Returns the loop for async activities; asked when there is one to run.
        most: How many sync activities may run at once, and how many async ones.
        most_processes: How many may run in processes at once.
        lease_seconds: How long a stream may be lost before activities are told.
    """

    def __init__(  # noqa: PLR0913  # keyword-only; one object owns the whole life of activities
        self,
        hub: TaskHub,
        completions: Completions,
        loop: asyncio.AbstractEventLoop,
        *,
        runner: ActivityRunner,
        notices: ActivityNotices,
        processes: ActivityProcesses,
        app_loop: Callable[[], asyncio.AbstractEventLoop],
        most: int,
        most_processes: int,
        lease_seconds: float,
    ) -> None:
        self._hub = hub
        self._completions = completions
        self._runner = runner
        self._notices = notices
        self._processes = processes
        self._loop = loop
        self._lease_seconds = lease_seconds
        self._lease: asyncio.TimerHandle | None = None
        self._running: dict[_Key, ActivityJob] = {}
        # Calls and tokens whose results are under way.  Not every engine has tokens of its own for
        # each call of a turn.
        self._delivering: set[tuple[_Key, str]] = set()
        self._mailbox = Mailbox(loop)
        self._closed = False
        self._threads = ActivityPool(most=most, run=self._run, ended=self._report)
        self._watchers = ActivityPool(
            most=most_processes, run=self._run_in_process, ended=self._report
        )
        self._coroutines = CoroutinePool(app_loop, most=most, run=self._run_async)

    @property
    def outstanding(self) -> int:
        """How many activities have not ended."""
        return len(self._running)

    def dispatch(self, request: pb.ActivityRequest, token: str) -> None:
        """Take on a work item.  One that is running already keeps running, for both."""
        key = _key(request)
        running = self._running.get(key)
        if running is not None and _is_same_call(running.request, request):
            running.token = token
            logger.debug("Activity '%s' came again while it runs", request.name)
            return
        if (key, token) in self._delivering:
            return
        job = self._running[key] = self._runner.job(request, token)
        definition = job.definition
        if definition is None:
            self._runner.refuse(job)
            self._end(job, job)
        elif definition.is_async:
            self._start_coroutine(key, job)
        elif definition.executor == "process":
            self._watchers.submit(job)
        else:
            self._threads.submit(job)

    def stream_lost(self) -> None:
        """Begin to count the time until the hub gives the running activities to others."""
        if self._lease is None:
            self._lease = self._loop.call_later(self._lease_seconds, self._lose_lease)

    def stream_opened(self) -> None:
        """Stop counting."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None

    async def abandon_rest(self, timeout: float) -> None:
        """Give back what has not ended, for others to run again.

        Processes are ended.  Async activities are cancelled, and awaited for ``timeout`` seconds.
        A thread cannot be stopped: it goes on, but what its activity returns is dropped.
        """
        self._closed = True
        self.stream_opened()
        self._threads.drop_waiting()
        self._watchers.drop_waiting()
        for job in self._running.values():
            logger.warning(
                "Activity '%s' of instance '%s' has not ended; it is given back and runs again.",
                job.request.name,
                job.instance_id,
            )
            self._give_back(job.token)
            job.cancel_token.set("The worker stops.")
        self._running.clear()
        await asyncio.to_thread(self._processes.close)
        await self._coroutines.cancel_all(timeout)

    def close(self) -> None:
        """Let idle threads end, after ``abandon_rest``."""
        self._threads.close()
        self._watchers.close()

    def _start_coroutine(self, key: _Key, job: ActivityJob) -> None:
        try:
            self._coroutines.submit(job)
        except RuntimeError as error:
            logger.warning("Async activity '%s' is given back: %s", job.request.name, error)
            del self._running[key]
            self._give_back(job.token)

    def _run(self, job: ActivityJob) -> None:
        self._begin(job)
        self._runner.run(job)
        self._notices.end(job)

    def _run_in_process(self, job: ActivityJob) -> None:
        if job.definition is not None:
            self._processes.run(job, job.definition, partial(self._begin, job))
            self._notices.end(job)

    async def _run_async(self, job: ActivityJob) -> None:
        self._begin(job)
        await self._runner.run_async(job)
        self._notices.end(job)
        self._report(job)

    def _begin(self, job: ActivityJob) -> None:
        """Have a job timed from now on, and tell that it begins.  Called where it runs."""
        self._notices.begin(job)
        seconds = None if job.definition is None else job.definition.timeout_seconds
        if seconds is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has stopped
                self._loop.call_soon_threadsafe(self._time, job, seconds)

    def _time(self, job: ActivityJob, seconds: float) -> None:
        if self._runs(job):
            self._loop.call_later(seconds, self._time_out, job, seconds)

    def _time_out(self, job: ActivityJob, seconds: float) -> None:
        """Fail a job, and take from it what it runs on."""
        if self._closed or not self._runs(job):
            return
        error = ActivityTimeoutError(
            f"Activity '{job.request.name}' has run for its timeout of {seconds:g} s. Give it more "
            "time, or let what it waits for give up earlier."
        )
        outcome = evolve(job)  # what the job itself still says no longer counts
        outcome.fail(error)
        self._end(job, outcome)
        job.cancel_token.set(str(error))
        if job.definition is None or job.definition.is_async:
            self._coroutines.cancel(job)
        elif job.definition.executor == "process":
            self._processes.end(job)
        else:
            self._write_off(job)

    def _write_off(self, job: ActivityJob) -> None:
        replaced = self._threads.write_off(job)
        logger.warning(
            "Activity '%s' of instance '%s' has failed by its timeout, but its thread goes on; "
            "threads cannot be stopped. %s Let long activities look at ctx.cancel_token, or run "
            'them with executor="process".',
            job.request.name,
            job.instance_id,
            "Another thread takes its place."
            if replaced
            else "Too many do so to be replaced: this one keeps its place among the activities.",
        )

    def _lose_lease(self) -> None:
        for job in self._running.values():
            job.cancel_token.set(
                f"The connection to {self._hub.description} has been lost for "
                f"{self._lease_seconds:g} s, so this activity runs again."
            )

    def _report(self, job: ActivityJob) -> None:
        """Tell the hub loop that a job has ended.  Any thread may call."""
        if not self._closed:
            self._mailbox.put(partial(self._ended, job))

    def _ended(self, job: ActivityJob) -> None:
        if not self._closed and self._runs(job):
            self._end(job, job)

    def _runs(self, job: ActivityJob) -> bool:
        return self._running.get(_key(job.request)) is job

    def _end(self, job: ActivityJob, outcome: ActivityJob) -> None:
        """Send how a job ended."""
        hub, token = self._hub, job.token
        key = _key(job.request)
        del self._running[key]
        if outcome.failure is not None and job.cancel_token.is_set():
            self._give_back(token)  # it stopped because it was told to
            return
        if token:
            self._delivering.add((key, token))

        def instead(error: CallError) -> Call | None:
            if not is_refused_for_size(error):
                return None
            size = len((outcome.result or "").encode())
            too_large = refused_for_size(outcome.place_of_result, size, error)
            outcome.fail(too_large, is_final=True)
            return lambda: hub.complete_activity_task(outcome.response())

        self._completions.send(
            lambda: hub.complete_activity_task(outcome.response()),
            lambda: self._delivering.discard((key, token)),
            instead=instead,
        )

    def _give_back(self, token: str) -> None:
        hub = self._hub
        self._completions.send(
            lambda: hub.abandon_activity_task(pb.AbandonActivityTaskRequest(completionToken=token))
        )


def _key(request: pb.ActivityRequest) -> _Key:
    instance = request.orchestrationInstance
    return instance.instanceId, instance.executionId.value, request.taskId


def _is_same_call(one: pb.ActivityRequest, other: pb.ActivityRequest) -> bool:
    # Engines without execution ids give the calls of two generations the same key.
    return one.name == other.name and one.input == other.input
