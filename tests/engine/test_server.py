"""Serving a task hub over gRPC: who may come in, what is refused, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.server import HubServer, bearer
from durableflow.errors import CallError, SetupError
from durableflow.hub.options import HubOptions
from durableflow.hub.remote import HubLostError, RemoteTaskHub
from durableflow.protocol.metadata import AUTHORIZATION, Metadata
from durableflow.protocol.service import RPCS
from durableflow.protocol.status import Status
from tests.engine.driver import DEADLINE_SECONDS, Client, Worker

TOKEN = "correct horse"


@pytest.fixture
async def memory() -> AsyncIterator[Engine]:
    engine = Engine(None)
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
async def server(memory: Engine) -> AsyncIterator[HubServer]:
    server = HubServer(memory, token=TOKEN)
    await server.start()
    yield server
    await server.stop()


class Caller:
    """Opens connections to a server and closes them at the end."""

    def __init__(self) -> None:
        self._hubs: list[RemoteTaskHub] = []

    async def __call__(self, server: HubServer, token: str | None = TOKEN) -> RemoteTaskHub:
        metadata: Metadata = () if token is None else ((AUTHORIZATION, bearer(token)),)
        hub = RemoteTaskHub(server.address, metadata=metadata, options=HubOptions(role="worker"))
        await hub.open()
        self._hubs.append(hub)
        return hub

    async def close(self) -> None:
        for hub in self._hubs:
            await hub.close()


@pytest.fixture
async def connect() -> AsyncIterator[Caller]:
    caller = Caller()
    yield caller
    await caller.close()


# Who may come in


async def test_the_token_lets_in(server: HubServer, connect: Caller) -> None:
    await (await connect(server)).hello()


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "naïve"])
async def test_a_missing_or_wrong_token_is_refused_with_the_reason(
    server: HubServer, connect: Caller, token: str | None
) -> None:
    encoded = None if token is None else token.encode("ascii", "replace").decode()
    hub = await connect(server, encoded)

    with pytest.raises(CallError) as error:
        await hub.hello()

    assert error.value.status is Status.UNAUTHENTICATED
    assert "token" in str(error.value)
    assert TOKEN not in str(error.value)


async def test_a_stream_needs_the_token_too(server: HubServer, connect: Caller) -> None:
    hub = await connect(server, "wrong")

    with pytest.raises(CallError) as error:
        await anext(hub.get_work_items(pb.GetWorkItemsRequest()))

    assert error.value.status is Status.UNAUTHENTICATED


async def test_a_server_without_a_token_lets_everyone_in(memory: Engine, connect: Caller) -> None:
    server = HubServer(memory)
    await server.start()

    await (await connect(server, None)).hello()
    await (await connect(server, "any")).hello()

    await server.stop()


# What is refused


@pytest.mark.parametrize("rpc", [rpc for rpc in RPCS if rpc.method is None], ids=lambda r: r.name)
async def test_what_is_not_carried_out_is_refused_by_name(
    server: HubServer, connect: Caller, rpc: object
) -> None:
    name, request, reply = rpc.name, rpc.request, rpc.reply  # type: ignore[attr-defined]  # an Rpc
    hub = await connect(server)

    with pytest.raises(CallError) as error:
        await hub.call(f"/TaskHubSidecarService/{name}", request(), reply)

    assert error.value.status is Status.UNIMPLEMENTED
    assert name in str(error.value)


async def test_an_unknown_call_is_refused_by_name(server: HubServer, connect: Caller) -> None:
    hub = await connect(server)

    with pytest.raises(CallError) as error:
        await hub.call("/TaskHubSidecarService/Dance", pb.HealthPing(), pb.HealthPing)

    assert error.value.status is Status.UNIMPLEMENTED
    assert "Dance" in str(error.value)


# Ports and hosts


async def test_a_port_in_use_is_named(memory: Engine, server: HubServer) -> None:
    port = int(server.address.rsplit(":", 1)[1])

    with pytest.raises(SetupError, match=f"Port {port} .* another process"):
        await HubServer(memory, port=port).start()


@pytest.mark.parametrize("port", [-1, 65_536, 22_222_222])
async def test_what_is_no_port_is_refused(memory: Engine, port: int) -> None:
    with pytest.raises(SetupError, match=f"{port} is not a port"):
        await HubServer(memory, port=port).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
async def test_only_this_machine_is_served(memory: Engine, host: str) -> None:
    with pytest.raises(SetupError, match="loopback"):
        await HubServer(memory, host=host).start()


# How it ends


async def test_draining_finishes_what_is_under_way_and_turns_the_rest_away(
    memory: Engine, connect: Caller
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    slow = _SlowHello(memory, begun, go_on)
    server = HubServer(slow)
    await server.start()
    hub = await connect(server, None)
    call = asyncio.create_task(hub.hello())
    await asyncio.wait_for(begun.wait(), DEADLINE_SECONDS)

    draining = asyncio.create_task(server.drain(DEADLINE_SECONDS))
    with pytest.raises(HubLostError) as error:
        await hub.get_instance(pb.GetInstanceRequest(instanceId="a"))
    assert not draining.done()
    go_on.set()

    await draining
    await call
    assert error.value.untouched
    await server.stop()


async def test_draining_finishes_completions_under_way_and_turns_later_ones_away(
    memory: Engine, connect: Caller
) -> None:
    slow = _SlowCompletions(memory)
    server = HubServer(slow)
    await server.start()
    hub = await connect(server, None)
    first = asyncio.ensure_future(hub.complete_activity_task(completion("first")))
    await asyncio.wait_for(slow.begun.wait(), DEADLINE_SECONDS)

    draining = asyncio.create_task(server.drain(DEADLINE_SECONDS))
    late = asyncio.ensure_future(hub.complete_activity_task(completion("late")))
    await until_turned_away(hub)
    assert not draining.done()
    slow.go_on.set()

    await draining
    await first
    with pytest.raises(HubLostError) as error:
        await late
    assert error.value.untouched
    await server.stop()


async def test_a_completion_that_breaks_the_engine_fails_alone_and_is_logged(
    memory: Engine, connect: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    server = HubServer(_SlowCompletions(memory))
    await server.start()
    hub = await connect(server, None)

    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = await asyncio.gather(
            hub.complete_activity_task(completion("broken")),
            hub.complete_activity_task(completion("good")),
            return_exceptions=True,
        )

    assert isinstance(answers[0], CallError)
    assert answers[0].status is Status.INTERNAL
    assert not isinstance(answers[1], BaseException)
    assert "could not be taken" in caplog.text
    await server.stop()


async def test_draining_does_not_wait_for_waits(
    memory: Engine, server: HubServer, connect: Caller
) -> None:
    hub = await connect(server)
    await Client(hub).start(id="a")
    waiting = asyncio.create_task(
        hub.wait_for_instance_completion(pb.GetInstanceRequest(instanceId="a"))
    )
    await hub.hello()

    await server.drain(DEADLINE_SECONDS)
    await memory.close()

    with pytest.raises(CallError) as error:
        await waiting
    assert error.value.status is Status.UNAVAILABLE


async def test_a_caller_that_goes_away_gives_its_work_back(
    memory: Engine, server: HubServer, connect: Caller
) -> None:
    hub = await connect(server)
    await Client(memory).start(id="a")
    async with Worker(hub) as gone:
        await gone.turn("a")
        await hub.close()

    async with Worker(memory, "another") as worker:
        await (await worker.turn("a")).finish()


class _SlowHello:
    """A task hub whose ``hello`` takes as long as the test likes."""

    def __init__(self, hub: Engine, begun: asyncio.Event, go_on: asyncio.Event) -> None:
        self._hub = hub
        self._begun = begun
        self._go_on = go_on

    async def hello(self, *, timeout: float | None = None) -> None:
        self._begun.set()
        await self._go_on.wait()

    def __getattr__(self, name: str) -> object:
        return getattr(self._hub, name)


class _SlowCompletions:
    """A task hub that completes the activity ``first`` when the test likes; ``broken`` breaks it."""

    def __init__(self, hub: Engine) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self._hub = hub

    def complete_activity_task(
        self, request: pb.ActivityResponse, *, timeout: float | None = None
    ) -> Awaitable[object]:
        if request.completionToken == "broken":
            raise ZeroDivisionError
        return self._complete(request.completionToken)

    async def _complete(self, token: str) -> None:
        self.begun.set()
        if token == "first":
            await self.go_on.wait()

    def __getattr__(self, name: str) -> object:
        return getattr(self._hub, name)


def completion(token: str) -> pb.ActivityResponse:
    return pb.ActivityResponse(completionToken=token)


async def until_turned_away(hub: RemoteTaskHub) -> None:
    """Return when the server has read what was sent before, and is going away."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await hub.hello()
            except HubLostError:
                return


# Many at once


async def test_thousands_of_calls_at_once_on_one_connection_are_all_answered(
    memory: Engine, server: HubServer, connect: Caller
) -> None:
    hub = await connect(server)
    calls = [hub.get_instance(pb.GetInstanceRequest(instanceId=str(n))) for n in range(4000)]

    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
