from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import AsyncClient, Client, ClientCore
from durableflow.errors import OrchestratorError, TaskHubUnavailableError, UsageError
from durableflow.hub.running_turn import running_turns


def public_methods(client: type) -> dict[str, Any]:
    return {name: value for name, value in vars(client).items() if not name.startswith("_")}


def parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def test_both_clients_have_the_same_methods() -> None:
    assert public_methods(Client).keys() == public_methods(AsyncClient).keys()


@pytest.mark.parametrize("name", sorted(public_methods(Client)))
def test_both_clients_take_the_same_arguments_and_return_the_same(name: str) -> None:
    blocking, awaited = getattr(Client, name), getattr(AsyncClient, name)

    assert parameters(blocking) == parameters(awaited)
    returns = inspect.signature(awaited).return_annotation
    assert inspect.signature(blocking).return_annotation == returns.replace(
        "AsyncIterator", "Iterator"
    )


@pytest.mark.parametrize("name", sorted(public_methods(Client)))
def test_both_clients_are_typed_alike(name: str) -> None:
    import typing

    def shapes(client: type) -> list[tuple[Any, Any]]:
        overloads = typing.get_overloads(getattr(client, name))
        return [(parameters(o), inspect.signature(o).return_annotation) for o in overloads]

    assert shapes(Client) == shapes(AsyncClient)


def test_client_is_refused_in_an_orchestrator(client: Client, hub: Any) -> None:
    with running_turns(), pytest.raises(OrchestratorError, match="replayed from its history"):
        client.schedule_new_orchestration("x")

    assert hub.requests == []


async def test_async_client_is_refused_in_an_orchestrator(
    async_client: AsyncClient, hub: Any
) -> None:
    with running_turns(), pytest.raises(OrchestratorError, match="replayed from its history"):
        await async_client.schedule_new_orchestration("x")

    assert hub.requests == []


async def test_blocking_client_is_refused_on_a_running_loop(client: Client, hub: Any) -> None:
    with pytest.raises(UsageError, match=r"Use app\.async_client"):
        client.schedule_new_orchestration("x")

    assert hub.requests == []


async def test_block_of_a_blocking_client_is_refused_on_a_running_loop(core: ClientCore) -> None:
    opening = core.on_open = Opening()

    with pytest.raises(UsageError, match=r"Use app\.async_client"), Client(core):
        pass
    assert opening.count == 0


async def test_blocking_client_works_in_a_thread_beside_a_loop(client: Client, hub: Any) -> None:
    hub.answers("get_instance", pb.GetInstanceResponse())

    assert await asyncio.to_thread(client.get_orchestration_state, "a1") is None


async def test_interactive_session_may_block_its_loop(
    client: Client, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    hub.answers("get_instance", pb.GetInstanceResponse())

    assert client.get_orchestration_state("a1") is None


async def test_interactive_session_may_not_block_the_loop_of_its_activities(
    core: ClientCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    core.app_loop = asyncio.get_running_loop

    with pytest.raises(UsageError, match=r"Use app\.async_client"):
        Client(core).get_orchestration_state("a1")


async def test_async_client_answers_on_the_callers_loop(
    async_client: AsyncClient, hub: Any
) -> None:
    hub.answers("start_instance", pb.CreateInstanceResponse())

    assert await async_client.schedule_new_orchestration("x", instance_id="a1") == "a1"


async def test_async_client_reads_pages_as_it_goes(
    async_client: AsyncClient, hub: Any, state_message: Any
) -> None:
    page = pb.QueryInstancesResponse(orchestrationState=[state_message()])
    hub.answers("query_instances", page)

    found = [state.instance_id async for state in async_client.query_orchestrations()]

    assert found == ["a1b2"]
    assert await async_client.get_all_orchestration_states() != []


async def test_cancelling_an_awaited_call_cancels_it_on_the_hub(core: ClientCore) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()
    here = asyncio.get_running_loop()

    class WaitingHub:
        description = "sqlite://"

        async def wait_for_instance_start(self, request: Any, *, timeout: float | None) -> Any:
            here.call_soon_threadsafe(started.set)
            try:
                await asyncio.Event().wait()
            finally:
                here.call_soon_threadsafe(cancelled.set)

    core.hub = WaitingHub()  # type: ignore[assignment]  # only this call is made
    call = asyncio.create_task(AsyncClient(core).wait_for_orchestration_start("a1"))
    await asyncio.wait_for(started.wait(), 10)

    call.cancel()

    await asyncio.wait_for(cancelled.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize("steps", range(6))
async def test_call_may_be_cancelled_at_any_moment(core: ClientCore, hub: Any, steps: int) -> None:
    hub.answers("get_instance", pb.GetInstanceResponse())
    core.on_open = Opening()
    client = AsyncClient(core)
    call = asyncio.create_task(client.get_orchestration_state("a1"))
    for _ in range(steps):
        await asyncio.wait([call], timeout=0)

    call.cancel()
    await asyncio.wait([call])

    assert await client.get_orchestration_state("a1") is None


def test_closed_client_says_so(core: ClientCore) -> None:
    with Client(core) as client:
        pass

    with pytest.raises(UsageError, match="This client is closed"):
        client.get_orchestration_state("a1")


def test_client_lets_go_once(core: ClientCore) -> None:
    closings: list[str] = []
    core.on_close = lambda: closings.append("closed")

    with Client(core) as client:
        client.close()
    client.close()

    assert closings == ["closed"]


async def test_async_client_lets_go_once(core: ClientCore) -> None:
    closings: list[str] = []
    core.on_close = lambda: closings.append("closed")

    async with AsyncClient(core) as client:
        await client.close()

    assert closings == ["closed"]


class Opening:
    """Opens a hub, counts how often, and fails at first if told to."""

    def __init__(self, *failures: Exception) -> None:
        self.count = 0
        self._failures = list(failures)

    async def __call__(self) -> None:
        self.count += 1
        if self._failures:
            raise self._failures.pop()


async def test_hub_is_opened_once_by_whoever_comes_first(core: ClientCore, hub: Any) -> None:
    hub.answers("get_instance", pb.GetInstanceResponse())
    opening = core.on_open = Opening()
    client = AsyncClient(core)

    await asyncio.gather(*(client.get_orchestration_state("a1") for _ in range(5)))

    assert opening.count == 1


def test_hub_is_opened_when_the_block_is_entered(core: ClientCore) -> None:
    opening = core.on_open = Opening()

    with Client(core):
        assert opening.count == 1


def test_hub_that_could_not_be_opened_is_tried_again(core: ClientCore, hub: Any) -> None:
    hub.answers("get_instance", pb.GetInstanceResponse())
    opening = core.on_open = Opening(TaskHubUnavailableError("nobody answers"))
    client = Client(core)

    with pytest.raises(TaskHubUnavailableError):
        client.get_orchestration_state("a1")
    assert client.get_orchestration_state("a1") is None
    assert opening.count == 2
