"""One file and many hubs within one process: sharing, roles, replaced files, repeated calls."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.joining import FileTaskHub
from durableflow.engine.ownership import OwnerLock, OwnerRecord, beside
from durableflow.errors import CallError, StorageUnusableError
from durableflow.hub.options import HubOptions
from durableflow.protocol.status import Status
from tests.engine.driver import COMPLETED, PENDING, Client, Worker

WORKER = HubOptions(role="worker")
CLIENT = HubOptions(role="client")


class Hubs:
    """Opens hubs on the test's file, and closes what is left at the end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._hubs: list[FileTaskHub] = []

    async def __call__(
        self, options: HubOptions = WORKER, path: Path | str | None = "the test's"
    ) -> FileTaskHub:
        hub = FileTaskHub(self._file if isinstance(path, str) else path, options)
        await hub.open()
        self._hubs.append(hub)
        return hub

    async def close(self) -> None:
        for hub in self._hubs:
            await hub.close()


@pytest.fixture
async def hubs(file: Path) -> AsyncIterator[Hubs]:
    hubs = Hubs(file)
    yield hubs
    await hubs.close()


def facts_of(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return (status.st_mode, status.st_mtime_ns, status.st_size)


def remove(path: Path) -> None:
    path.unlink()


def owner_of(file: Path) -> OwnerRecord:
    record = OwnerRecord.read(file)
    assert record is not None
    return record


# Sharing within a process


async def test_hubs_of_one_process_share_one_engine(hubs: Hubs) -> None:
    first, second = await hubs(), await hubs(CLIENT)

    await Client(first).start(id="a")

    assert await Client(second).status("a") == PENDING


async def test_hubs_that_are_opened_at_once_share_one_engine(hubs: Hubs) -> None:
    first, second = await asyncio.gather(hubs(), hubs(CLIENT))

    await Client(first).start(id="a")

    assert await Client(second).status("a") == PENDING


async def test_a_file_is_shared_under_all_its_names(hubs: Hubs, file: Path) -> None:
    alias = file.parent / "alias"
    alias.symlink_to(file.parent)
    first, second = await hubs(), await hubs(CLIENT, alias / file.name)

    await Client(first).start(id="a")

    assert await Client(second).status("a") == PENDING
    assert first.description == second.description


async def test_closing_one_hub_leaves_the_others_open(hubs: Hubs) -> None:
    first, second = await hubs(), await hubs(CLIENT)
    await Client(second).start(id="a")
    waiting = asyncio.create_task(
        first.wait_for_instance_completion(pb.GetInstanceRequest(instanceId="a"))
    )
    await first.hello()

    await first.close()

    with pytest.raises(CallError) as error:
        await waiting
    assert error.value.status is Status.UNAVAILABLE
    assert await Client(second).status("a") == PENDING


async def test_a_file_can_be_closed_and_opened_in_turn(hubs: Hubs) -> None:
    first = await hubs()
    await Client(first).start(id="a")

    second, _ = await asyncio.gather(hubs(CLIENT), first.close())

    assert await Client(second).status("a") == PENDING


async def test_the_last_hub_to_close_frees_the_file(hubs: Hubs, file: Path) -> None:
    hub = await hubs()

    await hub.close()

    assert OwnerRecord.read(file) is None
    lock = OwnerLock.try_acquire(file)
    assert lock is not None
    lock.release()


async def test_memory_is_shared_by_those_who_name_the_same_object(hubs: Hubs) -> None:
    app, other = object(), object()
    first = await hubs(HubOptions(role="worker", share_key=app), None)
    second = await hubs(HubOptions(role="client", share_key=app), None)
    stranger = await hubs(HubOptions(role="client", share_key=other), None)
    loner = await hubs(CLIENT, None)

    await Client(first).start(id="a")

    assert await Client(second).status("a") == PENDING
    assert await Client(stranger).find("a") is None
    assert await Client(loner).find("a") is None


async def test_memory_lasts_as_long_as_somebody_has_it_open(hubs: Hubs) -> None:
    options = HubOptions(role="worker", share_key=object())
    first, second = await hubs(options, None), await hubs(options, None)
    await Client(first).start(id="a")

    await first.close()
    kept = await Client(second).find("a")
    await second.close()

    assert kept is not None
    assert await Client(await hubs(options, None)).find("a") is None


# What is written beside the file


async def test_everything_beside_the_file_is_private(hubs: Hubs, file: Path) -> None:
    await Client(await hubs()).start()

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}

    assert set(modes.values()) == {0o600}
    assert {"hub.db", "hub.db.lock", "hub.db.owner"} <= set(modes)


async def test_the_record_names_this_process_and_a_new_token_each_time(
    hubs: Hubs, file: Path
) -> None:
    hub = await hubs()
    first = owner_of(file)
    await hub.close()
    await hubs()
    second = owner_of(file)

    assert first.pid == second.pid == os.getpid()
    assert first.hub_id == second.hub_id
    assert first.token != second.token
    assert len(first.token) >= 43  # 32 bytes


async def test_the_record_says_whether_the_file_is_to_be_had(hubs: Hubs, file: Path) -> None:
    await hubs(CLIENT)
    alone = owner_of(file).hands_over
    worker = await hubs(WORKER)
    served = owner_of(file).hands_over
    await worker.close()

    assert (alone, served, owner_of(file).hands_over) == (True, False, True)


async def test_a_client_on_a_hub_without_any_worker_yet_is_warned(
    hubs: Hubs, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await hubs(CLIENT)

    assert f"No worker has ever served sqlite:///{file}" in caplog.text


async def test_a_client_on_a_hub_that_has_been_served_is_not_warned(
    hubs: Hubs, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await hubs()
    async with Worker(hub) as worker:
        await Client(hub).start(id="a")
        await (await worker.turn()).finish()
        await Client(hub).completion("a")
    await hub.close()

    with caplog.at_level(logging.WARNING):
        await hubs(CLIENT)

    assert "No worker" not in caplog.text


# Files that cannot be used


@pytest.fixture
def diary(file: Path) -> Path:
    """The test's file, which is somebody's diary and no database."""
    file.write_text("my diary\n" * 100)
    file.chmod(0o644)
    return file


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    hubs: Hubs, diary: Path
) -> None:
    before = facts_of(diary)

    with pytest.raises(StorageUnusableError, match=r"hub\.db"):
        await hubs()

    assert facts_of(diary) == before


async def test_a_refused_file_is_not_kept_locked(hubs: Hubs, diary: Path) -> None:
    with pytest.raises(StorageUnusableError):
        await hubs()
    remove(diary)

    await (await hubs()).hello()


async def test_a_folder_that_does_not_exist_is_named(hubs: Hubs, tmp_path: Path) -> None:
    with pytest.raises(StorageUnusableError, match="absent"):
        await hubs(WORKER, tmp_path / "absent" / "hub.db")


@pytest.mark.parametrize("suffix", ["", ".lock"])
async def test_an_engine_stops_when_its_file_is_replaced(
    hubs: Hubs, file: Path, suffix: str
) -> None:
    hub = await hubs()
    await Client(hub).start(id="a")

    replaced = beside(file, suffix)
    replaced.rename(file.with_name("away"))
    replaced.touch()

    # A wait would go on at another owner; here there can be none.
    with pytest.raises(StorageUnusableError, match="replaced"):
        await Client(hub).completion("a")
    with pytest.raises(StorageUnusableError, match="replaced"):
        await hub.hello()
    assert replaced.stat().st_size == 0


# Work


async def test_work_goes_through_the_file_hub(hubs: Hubs) -> None:
    hub = await hubs()
    async with Worker(hub) as worker:
        await Client(hub).start(id="a")
        await (await worker.turn()).finish("1")

        assert await Client(hub).completion("a") == COMPLETED
