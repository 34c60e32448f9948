"""Blobs that nobody needs any more go, and no others."""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durableflow import (
    App,
    Client,
    InstanceNotFoundError,
    Orchestration,
    OrchestrationContext,
    OrchestrationQuery,
    TaskHubUnavailableError,
)
from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.server import HubServer
from durableflow.errors import CallError
from durableflow.hub.loop import HubLoop
from durableflow.protocol.status import Status
from durableflow_blob.__main__ import main
from durableflow_blob.gc import collect
from tests.blob.apps import TIMEOUT, make_app
from tests.blob.conftest import Storage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

LARGE = "large payload " * 3000
NEXT_MONTH = datetime.now(UTC) + timedelta(days=30)


def run_two(storage: Storage, task_hub: str) -> None:
    """Leave an instance behind, and blobs of another one that is purged by others."""
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        client.run_orchestration("once", input=LARGE, instance_id="kept", timeout=TIMEOUT)
        client.run_orchestration("once", input=LARGE + "!", instance_id="gone", timeout=TIMEOUT)
    with make_app().client(task_hub=task_hub) as other:
        other.purge_orchestration("gone")


@pytest.fixture
def hub(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hub.db'}"


def test_what_an_instance_refers_to_stays_and_the_rest_goes(storage: Storage, hub: str):
    run_two(storage, hub)
    before = storage.names()
    with make_app(storage.plugin()).client(task_hub=hub) as client:
        found = collect(storage.plugin(), [hub], dry_run=False, now=NEXT_MONTH)
        state = client.get_orchestration_state("kept")
        history = client.get_orchestration_history("kept")

    assert state is not None
    assert state.get_input() == LARGE
    assert any(LARGE in str(event.attributes) for event in history)
    gone = {blob.name for blob in found.garbage}
    assert len(gone) == 2
    assert set(storage.names()) == set(before) - gone


def test_a_purge_by_id_deletes_what_was_for_the_instance_alone(storage: Storage, hub: str):
    with make_app(storage.plugin()).running(task_hub=hub) as client:
        for instance_id in ("gone", "kept"):
            client.run_orchestration("once", input=LARGE, instance_id=instance_id, timeout=TIMEOUT)
        before = storage.names()
        client.purge_orchestration("gone")

    gone = set(before) - set(storage.names())
    assert gone
    assert all(name.startswith("instances/gone/") for name in gone)


def test_the_result_of_a_child_outlives_it_and_that_of_a_root_goes_with_it(
    storage: Storage, hub: str
):
    app = make_app(storage.plugin(cache_bytes=0))
    with app.running(task_hub=hub) as client:
        output = client.run_orchestration(
            "parent", input=LARGE, instance_id="root", timeout=TIMEOUT
        )
        (child,) = (
            state.instance_id
            for state in client.get_all_orchestration_states()
            if state.parent_instance_id
        )
        client.purge_orchestration(child)
        after_child = storage.names()
        assert client.get_orchestration_state("root").get_output() == output
        assert any(output in str(e.attributes) for e in client.get_orchestration_history("root"))
        client.purge_orchestration("root")

    assert len([name for name in after_child if name.startswith("shared/")]) == 2
    assert [name for name in storage.names() if name.startswith("instances/")] == []


def test_an_instance_that_is_purged_and_started_again_stores_its_payloads_again(
    storage: Storage, hub: str
):
    # The worker is in a process of its own as a rule, and nobody tells it of the purge.
    worker, other = storage.plugin(), storage.plugin(cache_bytes=0)
    with (
        make_app(worker).running(task_hub=hub),
        make_app(other).client(task_hub=hub) as client,
    ):
        outputs = []
        for _ in range(2):
            client.schedule_new_orchestration("chain", input=LARGE, instance_id="again")
            state = client.wait_for_orchestration_completion("again", timeout=TIMEOUT)
            outputs.append(state.get_output())
            client.purge_orchestration("again")

    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("text", [LARGE, LARGE[::-1]], ids=["the same", "another"])
def test_a_purge_deletes_nothing_of_an_instance_that_takes_the_name_meanwhile(
    storage: Storage, hub: str, text: str
):
    with (
        make_app(storage.plugin()).running(task_hub=hub) as client,
        make_app(storage.plugin(cache_bytes=0)).client(task_hub=hub) as other,
    ):
        client.run_orchestration("once", input=LARGE, instance_id="i", timeout=TIMEOUT)

        def start_again_when_it_is_gone(method: str, path: str) -> None:
            if (method == "DELETE" or "comp=list" in path) and "i" not in ids(client):
                client.run_orchestration("once", input=text, instance_id="i", timeout=TIMEOUT)

        storage.fault = start_again_when_it_is_gone
        other.purge_orchestration("i")
        state = other.get_orchestration_state("i")
        history = other.get_orchestration_history("i")

    assert state is not None
    assert state.get_output() == f"{len(text)}{text[1:]}"
    assert any(text in str(event.attributes) for event in history)


def ids(client: Client) -> list[str]:
    return [
        state.instance_id
        for state in client.get_all_orchestration_states(
            OrchestrationQuery(fetch_inputs_and_outputs=False)
        )
    ]


def test_what_is_still_being_stored_for_an_instance_that_is_gone_does_not_serve_the_next(
    storage: Storage, hub: str
):
    app = App("late", plugins=[storage.plugin()])
    begun: queue.SimpleQueue[str] = queue.SimpleQueue()

    @app.activity
    def write() -> str:
        begun.put("begun")
        return LARGE

    @app.orchestrator
    def book(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(write))

    def late(method: str, path: str) -> str | None:
        return "late" if method == "PUT" else None

    def start_again(method: str, path: str) -> None:
        if method == "DELETE" and not ids(client):
            client.schedule_new_orchestration(book, instance_id="i")
            begun.get(timeout=TIMEOUT)
            storage.released.set()
            client.wait_for_orchestration_completion("i", timeout=TIMEOUT)

    with storage.client() as container:
        container.create_container()
    with (
        app.running(task_hub=hub) as client,
        make_app(storage.plugin(cache_bytes=0)).client(task_hub=hub) as other,
    ):
        storage.fault = late
        client.schedule_new_orchestration(book, instance_id="i")
        begun.get(timeout=TIMEOUT)
        while not storage.names():
            pass
        client.terminate_orchestration("i")
        client.wait_for_orchestration_completion("i", timeout=TIMEOUT)
        storage.fault = start_again
        client.purge_orchestration("i")
        state = other.get_orchestration_state("i")

    assert state is not None
    assert state.get_output() == LARGE


@pytest.mark.parametrize("settings", [{}, {"session_cache_count": 1}])
def test_the_result_of_a_root_is_its_own_however_its_turns_came(
    storage: Storage, task_hub: str, settings: dict[str, int]
):
    with make_app(storage.plugin(), **settings).running(task_hub=task_hub) as client:
        for name in ("a", "b", "c"):
            client.schedule_new_orchestration("chain", input=LARGE, instance_id=name)
        for name in ("a", "b", "c"):
            client.wait_for_orchestration_completion(name, timeout=TIMEOUT)
            client.purge_orchestration(name)

    (kept,) = storage.names()
    assert kept.startswith("shared/")


@pytest.mark.parametrize("when", ["before its first turn", "while it is suspended", "after a turn"])
def test_what_waits_for_an_instance_stays_though_no_history_tells_of_it(
    storage: Storage, hub: str, when: str
):
    app = make_app(storage.plugin(cache_bytes=0))
    if when != "before its first turn":
        with app.running(task_hub=hub) as client:
            client.schedule_new_orchestration("listening", input=LARGE, instance_id="i")
            client.wait_for_orchestration_start("i", timeout=TIMEOUT)
            if when == "while it is suspended":
                client.suspend_orchestration("i")
    with app.client(task_hub=hub) as client:
        if when == "before its first turn":
            client.schedule_new_orchestration("listening", input=LARGE, instance_id="i")
        client.raise_orchestration_event("i", "more", data=LARGE[::-1])
    found = collect(storage.plugin(), [hub], dry_run=False, now=NEXT_MONTH)

    assert (found.garbage, found.awaited) == ((), 1)
    with app.running(task_hub=hub) as client:
        if when == "while it is suspended":
            client.resume_orchestration("i")
        state = client.wait_for_orchestration_completion("i", timeout=TIMEOUT)
    assert state.get_output() == LARGE + LARGE[::-1]


def test_a_result_that_waits_for_its_instance_stays(storage: Storage, hub: str):
    app = App("waiting", plugins=[storage.plugin()])
    released = threading.Event()

    @app.activity
    def write() -> str:
        assert released.wait(TIMEOUT)
        return LARGE

    @app.orchestrator
    def book(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(write))

    with app.running(task_hub=hub) as client:
        instance_id = client.schedule_new_orchestration(book, instance_id="i")
        client.wait_for_orchestration_start("i", timeout=TIMEOUT)
        client.suspend_orchestration("i")
        released.set()
    (name,) = storage.names()
    assert collect(storage.plugin(), [hub], dry_run=False, now=NEXT_MONTH).awaited == 1

    with app.running(task_hub=hub) as client:
        client.resume_orchestration("i")
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)
    assert state.get_output() == LARGE
    assert name in storage.names()


def test_what_only_ended_instances_could_have_waited_for_goes(storage: Storage, hub: str):
    app = make_app(storage.plugin())
    with app.client(task_hub=hub) as client:
        client.schedule_new_orchestration("listening", input="small", instance_id="i")
        client.raise_orchestration_event("i", "more", data=LARGE)
        client.terminate_orchestration("i")
        client.purge_orchestration("i")
    found = collect(storage.plugin(), [hub], dry_run=False, now=NEXT_MONTH)

    assert len(found.garbage) == 1


class Forgetful(Engine):
    """It says of histories that they are not there."""

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        raise CallError(Status.NOT_FOUND, "There is none.")
        yield pb.HistoryChunk()


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    loop = HubLoop.acquire()
    server = HubServer(engine)
    loop.run(engine.open())
    try:
        yield f"grpc://127.0.0.1:{loop.run(server.start())}"
    finally:
        loop.run(server.stop(1))
        loop.run(engine.close())
        loop.release()


def test_nothing_is_deleted_if_an_instance_is_there_and_its_history_is_not(storage: Storage):
    with serving(Forgetful(None)) as hub:
        with make_app(storage.plugin()).client(task_hub=hub) as client:
            client.schedule_new_orchestration("once", input=LARGE)

        with pytest.raises(InstanceNotFoundError):
            collect(storage.plugin(), [hub], dry_run=False, now=NEXT_MONTH)

    assert list(storage.client().list_blob_names())


@pytest.mark.usefixtures("installed")
def test_what_is_needed_stays_though_the_environment_names_the_plugin(
    storage: Storage, hub: str, monkeypatch: pytest.MonkeyPatch
):
    for name, text in (
        ("CONNECTION_STRING", storage.connection_string),
        ("CONTAINER_NAME", storage.container),
        ("THRESHOLD_BYTES", "1000"),
    ):
        monkeypatch.setenv(f"DURABLEFLOW_PLUGINS_BLOB_{name}", text)
    with make_app().running(task_hub=hub) as client:
        client.run_orchestration("once", input=LARGE, timeout=TIMEOUT)
    before = storage.names()
    found = collect(storage.plugin(), [hub], dry_run=False, now=NEXT_MONTH)

    assert (found.live, found.garbage) == (2, ())
    assert storage.names() == before


def test_a_dry_run_only_tells(storage: Storage, hub: str):
    run_two(storage, hub)
    before = storage.names()
    found = collect(storage.plugin(), [hub], dry_run=True, now=NEXT_MONTH)

    assert len(found.garbage) == 2
    assert storage.names() == before


def test_what_is_young_stays(storage: Storage, hub: str):
    run_two(storage, hub)
    before = storage.names()
    found = collect(storage.plugin(), [hub], dry_run=False)

    assert (found.garbage, found.young) == ((), 2)
    assert storage.names() == before


def test_what_is_stored_again_meanwhile_stays(storage: Storage, hub: str):
    run_two(storage, hub)
    before = storage.names()

    def store_again(method: str, path: str) -> None:
        if method == "DELETE":
            with storage.client() as container:
                for name in before:
                    content = container.download_blob(name, decompress=False).readall()
                    container.upload_blob(name, content, overwrite=True)

    storage.fault = store_again
    found = collect(storage.plugin(), [hub], dry_run=False, now=NEXT_MONTH)

    assert found.garbage == ()
    assert storage.names() == before


def test_nothing_is_deleted_if_a_task_hub_cannot_be_read(storage: Storage, hub: str):
    run_two(storage, hub)
    before = storage.names()

    with pytest.raises(TaskHubUnavailableError):
        collect(storage.plugin(), [hub, "grpc://127.0.0.1:1"], dry_run=False, now=NEXT_MONTH)

    assert storage.names() == before


def test_the_command_says_what_it_found(
    storage: Storage, hub: str, capsys: pytest.CaptureFixture[str]
):
    run_two(storage, hub)
    account = ["--connection-string", storage.connection_string, "--container", storage.container]
    status = main(["gc", "--task-hub", hub, *account, "--dry-run"])

    assert status == 0
    assert "2 are younger than a week" in capsys.readouterr().out


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("where", ["environment", "file"])
def test_the_command_takes_the_account_from_the_settings_of_the_plugin(
    storage: Storage,
    hub: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: str,
):
    run_two(storage, hub)
    lines = ["[plugins.blob]", f'container_name = "{storage.container}"']
    if where == "environment":
        variable = "DURABLEFLOW_PLUGINS_BLOB_CONNECTION_STRING"
        monkeypatch.setenv(variable, storage.connection_string)
    else:
        lines.append(f'connection_string = "{storage.connection_string}"')
    (tmp_path / "durableflow.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)

    assert main(["gc", "--task-hub", hub, "--dry-run"]) == 0
    assert "2 are younger than a week" in capsys.readouterr().out
    assert main(["gc", "--task-hub", hub, "--container", "empty-one", "--dry-run"]) == 1
    assert "empty-one" in capsys.readouterr().err


@pytest.mark.usefixtures("installed")
def test_the_command_says_where_an_account_can_be_named(
    hub: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["gc", "--task-hub", hub, "--root", str(tmp_path)]) == 1

    said = capsys.readouterr().err
    assert "--account-url" in said
    assert f"[plugins.blob] in {tmp_path / 'durableflow.toml'}" in said
    assert "DURABLEFLOW_PLUGINS_BLOB_" in said


def test_the_command_says_why_it_did_nothing(storage: Storage, capsys: pytest.CaptureFixture[str]):
    account = ["--connection-string", storage.connection_string, "--container", storage.container]
    status = main(["gc", "--task-hub", "grpc://127.0.0.1:1", *account])

    assert status == 1
    assert "Stopped before the end" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["grpc://127.0.0.1:1", None])
def test_the_command_leaves_no_connection_behind(
    storage: Storage, hub: str, other: str | None, capsys: pytest.CaptureFixture[str]
):
    run_two(storage, hub)
    account = ["--connection-string", storage.connection_string, "--container", storage.container]
    main(["gc", "--task-hub", other or hub, *account, "--dry-run"])

    assert storage.requests[-1][1].count("comp=list")
    assert storage.is_left_alone()
