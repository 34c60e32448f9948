"""What the embedded engine tells about the workers that are connected to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.joining import FileTaskHub
from durableflow.engine.owner import Owner, Serving
from durableflow.engine.ownership import OwnerLock
from durableflow.errors import CallError
from durableflow.hub.guarded import GuardedTaskHub
from durableflow.hub.options import HubOptions
from durableflow.hub.port import KnowsTakers
from durableflow.hub.remote import RemoteTaskHub
from durableflow.protocol.status import Status
from tests.engine.driver import Client, Worker, only

WORK = only("order", "refund", activities=["charge", "pack"], versions=["", "2"])


async def test_no_work_is_taken_where_no_worker_is_connected(engine: Engine) -> None:
    assert await engine.taken(WORK) == pb.WorkItemFilters()


async def test_a_worker_without_filters_takes_all_work(engine: Engine) -> None:
    async with Worker(engine):
        assert await engine.taken(WORK) == WORK


async def test_workers_take_together_what_their_filters_name(engine: Engine) -> None:
    async with (
        Worker(engine, "orders", filters=only("order", versions=["2", "3"])),
        Worker(engine, "charges", filters=only(activities=["charge"])),
    ):
        taken = await engine.taken(WORK)

    assert taken.orchestrations == only("order", versions=["2"]).orchestrations
    assert taken.activities == only(activities=["charge"], versions=["", "2"]).activities


async def test_a_hub_on_a_file_tells_the_same(tmp_path: Path) -> None:
    hub = FileTaskHub(tmp_path / "hub.db", HubOptions(role="worker"))
    await hub.open()

    async with Worker(hub, filters=only("order")) as worker:
        await Client(hub).start("order")
        await worker.turn()
        taken = await hub.taken(WORK, timeout=5)
    await hub.close()

    assert isinstance(hub, KnowsTakers)
    assert [each.name for each in taken.orchestrations] == ["order"]


async def test_a_closed_hub_does_not_tell(tmp_path: Path) -> None:
    hub = FileTaskHub(tmp_path / "hub.db", HubOptions(role="worker"))

    with pytest.raises(CallError) as caught:
        await hub.taken(WORK)

    assert caught.value.status is Status.UNAVAILABLE


async def test_a_hub_over_grpc_tells_the_same(tmp_path: Path) -> None:
    lock = OwnerLock.try_acquire(tmp_path / "hub.db")
    assert lock is not None
    owner = Owner(tmp_path / "hub.db", lock, Serving(token=""), lost=lambda error: None)
    await owner.open()
    hub = GuardedTaskHub(RemoteTaskHub(owner.address, options=HubOptions(role="worker")))
    await hub.open()

    async with Worker(owner.engine, filters=only("order")):
        taken = await hub.taken(WORK, timeout=5)
    await hub.close()
    await owner.close()

    assert isinstance(hub, KnowsTakers)
    assert [each.name for each in taken.orchestrations] == ["order"]
