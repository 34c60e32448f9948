"""A task hub that answers from a script, and clients on it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import AsyncClient, Client, ClientCore
from durableflow.converter import Converter
from durableflow.errors import CallError
from durableflow.hub.loop import HubLoop
from durableflow.plugins import PluginSet
from durableflow.protocol.status import Status
from durableflow.registry import Registry
from durableflow.routing import ExactVersionRouting


class ScriptedHub:
    """Answers each call with the next of the answers given for it, the last one for ever."""

    description = "sqlite:////srv/orders.db"

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.timeouts: list[float | None] = []
        self._answers: dict[str, list[Any]] = {}

    def answers(self, method: str, *answers: Any) -> None:
        """Give the answers of a method: messages, or statuses to fail with."""
        self._answers[method] = list(answers)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        if method not in self._answers:
            raise AttributeError(method)

        async def call(request: Any, *, timeout: float | None = None) -> Any:
            self.requests.append(request)
            self.timeouts.append(timeout)
            answers = self._answers[method]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Status):
                raise CallError(answer, f"scripted {answer.name}")
            return answer

        return call


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self._skipped = 0.0
        super().__init__(_JumpingSelector(self.skip))

    def skip(self, seconds: float) -> None:
        self._skipped += seconds

    def time(self) -> float:
        return super().time() + self._skipped


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout:
            self._skip(timeout)
        return ready


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs a coroutine on a loop where waiting takes no time."""
    loop = JumpingLoop()
    yield loop.run_until_complete
    loop.close()


@pytest.fixture
def hub() -> ScriptedHub:
    return ScriptedHub()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def plugins() -> PluginSet:
    plugins = PluginSet()
    plugins.register(ExactVersionRouting())
    return plugins


@pytest.fixture
def core(hub: ScriptedHub, registry: Registry, plugins: PluginSet) -> Iterator[ClientCore]:
    loop = HubLoop.acquire()
    yield ClientCore(hub=hub, loop=loop, registry=registry, converter=Converter(), plugins=plugins)
    loop.release()


@pytest.fixture
def client(core: ClientCore) -> Client:
    return Client(core)


@pytest.fixture
def async_client(core: ClientCore) -> AsyncClient:
    return AsyncClient(core)


@pytest.fixture
def state_message() -> Callable[..., pb.OrchestrationState]:
    """Builds an instance's state as engines send it."""

    def build(status: str = "COMPLETED", **fields: Any) -> pb.OrchestrationState:
        message = pb.OrchestrationState(
            instanceId="a1b2",
            name="order",
            orchestrationStatus=f"ORCHESTRATION_STATUS_{status}",
        )
        message.createdTimestamp.FromJsonString("2026-01-02T03:04:05.000006Z")
        message.lastUpdatedTimestamp.FromJsonString("2026-01-02T03:05:00Z")
        for name in ("version", "input", "output", "customStatus"):
            if name in fields:
                getattr(message, name).value = fields.pop(name)
        message.MergeFrom(pb.OrchestrationState(**fields))
        return message

    return build
