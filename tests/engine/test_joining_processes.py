"""One file and many processes: joining, taking over, handing over; with processes that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import membership
from durableflow.engine.joining import FileTaskHub
from durableflow.engine.ownership import OwnerRecord
from durableflow.errors import CallError, OutcomeUnknownError, TaskHubUnavailableError
from durableflow.hub.options import HubOptions
from durableflow.protocol.status import Status
from tests.engine.driver import COMPLETED, DEADLINE_SECONDS, PENDING, Client, Worker, kinds, names
from tests.engine.proxy import Proxy

ROOT = Path(__file__).parents[2]
PARTICIPANT = Path(__file__).with_name("participant.py")
PATIENCE_SECONDS = 40.0

WORKER = HubOptions(role="worker")
CLIENT = HubOptions(role="client")

pytestmark = pytest.mark.e2e

OpenHub = Callable[[HubOptions], Awaitable[FileTaskHub]]


@pytest.fixture
async def opening(file: Path) -> AsyncIterator[OpenHub]:
    """Open hubs of this process on the test's file."""
    hubs: list[FileTaskHub] = []

    async def opened(options: HubOptions) -> FileTaskHub:
        hub = FileTaskHub(file, options)
        await hub.open()
        hubs.append(hub)
        return hub

    yield opened
    for hub in hubs:
        await hub.close()


class Processes:
    """Starts processes that take part, and ends what is left of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._all: list[Process] = []

    async def __call__(self, *words: str) -> Process:
        """Start a participant, and return once it is in."""
        process = await self.start(str(PARTICIPANT), str(self._file), *words)
        assert await line_of(process) == "open"
        return process

    async def start(self, *words: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._all.append(process)
        return process

    async def end(self) -> None:
        for process in self._all:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
async def processes(file: Path) -> AsyncIterator[Processes]:
    processes = Processes(file)
    yield processes
    await processes.end()


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)
    return line.decode().strip()


async def leave(process: Process) -> None:
    """Let a participant leave in good order."""
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0


def owner_of(file: Path) -> OwnerRecord:
    record = OwnerRecord.read(file)
    assert record is not None
    return record


# Joining


async def test_a_client_joins_the_process_that_has_the_file(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("worker", "serve")
    hub = await opening(CLIENT)

    await Client(hub).start(id="a")

    assert await Client(hub).completion("a", PATIENCE_SECONDS) == COMPLETED
    assert owner_of(file).pid == owner.pid


async def test_a_second_worker_shares_the_work_and_leaves_the_owner_alone(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("worker")
    hub = await opening(WORKER)

    async with Worker(hub) as worker:
        await Client(hub).start(id="a")
        await (await worker.turn("a")).finish()
        assert await Client(hub).completion("a") == COMPLETED

    assert owner_of(file).pid == owner.pid


async def test_an_owner_that_does_not_serve_is_reported(
    file: Path, opening: OpenHub, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "SEARCH_SECONDS", 0.2)
    program = "\n".join(
        (
            "import sys",
            "from pathlib import Path",
            "from durableflow.engine.ownership import OwnerLock",
            "lock = OwnerLock.try_acquire(Path(sys.argv[1]))",
            "print('locked', flush=True)",
            "sys.stdin.read()",
        )
    )
    assert await line_of(await processes.start("-c", program, str(file))) == "locked"

    with pytest.raises(TaskHubUnavailableError, match=r"hub\.db is owned by another process"):
        await opening(CLIENT)


# Taking over


@pytest.mark.parametrize("role", [WORKER, CLIENT], ids=lambda options: options.role)
async def test_a_wait_outlives_the_owner(
    file: Path, opening: OpenHub, processes: Processes, role: HubOptions
) -> None:
    owner = await processes("worker")
    hub = await opening(role)
    await Client(hub).start(id="a")
    waiting = asyncio.create_task(Client(hub).completion("a", PATIENCE_SECONDS))
    await hub.hello()

    owner.kill()
    await owner.wait()
    async with Worker(hub) as worker:
        await (await worker.turn("a")).finish()

    assert await waiting == COMPLETED
    assert owner_of(file).pid == os.getpid()


async def test_a_worker_takes_over_when_the_owner_leaves(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("worker")
    hub = await opening(WORKER)
    await Client(hub).start(id="a")
    async with Worker(hub) as before:
        await before.turn("a")
        await leave(owner)
        error = await before.lost()

    async with Worker(hub) as worker:
        await (await worker.turn("a")).finish()
        assert await Client(hub).completion("a") == COMPLETED

    assert error is not None
    assert error.status is Status.UNAVAILABLE
    assert owner_of(file).pid == os.getpid()


async def test_a_stream_that_has_brought_nothing_yet_follows_the_owner(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("worker")
    hub = await opening(WORKER)
    await hub.hello()
    owner.kill()

    async with Worker(hub) as worker:
        await Client(hub).start(id="a")
        await (await worker.turn("a")).finish()
        assert await Client(hub).completion("a") == COMPLETED

    assert owner_of(file).pid == os.getpid()


async def test_an_activity_that_outlives_the_owner_counts(
    opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("worker")
    hub = await opening(WORKER)
    await Client(hub).start(id="a")
    async with Worker(hub) as before:
        await (await before.turn("a")).call("charge")
        activity = await before.activity("charge")
        owner.kill()
        await before.lost()

    await activity.complete("1")

    async with Worker(hub, "after") as after:
        turn = await after.turn("a")
        await turn.finish()
    assert kinds(turn.new) == ["orchestratorStarted", "taskCompleted"]


async def test_one_of_many_takes_over_and_the_others_join_it(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("worker")
    others = [await processes("worker", "serve") for _ in range(2)]
    hub = await opening(CLIENT)
    await hub.hello()

    owner.kill()
    await owner.wait()
    await Client(hub).start(id="a")

    assert await Client(hub).completion("a", PATIENCE_SECONDS) == COMPLETED
    assert owner_of(file).pid in {other.pid for other in others} | {os.getpid()}


# Handing over


async def test_a_process_without_a_worker_hands_the_file_over_without_failing_a_call(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    hub = await opening(CLIENT)
    client = Client(hub)
    await client.start(id="a")
    waiting = asyncio.create_task(client.completion("a", PATIENCE_SECONDS))
    before = owner_of(file).pid
    raised: list[str] = []

    async def raise_events() -> None:
        while owner_of(file).pid == before or len(raised) < 100:
            await client.raise_event("a", f"event {len(raised)}")
            raised.append(f"event {len(raised)}")

    raising = asyncio.create_task(raise_events())
    arriving = await processes("worker")
    await asyncio.wait_for(raising, PATIENCE_SECONDS)

    assert owner_of(file).pid == arriving.pid
    async with Worker(hub) as worker:
        turn = await worker.turn("a")
        await turn.finish()
    assert names(turn.new) == raised
    assert await waiting == COMPLETED


async def test_a_worker_that_joins_later_in_a_joined_process_gets_the_file(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("client")
    hub = await opening(CLIENT)
    await Client(hub).start(id="a")
    assert owner_of(file).pid == owner.pid

    await opening(WORKER)

    assert owner_of(file).pid == os.getpid()
    assert await Client(hub).status("a") == PENDING


async def test_a_process_with_a_worker_keeps_the_file(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    await opening(WORKER)

    await processes("worker")

    assert owner_of(file).pid == os.getpid()


# Calls under which the connection breaks


class CutOff:
    """A hub joined to its owner through a proxy that can be cut."""

    def __init__(self, hub: FileTaskHub, proxy: Proxy) -> None:
        self.hub = hub
        self.proxy = proxy


@pytest.fixture
async def cut_off(
    file: Path, opening: OpenHub, processes: Processes
) -> AsyncIterator[Callable[[], Awaitable[CutOff]]]:
    proxies: list[Proxy] = []

    async def make() -> CutOff:
        await processes("worker")
        honest = owner_of(file)
        proxy = Proxy(honest.address)
        proxies.append(proxy)
        detour = OwnerRecord(
            address=await proxy.start(),
            pid=honest.pid,
            incarnation=honest.incarnation,
            token=honest.token,
            hub_id=honest.hub_id,
            hands_over=False,
        )
        detour.write(file)
        hub = await opening(CLIENT)
        await hub.hello()
        honest.write(file)
        return CutOff(hub, proxy)

    yield make
    for proxy in proxies:
        await proxy.break_off()


async def test_a_start_whose_answer_was_lost_succeeds_once(
    cut_off: Callable[[], Awaitable[CutOff]],
) -> None:
    cut = await cut_off()
    cut.proxy.swallow("replies")

    starting = asyncio.create_task(Client(cut.hub).start(id="a"))
    await asyncio.wait_for(cut.proxy.swallowed.wait(), DEADLINE_SECONDS)
    await cut.proxy.break_off()

    assert await starting == "a"
    assert await Client(cut.hub).status("a") == PENDING


async def test_a_start_that_comes_second_is_refused_also_when_it_is_repeated(
    cut_off: Callable[[], Awaitable[CutOff]],
) -> None:
    cut = await cut_off()
    await Client(cut.hub).start(id="a")
    cut.proxy.swallow("replies")

    starting = asyncio.create_task(Client(cut.hub).start(id="a"))
    await asyncio.wait_for(cut.proxy.swallowed.wait(), DEADLINE_SECONDS)
    await cut.proxy.break_off()

    with pytest.raises(CallError) as error:
        await starting
    assert error.value.status is Status.ALREADY_EXISTS


async def test_an_event_whose_answer_was_lost_is_not_sent_again(
    cut_off: Callable[[], Awaitable[CutOff]],
) -> None:
    cut = await cut_off()
    client = Client(cut.hub)
    await client.start(id="a")
    cut.proxy.swallow("replies")

    raising = asyncio.create_task(client.raise_event("a", "paid"))
    await asyncio.wait_for(cut.proxy.swallowed.wait(), DEADLINE_SECONDS)
    await cut.proxy.break_off()

    with pytest.raises(OutcomeUnknownError, match="look at the instance"):
        await raising
    async with Worker(cut.hub) as worker:
        turn = await worker.turn("a")
        await turn.finish()
    assert names(turn.new) == ["paid"]


async def test_a_call_has_its_deadline_while_the_owner_is_looked_for(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    owner = await processes("worker")
    hub = await opening(CLIENT)
    owner.send_signal(signal.SIGSTOP)

    with pytest.raises(CallError) as error:
        await hub.get_instance(pb.GetInstanceRequest(instanceId="a"), timeout=0.1)

    assert error.value.status is Status.DEADLINE_EXCEEDED


# The engine as a process of its own


async def test_an_engine_of_its_own_is_joined_and_keeps_the_file(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    engine = await processes.start("-m", "durableflow.engine", "--db", str(file), "--port", "0")
    address = owner_address(await line_of(engine), file)

    hub = await opening(WORKER)
    await Client(hub).start(id="a")

    assert (owner_of(file).pid, owner_of(file).address) == (engine.pid, address)


def owner_address(line: str, file: Path) -> str:
    head, _, address = line.partition(" is served at grpc://")
    assert head == f"sqlite:///{file}"
    return address


async def test_an_engine_of_its_own_says_that_it_is_open_and_stops_on_sigterm(
    file: Path, processes: Processes
) -> None:
    engine = await processes.start("-m", "durableflow.engine", "--db", str(file))
    await line_of(engine)

    engine.terminate()

    _, errors = await asyncio.wait_for(engine.communicate(), PATIENCE_SECONDS)
    assert engine.returncode == 0
    assert b"any user of this machine may connect" in errors
    assert OwnerRecord.read(file) is None


async def test_an_engine_with_a_token_file_demands_the_token(
    file: Path, opening: OpenHub, processes: Processes, tmp_path: Path
) -> None:
    words = ("--db", str(file), "--token-file", str(token_file(tmp_path, 0o600)))
    engine = await processes.start("-m", "durableflow.engine", *words)
    await line_of(engine)

    await (await opening(CLIENT)).hello()

    assert owner_of(file).token == "open sesame"
    engine.terminate()
    _, errors = await asyncio.wait_for(engine.communicate(), PATIENCE_SECONDS)
    assert errors == b""


async def test_a_token_file_that_others_may_read_is_a_warning(
    file: Path, processes: Processes, tmp_path: Path
) -> None:
    words = ("--db", str(file), "--token-file", str(token_file(tmp_path, 0o604)))
    engine = await processes.start("-m", "durableflow.engine", *words)
    await line_of(engine)

    engine.terminate()

    _, errors = await asyncio.wait_for(engine.communicate(), PATIENCE_SECONDS)
    assert engine.returncode == 0
    assert "may be read by others" in errors.decode()
    assert "chmod 600" in errors.decode()


async def test_a_token_file_that_others_may_write_is_refused(
    file: Path, processes: Processes, tmp_path: Path
) -> None:
    words = ("--db", str(file), "--token-file", str(token_file(tmp_path, 0o602)))
    engine = await processes.start("-m", "durableflow.engine", *words)

    _, errors = await asyncio.wait_for(engine.communicate(), PATIENCE_SECONDS)

    assert engine.returncode == 1
    assert "may be written by others" in errors.decode()


def token_file(folder: Path, mode: int) -> Path:
    path = folder / "token"
    path.write_text("open sesame\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--host", "0.0.0.0"), "not a loopback address"),
        (("--port", "99999"), "99999 is not a port"),
        (("--token-file", "absent"), "absent cannot be read"),
        (("--token-file", os.devnull), "is empty"),
    ],
)
async def test_an_engine_that_cannot_serve_says_why(
    file: Path, processes: Processes, words: tuple[str, ...], message: str
) -> None:
    engine = await processes.start("-m", "durableflow.engine", "--db", str(file), *words)

    _, errors = await asyncio.wait_for(engine.communicate(), PATIENCE_SECONDS)

    assert engine.returncode == 1
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_an_engine_on_a_file_that_is_taken_names_the_owner(
    file: Path, opening: OpenHub, processes: Processes
) -> None:
    await opening(WORKER)
    engine = await processes.start("-m", "durableflow.engine", "--db", str(file))

    _, errors = await asyncio.wait_for(engine.communicate(), PATIENCE_SECONDS)

    assert engine.returncode == 1
    assert f"process {os.getpid()}" in errors.decode()
