"""Programs that put an engine on a disk that fails, and check what it does.

Run as ``python -m tests.engine.trouble SCENARIO FOLDER``.  ``full`` and ``read_only`` mount a small
file system on the folder (in a mount namespace of their own); ``failing`` needs ``failing_sync.c``
preloaded, which fails while ``$SYNC_FAILS_WHILE`` exists.  The exit status is 0 if all is well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.errors import CallError, StorageUnusableError
from durableflow.protocol.status import Status
from tests.engine.driver import COMPLETED, Client, Worker, kinds, names

KILOBYTES_64 = "x" * 65536
DEADLINE_SECONDS = 20
REFUSALS = {Status.RESOURCE_EXHAUSTED, Status.UNAVAILABLE}


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write a file until the disk is full to the last byte."""
    out = os.open(file, os.O_WRONLY | os.O_CREAT)
    for size in (65536, 4096, 1):
        with contextlib.suppress(OSError):
            while True:
                os.write(out, b"x" * size)
    os.close(out)
    assert shutil.disk_usage(file.parent).free == 0


async def status_of(call: Awaitable[object]) -> Status | None:
    """How a call ended; None is well."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await call
    except CallError as error:
        return error.status
    return None


async def once(call: Callable[[], Awaitable[object]], *, meanwhile: set[Status]) -> set[Status]:
    """Call until it ends well, and return how it ended before."""
    seen: set[Status] = set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (status := await status_of(call())) is not None:
            assert status in meanwhile, status
            seen.add(status)
            await asyncio.sleep(0.02)
    return seen


class Complaints(logging.Handler):
    """Counts what the engine logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0
        logging.getLogger("durableflow").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


class Trouble:
    """An engine that goes through a disk which takes no writes for a while."""

    def __init__(self, file: Path, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self.file = file
        self.engine = Engine(file)
        self.client = Client(self.engine)
        self.complaints = Complaints()
        self.begin = begin
        self.end = end
        self.kept = ["waits", "works", "turns"]
        self.refused: list[str] = []

    async def run(self) -> None:
        await self.engine.open()
        first = self.engine.incarnation
        async with Worker(self.engine) as worker:
            await self.prepare(worker)
            unread = self.engine.get_work_items(pb.GetWorkItemsRequest())
            waiting = asyncio.create_task(self.client.completion("waits", DEADLINE_SECONDS))
            self.begin()
            await self.write_until_it_fails()
            lost = await worker.lost()
            assert lost is not None
            assert lost.status in REFUSALS, lost
            assert await status_of(waiting) in REFUSALS
            assert await status_of(anext(unread)) in REFUSALS
        await once(lambda: self.client.status("waits"), meanwhile={Status.UNAVAILABLE})
        assert self.engine.incarnation != first
        await self.check_reads()
        await self.check_writes()
        second = self.engine.incarnation
        self.end()
        await once(lambda: self.client.raise_event("waits", "go"), meanwhile=REFUSALS)
        assert self.engine.incarnation == second
        await self.go_on()
        assert self.complaints.count <= 3, f"{self.complaints.count} errors logged"
        await self.engine.close()
        await self.check_after_restart()

    async def prepare(self, worker: Worker) -> None:
        """Leave an instance that waits, an activity that is out, and a turn that is out."""
        for instance_id in self.kept:
            await self.client.start(id=instance_id, input=f'"{instance_id}"')
        await (await worker.turn("waits")).complete(custom_status='"here"')
        await (await worker.turn("works")).call("charge")
        self.activity = await worker.activity()
        self.turn = await worker.turn("turns")

    async def write_until_it_fails(self) -> None:
        ids = [f"{n}" for n in range(40)]
        starts = [self.client.start(id=one, input=KILOBYTES_64) for one in ids]
        outcomes = dict(zip(ids, await asyncio.gather(*map(status_of, starts)), strict=True))
        self.refused = [one for one, status in outcomes.items() if status is not None]
        self.kept += [one for one, status in outcomes.items() if status is None]
        assert self.refused, "the disk took everything"
        assert set(outcomes.values()) <= {None, *REFUSALS}, outcomes
        # At once, in the middle of the recovery: an answer of some kind, and soon.
        reads = [self.client.find(one) for one in ids]
        assert set(await asyncio.gather(*map(status_of, reads))) <= {None, Status.UNAVAILABLE}

    async def check_reads(self) -> None:
        client = self.client
        for instance_id in self.kept:
            assert await client.find(instance_id) is not None, instance_id
        assert (await client.state("waits")).customStatus.value == '"here"'
        assert kinds(await client.history("works"))[2:] == [
            "taskScheduled",
            "orchestratorCompleted",
        ]
        query = pb.QueryInstancesRequest(query=pb.InstanceQuery(maxInstanceCount=500))
        shown = {
            state.instanceId
            for state in (await self.engine.query_instances(query)).orchestrationState
        }
        assert shown >= set(self.kept)

    async def check_writes(self) -> None:
        client = self.client
        for write in (
            lambda: client.start(),
            lambda: client.raise_event("waits", "lost"),
            lambda: client.suspend("waits"),
            lambda: client.resume("waits"),
            lambda: client.terminate("waits"),
            lambda: client.purge("waits"),
            lambda: self.activity.complete('"lost"'),
            lambda: self.turn.finish('"lost"'),
        ):
            assert await status_of(write()) in REFUSALS

    async def go_on(self) -> None:
        """Work stands where it stood."""
        await self.activity.complete('"paid"')
        await self.turn.finish('"of the old incarnation"')
        async with Worker(self.engine, "next") as worker:
            woken = await worker.turn("waits")
            assert names(woken.new) == ["go"]
            assert kinds(woken.past)[:2] == ["orchestratorStarted", "executionStarted"]
            paid = await worker.turn("works")
            assert paid.new[1].taskCompleted.result.value == '"paid"'
            for turn in (woken, paid):
                await turn.finish()
            for instance_id in set(self.kept) - {"waits", "works"}:
                await (await worker.turn(instance_id)).finish('"right"')
            for instance_id in self.kept:
                assert await self.client.completion(instance_id) == COMPLETED, instance_id
        assert (await self.client.state("turns")).output.value == '"right"'

    async def check_after_restart(self) -> None:
        engine = Engine(self.file)
        await engine.open()
        for instance_id in self.kept:
            assert await Client(engine).status(instance_id) == COMPLETED, instance_id
        await engine.close()


async def full(folder: Path) -> None:
    mount(folder, "size=3m")
    filler = folder / "filler"
    trouble = Trouble(folder / "hub.db", lambda: fill(filler), filler.unlink)
    await trouble.run()


async def failing(folder: Path) -> None:
    switch = Path(os.environ["SYNC_FAILS_WHILE"])
    await Trouble(folder / "hub.db", switch.touch, switch.unlink).run()


async def read_only(folder: Path) -> None:
    mount(folder, "size=3m")
    engine = Engine(folder / "hub.db")
    await engine.open()
    await engine.close()
    mount(folder, "remount,ro")
    for name in ("hub.db", "new.db"):
        with pytest.raises(StorageUnusableError, match=name):
            await Engine(folder / name).open()


if __name__ == "__main__":
    scenario, where = sys.argv[1:]
    asyncio.run({"full": full, "failing": failing, "read_only": read_only}[scenario](Path(where)))
