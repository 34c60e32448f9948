"""Disks that are full, broken or read-only, and files that are not ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow.engine.admin import DESCRIBE
from durableflow.engine.engine import Engine
from durableflow.engine.owner import Owner, Serving
from durableflow.engine.ownership import OwnerLock, OwnerRecord
from durableflow.errors import CallError, StorageTooNewError, StorageUnusableError
from durableflow.hub.options import HubOptions
from durableflow.hub.remote import RemoteTaskHub
from durableflow.protocol.actions import create_timer
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    HOUR,
    MINUTE,
    PENDING,
    RUNNING,
    Client,
    LoopTime,
    ManualClock,
    Worker,
    kinds,
    settle,
)

ROOT = Path(__file__).parents[2]
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def run(words: list[str], **environment: str) -> None:
    """Run a scenario of ``trouble``; its complaint is the test's."""
    outcome = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder on which a program in a namespace of its own may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run([*NAMESPACE, *mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    return folder


@pytest.fixture
def failing_sync(tmp_path: Path) -> str:
    """A library that makes fsync fail on demand."""
    library = tmp_path / "failing_sync.so"
    source = Path(__file__).parent / "failing_sync.c"
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to make fsync fail with")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


@pytest.mark.e2e
def test_a_full_disk_refuses_writes_by_name_and_loses_nothing(disk: Path) -> None:
    run([*NAMESPACE, sys.executable, "-m", "tests.engine.trouble", "full", str(disk)])


@pytest.mark.e2e
def test_a_file_system_that_takes_no_writes_is_refused(disk: Path) -> None:
    run([*NAMESPACE, sys.executable, "-m", "tests.engine.trouble", "read_only", str(disk)])


@pytest.mark.e2e
def test_a_failing_fsync_voids_what_it_did_not_keep_and_loses_nothing(
    failing_sync: str, tmp_path: Path
) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    run(
        [sys.executable, "-m", "tests.engine.trouble", "failing", str(folder)],
        LD_PRELOAD=failing_sync,
        SYNC_FAILS_WHILE=str(tmp_path / "switch"),
    )


async def refusal(file: Path) -> StorageUnusableError:
    """Try to open a file, and return the error, which names it."""
    engine = Engine(file)
    with pytest.raises(StorageUnusableError) as refused:
        await engine.open()
    await engine.close()
    assert str(file) in str(refused.value)
    return refused.value


async def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    file.write_bytes(b"Dear diary, today I learned about durable execution. " * 100)
    before = file.read_bytes()

    await refusal(file)

    assert file.read_bytes() == before


async def test_the_database_of_another_program_is_refused_and_left_alone(file: Path) -> None:
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE instances (diary TEXT)")
        other.execute("INSERT INTO instances VALUES ('dear')")
    other.close()
    before = file.read_bytes()

    await refusal(file)

    assert file.read_bytes() == before


async def test_an_empty_database_of_another_application_is_refused(file: Path) -> None:
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA application_id = 252006674")
        other.execute("PRAGMA user_version = 1")
    other.close()

    await refusal(file)


async def test_a_file_of_an_older_version_is_brought_up_to_date(file: Path) -> None:
    engine = Engine(file)
    await engine.open()
    await Client(engine).start(id="a")
    await engine.close()
    with sqlite3.connect(file) as older:
        newest = older.execute("PRAGMA user_version").fetchone()
        older.execute("ALTER TABLE instances DROP COLUMN parent_trace")
        older.execute("PRAGMA user_version = 1")
    older.close()

    engine = Engine(file)
    await engine.open()
    assert await Client(engine).status("a") == PENDING
    await Client(engine).start(id="b")
    await engine.close()
    with closing(sqlite3.connect(file)) as now:
        assert now.execute("PRAGMA user_version").fetchone() == newest
        assert now.execute("SELECT count(parent_trace), count(*) FROM instances").fetchone() == (
            0,
            2,
        )


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(file: Path) -> None:
    engine = Engine(file)
    await engine.open()
    await Client(engine).start(id="a")
    await engine.close()
    with sqlite3.connect(file) as newer:
        (version,) = newer.execute("PRAGMA user_version").fetchone()
        newer.execute(f"PRAGMA user_version = {version + 1}")
    newer.close()

    engine = Engine(file)
    with pytest.raises(StorageTooNewError, match=r"newer"):
        await engine.open()
    await engine.close()

    with sqlite3.connect(file) as newer:
        assert newer.execute("PRAGMA user_version").fetchone() == (version + 1,)
        newer.execute(f"PRAGMA user_version = {version}")
    newer.close()
    engine = Engine(file)
    await engine.open()
    assert await Client(engine).status("a") == PENDING
    await engine.close()


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    error = await refusal(tmp_path / "nowhere" / "hub.db")

    assert "nowhere" in str(error)
    assert not (tmp_path / "nowhere").exists()


async def test_a_folder_in_place_of_the_file_is_refused(file: Path) -> None:
    file.mkdir()

    await refusal(file)


async def test_an_empty_file_becomes_a_hub(file: Path) -> None:
    file.touch()
    engine = Engine(file)

    await engine.open()

    await Client(engine).start(id="a")
    await engine.close()


async def test_the_files_are_for_their_owner_only(file: Path) -> None:
    engine = Engine(file)
    await engine.open()
    await Client(engine).start(id="a")

    modes = {part.name: oct(part.stat().st_mode & 0o777) for part in file.parent.glob("hub.db*")}

    assert "hub.db-wal" in modes
    assert set(modes.values()) == {"0o600"}
    await engine.close()


async def test_after_a_refusal_the_same_engine_opens_once_the_file_is_put_right(
    file: Path,
) -> None:
    file.write_bytes(b"Dear diary. " * 1000)
    engine = Engine(file)
    with pytest.raises(StorageUnusableError):
        await engine.open()
    file.unlink()

    await engine.open()

    await Client(engine).start(id="a")
    await engine.close()


# Trouble with one instance


async def test_an_instance_that_cannot_be_read_is_no_trouble_for_those_read_with_it(
    opened: OpenEngine, file: Path
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        for one in ("sound", "damaged"):
            await Client(engine).start(id=one)
            await (await worker.turn(one)).complete()
    await engine.close()
    client = Client(await opened())
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
        other.execute("UPDATE instances SET tags = 'no JSON' WHERE instance_id = 'damaged'")

    status, damaged, again = await asyncio.gather(
        client.status("sound"),
        client.find("damaged"),
        client.status("sound"),
        return_exceptions=True,
    )

    assert (status, again) == (RUNNING, RUNNING)
    assert isinstance(damaged, CallError)
    assert "Instance 'damaged'" in str(damaged)


# Trouble that passes


@contextmanager
def unreadable(file: Path, table: str) -> Iterator[None]:
    """Let whatever needs a table fail for a while."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
        other.execute(f"ALTER TABLE {table} RENAME TO hidden")
        try:
            yield
        finally:
            other.execute(f"ALTER TABLE hidden RENAME TO {table}")


async def told(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Wait until the engine has run into it."""
    async with asyncio.timeout(10):
        while words not in caplog.text:
            await asyncio.sleep(0)


async def waiting_for_a_timer(opened: OpenEngine, clock: ManualClock) -> None:
    """Leave an instance behind that waits for an hour, by that clock."""
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await (await worker.turn()).complete(create_timer(1, clock.now() + HOUR))
    await engine.close()


async def test_a_timer_whose_instance_cannot_be_read_at_once_fires_later(
    opened: OpenEngine,
    file: Path,
    clock: ManualClock,
    loop_time: LoopTime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await waiting_for_a_timer(opened, clock)
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await settle(engine)
        with unreadable(file, "instances"):
            clock.advance(HOUR)
            await told(caplog, "wait until they can fire")
        await loop_time.advance(31.0)

        assert kinds((await worker.turn("a")).new)[1:] == ["timerFired"]


async def test_timers_that_cannot_be_read_at_the_start_fire_later(
    opened: OpenEngine, file: Path, loop_time: LoopTime, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock(announces=False)
    await waiting_for_a_timer(opened, clock)
    clock.advance(HOUR + MINUTE)
    with unreadable(file, "timers"):
        engine = await opened(clock=clock)
        await told(caplog, "Timers cannot be read now")
    async with Worker(engine) as worker:
        await loop_time.advance(31.0)

        assert kinds((await worker.turn("a")).new)[1:] == ["timerFired"]


async def test_an_activity_that_cannot_be_read_at_once_is_handed_out_later(
    opened: OpenEngine, file: Path, loop_time: LoopTime, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await (await worker.turn()).call("charge")
        await (await worker.activity()).abandon()
        with unreadable(file, "activities"):
            await loop_time.advance(1.1)
            await told(caplog, "cannot be read and comes later")
        await loop_time.advance(60.0)

        assert (await worker.activity()).name == "charge"


async def test_a_commit_that_fails_at_the_end_does_not_hold_the_end_up(
    opened: OpenEngine, file: Path
) -> None:
    engine = await opened()
    worker = Worker(engine)
    async with worker:
        await Client(engine).start(id="a")
        await worker.turn()
        await settle(engine)
        with unreadable(file, "dispatched"):
            await worker.leave()
            async with asyncio.timeout(5):
                await engine.close()

    again = await opened()
    assert await Client(again).status("a") == PENDING


async def recovered(engine: Engine) -> None:
    """Wait until an engine takes writes again."""
    async with asyncio.timeout(10):
        while True:
            with suppress(CallError):
                return await settle(engine)
            await asyncio.sleep(0)


async def test_what_was_out_when_a_commit_failed_is_no_suspect_once_it_came_back(
    opened: OpenEngine, file: Path, loop_time: LoopTime
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await worker.turn()
        await loop_time.advance(0.1)
        await settle(engine)
        with unreadable(file, "timers"):
            with pytest.raises(CallError):
                await Client(engine).terminate("a")
            await worker.lost()
    await recovered(engine)
    async with Worker(engine) as worker:
        await (await worker.turn("a")).complete()
        await settle(engine)

    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT * FROM dispatched").fetchall() == []


def descriptors(file: Path) -> list[str]:
    """What this process has open of a hub."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("nothing tells here what a process has open")
    names: list[str] = []
    for descriptor in folder.iterdir():
        with suppress(OSError):
            names.append(str(descriptor.readlink()))
    return [name for name in names if name.startswith(str(file))]


async def test_a_recovery_that_fails_again_and_again_leaves_no_connection_open(
    opened: OpenEngine, file: Path, loop_time: LoopTime, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await opened()
    await Client(engine).start(id="a")
    before = len(descriptors(file))
    with unreadable(file, "inbox"):
        with pytest.raises(CallError):
            await Client(engine).raise_event("a", "go")
        for tries in range(1, 6):
            while caplog.text.count("cannot be read again yet") < tries:
                await asyncio.sleep(0)
            await loop_time.advance(0.6)
    await recovered(engine)
    after = len(descriptors(file))
    await engine.close()

    assert after == before
    assert descriptors(file) == []


async def test_an_engine_that_is_closed_amid_a_recovery_leaves_no_connection_open(
    opened: OpenEngine, file: Path
) -> None:
    for steps in range(0, 60, 3):
        engine = await opened()
        with unreadable(file, "timers"), pytest.raises(CallError):
            await Client(engine).terminate(await Client(engine).start())
        for _ in range(steps):
            await asyncio.sleep(0)
        await engine.close()

        assert descriptors(file) == []


async def test_an_owner_says_which_incarnation_runs_after_a_commit_failed(
    file: Path, loop_time: LoopTime
) -> None:
    lock = OwnerLock.try_acquire(file)
    assert lock is not None
    owner = Owner(file, lock, Serving(token=""), lost=lambda _: None)
    await owner.open()
    engine, first = owner.engine, owner.engine.incarnation
    with unreadable(file, "timers"), pytest.raises(CallError):
        await Client(engine).terminate(await Client(engine).start())
    await recovered(engine)
    hub = RemoteTaskHub(owner.address, options=HubOptions(role="client"))
    await hub.open()
    reply = await hub.call(DESCRIBE, admin_pb.DescribeRequest(), admin_pb.DescribeReply, timeout=10)
    await loop_time.advance(1.1)
    record = OwnerRecord.read(file)
    await hub.close()
    await owner.close()

    assert record is not None
    assert record.incarnation == reply.incarnation != first
