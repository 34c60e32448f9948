"""Activity work items: from the stream to a thread or the app's loop, and back.

Dispatching and answering happen on the hub loop; running on the activity pool (``def``) or the
app's loop (``async def``).  What ended is collected and told to the hub loop with one wake-up for
as many as there are by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from durableflow._proto import task_hub_pb2 as pb
from durableflow.hub.port import TaskHub
from durableflow.worker.activity_runner import ActivityJob, ActivityRunner
from durableflow.worker.completions import Completions
from durableflow.worker.coroutines import CoroutinePool
from durableflow.worker.pool import ActivityPool

logger = logging.getLogger(__name__)

_Key: TypeAlias = tuple[str, str, int]


class Activities:
    """The activity work items of one worker.

    Args:
        loop: The hub loop.
        app_loop: Returns the loop for async activities; asked when there is one to run.
        most: How many sync activities may run at once, and how many async ones.
    """

    def __init__(
        self,
        hub: TaskHub,
        completions: Completions,
        loop: asyncio.AbstractEventLoop,
        *,
        runner: ActivityRunner,
        app_loop: Callable[[], asyncio.AbstractEventLoop],
        most: int,
    ) -> None:
        self._hub = hub
        self._completions = completions
        self._runner = runner
        self._loop = loop
        self._running: dict[_Key, ActivityJob] = {}
        # Calls and tokens whose results are under way.  Not every engine has tokens of its own for
        # each call of a turn.
        self._delivering: set[tuple[_Key, str]] = set()
        self._ended: deque[ActivityJob] = deque()
        self._woken = False
        self._closed = False
        self._pool = ActivityPool(most=most, run=self._runner.run, ended=self._report)
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
        if job.definition is None:
            self._runner.refuse(job)
            self._end(job)
        elif job.definition.is_async:
            self._start_coroutine(key, job)
        else:
            self._pool.submit(job)

    async def abandon_rest(self, timeout: float) -> None:
        """Give back what has not ended, for others to run again.

        Async activities are cancelled, and awaited for ``timeout`` seconds.  A sync one cannot be
        stopped: its thread goes on, but what it returns is dropped.
        """
        self._closed = True
        self._pool.drop_waiting()
        for job in self._running.values():
            logger.warning(
                "Activity '%s' of instance '%s' has not ended; it is given back and runs again.",
                job.request.name,
                job.request.orchestrationInstance.instanceId,
            )
            self._give_back(job.token)
        self._running.clear()
        await self._coroutines.cancel(timeout)

    def close(self) -> None:
        """Let idle threads end; results no longer count."""
        self._closed = True
        self._pool.close()

    def _start_coroutine(self, key: _Key, job: ActivityJob) -> None:
        try:
            self._coroutines.submit(job)
        except RuntimeError as error:
            logger.warning("Async activity '%s' is given back: %s", job.request.name, error)
            del self._running[key]
            self._give_back(job.token)

    async def _run_async(self, job: ActivityJob) -> None:
        await self._runner.run_async(job)
        self._report(job)

    def _report(self, job: ActivityJob) -> None:
        """Tell the hub loop that a job has ended.  Any thread may call."""
        self._ended.append(job)
        if not self._woken and not self._closed:
            self._woken = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._woken = False  # before looking: a job that ends from now on wakes again
        while self._ended:
            job = self._ended.popleft()
            if not self._closed:
                self._end(job)

    def _end(self, job: ActivityJob) -> None:
        hub, token = self._hub, job.token
        key = _key(job.request)
        if self._running.get(key) is job:
            del self._running[key]
        if token:
            self._delivering.add((key, token))
        self._completions.send(
            lambda: hub.complete_activity_task(job.response()),
            lambda: self._delivering.discard((key, token)),
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
