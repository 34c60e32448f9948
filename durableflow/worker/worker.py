"""The worker's life: start, serve, drain, stop.  ``Worker`` puts the parts together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from attrs import define, field

from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.errors import OperationalError
from durableflow.hub.loop import HubLoop
from durableflow.hub.port import KnowsTakers, TaskHub
from durableflow.plugins import PluginSet
from durableflow.registry import Registry
from durableflow.replay import Callees
from durableflow.settings import Settings
from durableflow.worker.activities import LEASE_SECONDS, Activities
from durableflow.worker.activity_runner import ActivityRunner
from durableflow.worker.completions import Completions
from durableflow.worker.health import HealthServer
from durableflow.worker.notices import ActivityNotices
from durableflow.worker.orchestrations import Orchestrations, TurnLimits
from durableflow.worker.processes import ActivityProcesses
from durableflow.worker.stream import WorkItemLoop
from durableflow.worker.turns import TurnRunner
from durableflow.worker.work_items import (
    SESSIONS_METADATA,
    new_worker_instance_id,
    nothing_more,
    work_items_request,
)

logger = logging.getLogger(__name__)

_CANCEL_SECONDS: Final = 1.0
_GIVE_BACK_SECONDS: Final = 2.0
_ASK_SECONDS: Final = 1.0


@define(kw_only=True, eq=False)
class Worker:
    """Serves one task hub with the functions of one app, once.

    It can be made on any thread; its methods run on the hub loop.

    Attributes:
        hub: Open already, and open until the worker has stopped.
        app_loop: Returns the loop that async activities run on; asked when there is one to run.
        app: The ``App``, for activities and plugins.
        state: What the app's lifespan yielded, for activities.
        limits: How long one orchestrator turn may take.
        lease_seconds: How long the hub keeps running activities for a worker that it has lost.
        serves_alone: Whether nobody else can serve the hub, so that this worker has to take up
            what it does not know, too, and say so.
    """

    hub: TaskHub
    hub_loop: HubLoop
    app_loop: Callable[[], asyncio.AbstractEventLoop]
    registry: Registry
    converter: Converter
    plugins: PluginSet
    settings: Settings
    app: Any
    state: Any = None
    limits: TurnLimits = field(factory=TurnLimits)
    lease_seconds: float = LEASE_SECONDS
    serves_alone: bool = False
    instance_id: str = field(factory=new_worker_instance_id, init=False)
    failure: str | None = field(default=None, init=False)
    _failed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _settled: asyncio.Event = field(factory=asyncio.Event, init=False)
    _stopped: asyncio.Event = field(factory=asyncio.Event, init=False)
    _draining: bool = field(default=False, init=False)
    _callees: Callees = field(init=False)
    _unknown_kinds: set[str] = field(factory=set, init=False)
    _completions: Completions = field(init=False)
    _orchestrations: Orchestrations = field(init=False)
    _processes: ActivityProcesses = field(init=False)
    _activities: Activities = field(init=False)
    _stream: WorkItemLoop = field(init=False)
    _health: HealthServer | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        loop = self.hub_loop.loop
        private_hub = self.hub.description if self.serves_alone else None
        self._callees = Callees(
            self.registry, private_hub=private_hub, start_version=self._start_version
        )
        self._completions = Completions(self._check_settled)
        self._orchestrations = Orchestrations(
            self.hub,
            self._completions,
            loop,
            new_runner=self._new_turn_runner,
            limits=self.limits,
            on_failure=self._fail,
        )
        max_payload_bytes = self.settings.max_payload_bytes
        self._processes = ActivityProcesses(
            self.app, self.plugins, max_payload_bytes=max_payload_bytes
        )
        self._activities = Activities(
            self.hub,
            self._completions,
            loop,
            runner=ActivityRunner(
                registry=self.registry,
                converter=self.converter,
                app=self.app,
                state=self.state,
                max_payload_bytes=max_payload_bytes,
            ),
            notices=ActivityNotices(self.plugins),
            processes=self._processes,
            app_loop=self.app_loop,
            most=self.settings.max_concurrent_activities,
            most_processes=self.settings.max_activity_processes,
            lease_seconds=self.lease_seconds,
        )
        self._stream = WorkItemLoop(
            self.hub,
            request=self._request,
            metadata=SESSIONS_METADATA,
            on_item=self._dispatch,
            on_opened=self._activities.stream_opened,
            on_lost=self._lose_stream,
            on_unusable=self._fail,
        )
        if self.settings.health_port is not None:
            self._health = HealthServer(
                {"/livez": lambda: self.failure, "/readyz": lambda: self.unready_reason},
                host=self.settings.health_host,
                port=self.settings.health_port,
            )

    @property
    def unready_reason(self) -> str | None:
        """Why no work items can come right now; None if they can."""
        if self.failure is not None:
            return f"given up: {self.failure}"
        return "stopping" if self._draining else self._stream.problem

    @property
    def health_address(self) -> str | None:
        """Where probes are answered; None if nowhere."""
        return None if self._health is None else self._health.address

    async def wait_ready(self) -> None:
        """Return as soon as work items can come."""
        await self._stream.wait_ready()

    async def wait_failed(self) -> str:
        """Return, with the reason, when the worker cannot go on; the process should then end."""
        await self._failed.wait()
        return self.failure or ""

    async def start(self) -> None:
        """Begin to serve.  Connecting goes on in the background, for as long as it takes.

        Raises:
            RegistrationError: an activity cannot run where it is to run.
            SettingsError: probes cannot be served where they are to be.
        """
        self._processes.check(self.registry)
        if self._health is not None:
            await self._health.start()
        self._orchestrations.start()
        self._stream.start()
        try:
            await asyncio.to_thread(self.plugins.worker_started, self.app, self.hub.description)
        except BaseException:
            await self.stop()
            raise

    async def drain(self, seconds: float) -> None:
        """Take nothing new on, finish what runs, give back what has not ended in time, and stop.

        Args:
            seconds: How long to wait for what runs.
        """
        if self._draining:
            await self._stopped.wait()
            return
        self._draining = True
        async with AsyncExitStack() as rest:  # all of it, also if a part fails or is cancelled
            rest.callback(self._stopped.set)
            if self._health is not None:
                rest.callback(self._health.stop)
            rest.push_async_callback(self._orchestrations.close, _CANCEL_SECONDS)
            rest.callback(self._activities.close)
            rest.callback(self._completions.cancel)
            rest.push_async_callback(self._give_back)
            rest.push_async_callback(self._stream.stop)
            rest.push_async_callback(self._settle, seconds)
            await asyncio.to_thread(self.plugins.worker_stopping, self.app)

    async def stop(self) -> None:
        """Stop at once, also when a drain is under way: what runs is given back."""
        self._settled.set()
        await self.drain(0)

    async def _settle(self, seconds: float) -> None:
        self._check_settled()
        if not self._settled.is_set() and await self._heeds_filters():
            self._stream.renew()
        else:
            await self._stream.stop()
        await _wait(self._settled, seconds)

    async def _heeds_filters(self) -> bool:
        """Whether a stream that wants nothing gets nothing, as from an engine of ours.

        While such a stream is open the engine gives what runs here to nobody else.
        """
        if not isinstance(self.hub, KnowsTakers):
            return False
        try:
            await self.hub.taken(pb.WorkItemFilters(), timeout=_ASK_SECONDS)
        except OperationalError:
            return False
        return True

    async def _give_back(self) -> None:
        self._orchestrations.abandon_rest()
        await self._activities.abandon_rest(_CANCEL_SECONDS)
        self._settled.clear()
        self._check_settled()
        await _wait(self._settled, _GIVE_BACK_SECONDS)

    def _check_settled(self) -> None:
        parts = (self._completions, self._orchestrations, self._activities)
        if self._draining and not any(part.outstanding for part in parts):
            self._settled.set()

    def _fail(self, reason: str) -> None:
        logger.critical("This worker gives up: %s", reason)
        self.failure = reason
        self._failed.set()

    def _lose_stream(self) -> None:
        self._orchestrations.drop_sessions()
        self._activities.stream_lost()

    def _request(self) -> pb.GetWorkItemsRequest:
        request = work_items_request(
            self.instance_id,
            registry=self.registry,
            plugins=self.plugins,
            settings=self.settings,
            takes_any=self.serves_alone,
        )
        return nothing_more(request) if self._draining else request

    def _start_version(
        self, name: str, requested: str | None, parent_version: str | None
    ) -> str | None:
        if requested is None:
            requested = self.settings.default_version
        available = self.registry.orchestrator_versions(name)
        return self.plugins.resolve_start_version(name, requested, parent_version, available)

    def _new_turn_runner(self) -> TurnRunner:
        return TurnRunner(
            registry=self.registry,
            callees=self._callees,
            converter=self.converter,
            plugins=self.plugins,
            settings=self.settings,
        )

    def _dispatch(self, item: pb.WorkItem) -> None:
        kind = item.WhichOneof("request")
        if kind == "activityRequest":
            self._activities.dispatch(item.activityRequest, item.completionToken)
        elif kind == "orchestratorRequest":
            self._orchestrations.dispatch(item.orchestratorRequest, item.completionToken)
        elif kind != "healthPing" and str(kind) not in self._unknown_kinds:
            self._unknown_kinds.add(str(kind))
            logger.error("This worker cannot run work items of the kind '%s'.", kind)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
