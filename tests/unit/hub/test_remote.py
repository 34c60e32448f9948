"""gRPC's statuses, broken connections and cancellations as the port names them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.server import HubServer
from durableflow.errors import CallError, OutcomeUnknownError
from durableflow.hub.channel import channel_options, is_loopback
from durableflow.hub.loop import HubLoop
from durableflow.hub.options import HubOptions
from durableflow.hub.remote import HubLostError, RemoteTaskHub
from durableflow.protocol.status import Status
from tests.engine.proxy import Proxy

OPTIONS = HubOptions(role="client")
DEADLINE_SECONDS = 10.0


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(None)
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[HubServer]:
    server = HubServer(engine)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def hub(server: HubServer) -> AsyncIterator[RemoteTaskHub]:
    hub = RemoteTaskHub(server.address, options=OPTIONS)
    await hub.open()
    yield hub
    await hub.close()


def unused_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
async def nowhere() -> AsyncIterator[RemoteTaskHub]:
    """A hub at an address where nobody listens."""
    hub = RemoteTaskHub(unused_address(), options=OPTIONS)
    await hub.open()
    yield hub
    await hub.close()


def test_the_description_is_an_address() -> None:
    assert RemoteTaskHub("h:1", options=OPTIONS).description == "grpc://h:1"
    assert RemoteTaskHub("h:1", secure=True, options=OPTIONS).description == "grpcs://h:1"


async def test_an_address_where_nobody_listens_is_named(nowhere: RemoteTaskHub) -> None:
    with pytest.raises(HubLostError) as error:
        await nowhere.hello(timeout=DEADLINE_SECONDS)

    assert error.value.status is Status.UNAVAILABLE
    assert nowhere.description in str(error.value)


async def test_an_event_that_could_not_be_sent_was_certainly_not_raised(
    nowhere: RemoteTaskHub,
) -> None:
    with pytest.raises(HubLostError) as error:
        await nowhere.raise_event(pb.RaiseEventRequest(instanceId="a"), timeout=DEADLINE_SECONDS)

    assert error.value.untouched


async def test_an_event_has_its_deadline_while_it_waits_for_a_connection() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and never says a word
    hub = RemoteTaskHub(f"127.0.0.1:{silent.getsockname()[1]}", options=OPTIONS)
    await hub.open()

    with pytest.raises(CallError) as error:
        await hub.raise_event(pb.RaiseEventRequest(instanceId="a"), timeout=0.05)

    assert error.value.status is Status.DEADLINE_EXCEEDED
    await hub.close()
    silent.close()


async def test_a_call_that_is_turned_down_at_the_door_was_not_carried_out(
    server: HubServer, hub: RemoteTaskHub
) -> None:
    await hub.hello()
    await server.drain(DEADLINE_SECONDS)

    with pytest.raises(HubLostError) as error:
        await hub.raise_event(pb.RaiseEventRequest(instanceId="a"), timeout=DEADLINE_SECONDS)

    assert error.value.untouched


async def test_an_event_under_which_the_connection_breaks_has_an_unknown_outcome(
    server: HubServer,
) -> None:
    proxy = Proxy(server.address)
    hub = RemoteTaskHub(await proxy.start(), options=OPTIONS)
    await hub.open()
    await hub.hello(timeout=DEADLINE_SECONDS)
    proxy.swallow("requests")

    call = asyncio.create_task(
        hub.raise_event(pb.RaiseEventRequest(instanceId="a"), timeout=DEADLINE_SECONDS)
    )
    await asyncio.wait_for(proxy.swallowed.wait(), DEADLINE_SECONDS)
    await proxy.break_off()

    with pytest.raises(OutcomeUnknownError, match="look at the instance before sending it again"):
        await call
    await hub.close()


async def test_what_the_engine_itself_says_is_no_broken_connection(
    engine: Engine, hub: RemoteTaskHub
) -> None:
    await hub.hello()
    await engine.close()

    with pytest.raises(CallError) as error:
        await hub.hello()

    assert error.value.status is Status.UNAVAILABLE
    assert not isinstance(error.value, HubLostError)


async def test_a_long_message_in_any_script_arrives(engine: Engine, hub: RemoteTaskHub) -> None:
    name = "好" * 1000

    with pytest.raises(CallError) as error:
        await hub.raise_event(pb.RaiseEventRequest(instanceId=name))

    assert error.value.status is Status.NOT_FOUND
    assert name in str(error.value)


async def test_cancelling_a_call_cancels_nothing_else(hub: RemoteTaskHub) -> None:
    await hub.start_instance(pb.CreateInstanceRequest(instanceId="a", name="order"))
    call = asyncio.create_task(
        hub.wait_for_instance_completion(pb.GetInstanceRequest(instanceId="a"))
    )
    await hub.hello()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await hub.hello()


async def test_a_reader_that_is_cancelled_sees_its_own_cancellation(hub: RemoteTaskHub) -> None:
    stream = hub.get_work_items(pb.GetWorkItemsRequest())
    reader = asyncio.create_task(anext(stream))
    await hub.hello()

    reader.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reader
    stream.cancel()


async def test_a_message_over_the_limit_is_refused_with_both_sizes(server: HubServer) -> None:
    hub = RemoteTaskHub(server.address, options=HubOptions(role="client", max_message_bytes=1000))
    await hub.open()
    request = pb.CreateInstanceRequest(instanceId="a", name="order")
    request.input.value = "x" * 2000
    await hub.start_instance(request)

    with pytest.raises(CallError) as error:
        await hub.get_instance(pb.GetInstanceRequest(instanceId="a", getInputsAndOutputs=True))

    assert error.value.status is Status.RESOURCE_EXHAUSTED
    assert "1000" in str(error.value)
    await hub.close()


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("10.0.0.1:1", False),
        ("example.com:1", False),
        ("[2001:db8::1]:1", False),
    ],
)
def test_only_this_machines_own_addresses_go_past_a_proxy(target: str, loopback: bool) -> None:
    assert is_loopback(target) is loopback
    assert ("grpc.enable_http_proxy" in channel_options(target, 1)) is loopback


def test_calls_that_a_closed_loop_has_left_behind_are_not_reported_by_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub_loop = HubLoop.acquire()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"

        async def leave_calls_behind() -> None:
            hub = RemoteTaskHub(address, options=OPTIONS)
            await hub.open()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asyncio.gather(*(hub.hello() for _ in range(50)))

        async def call_in_vain() -> Status:
            hub = RemoteTaskHub(address, options=OPTIONS)
            await hub.open()
            with pytest.raises(CallError) as caught:
                await hub.hello(timeout=0.4)
            await hub.close()
            return caught.value.status

        first = hub_loop.run(call_in_vain())
        asyncio.run(leave_calls_behind())
        second = hub_loop.run(call_in_vain())
    hub_loop.release()

    assert (first, second) == (Status.DEADLINE_EXCEEDED, Status.DEADLINE_EXCEEDED)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
