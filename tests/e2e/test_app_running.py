"""An App while it runs in the program's own process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from durableflow import (
    ActivityContext,
    App,
    AsyncClient,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationStatus,
    SetupError,
    StorageUnusableError,
    UsageError,
    WaitTimeoutError,
    hookimpl,
    when_all,
)

SECONDS = 20


def make_app(root: Path, **options: object) -> App:
    app = App("greetings", root=root, **options)
    app.add_activity(hello)
    app.add_orchestrator(greet)
    return app


def threads_left(before: set[threading.Thread]) -> set[str]:
    """Name the threads that began since then and do not end, given some time."""
    since = set(threading.enumerate()) - before
    for thread in since:
        thread.join(SECONDS)
    return {thread.name for thread in since if thread.is_alive()}


def hello(ctx: ActivityContext, name: str) -> str:
    return f"Hello {name}!"


def greet(ctx: OrchestrationContext, names: list[str]) -> Orchestration[list[str]]:
    return (yield when_all([ctx.call_activity(hello, input=name) for name in names]))


def test_worker_and_client_in_one_process(tmp_path: Path):
    app = make_app(tmp_path)

    with app.running() as client:
        result = client.run_orchestration(greet, input=["Ann", "Bob"], timeout=SECONDS)

    assert isinstance(client, Client)
    assert result == ["Hello Ann!", "Hello Bob!"]
    assert (tmp_path / "greetings.db").exists()


async def test_worker_and_async_client_in_one_process(tmp_path: Path):
    app = make_app(tmp_path)

    async with app.running() as client:
        result = await client.run_orchestration(greet, input=["Ann"], timeout=SECONDS)

    assert isinstance(client, AsyncClient)
    assert result == ["Hello Ann!"]


async def test_async_activities_run_on_the_callers_loop(tmp_path: Path):
    app = App("loops", root=tmp_path)
    loops = []

    @app.activity
    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    @app.orchestrator
    def once(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(note)

    async with app.running() as client:
        await client.run_orchestration(once, timeout=SECONDS)

    assert loops == [asyncio.get_running_loop()]


def test_async_activities_have_a_loop_where_the_program_has_none(tmp_path: Path):
    app = App("loops", root=tmp_path)

    @app.activity
    async def thread_name() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    @app.orchestrator
    async def once(ctx: OrchestrationContext) -> str:
        return await ctx.call_activity(thread_name)

    with app.running() as client:
        name = client.run_orchestration(once, timeout=SECONDS)

    assert name not in {threading.main_thread().name, "durableflow-hub"}
    assert name not in {thread.name for thread in threading.enumerate()}


def test_an_app_can_run_many_times_one_after_another(tmp_path: Path):
    app = make_app(tmp_path)

    for name in ("Ann", "Bob"):
        with app.running() as client:
            assert client.run_orchestration(greet, input=[name], timeout=SECONDS)
    with app.running() as client:
        assert len(list(client.query_orchestrations())) == 2


def test_nothing_is_left_running_afterwards(tmp_path: Path):
    before = set(threading.enumerate())

    with make_app(tmp_path).running() as client:
        client.run_orchestration(greet, input=["Ann"], timeout=SECONDS)

    assert not threads_left(before)


def test_start_and_stop_do_what_a_with_block_does(tmp_path: Path):
    app = make_app(tmp_path)

    app.start()
    with app.client() as client:
        result = client.run_orchestration(greet, input=["Ann"], timeout=SECONDS)
    app.stop()

    assert result == ["Hello Ann!"]
    app.stop()  # does nothing


def test_starting_twice_is_refused(tmp_path: Path):
    app = make_app(tmp_path)
    app.start()

    with pytest.raises(SetupError, match=r"app\.stop\(\)"):
        app.start()
    app.stop()


def test_clients_of_a_running_app_share_its_hub_in_memory(tmp_path: Path):
    app = make_app(tmp_path, task_hub="sqlite://")

    with app.running() as first, app.client() as second:
        instance_id = first.schedule_new_orchestration(greet, input=["Ann"])
        state = second.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        assert state.get_output() == ["Hello Ann!"]
    with app.client() as client:
        assert client.get_orchestration_state(instance_id) is None
    assert not list(tmp_path.iterdir())


def test_a_client_follows_the_app_to_where_it_runs_this_time(tmp_path: Path):
    app = make_app(tmp_path)

    with app.running(task_hub="sqlite://") as first, app.client() as second:
        instance_id = first.schedule_new_orchestration(greet, input=[])
        assert second.get_orchestration_state(instance_id) is not None
    assert not list(tmp_path.iterdir())


def test_two_apps_in_one_process_share_a_file(tmp_path: Path):
    first = make_app(tmp_path, task_hub="sqlite:///shared.db")
    second = App("second", root=tmp_path, task_hub="sqlite:///shared.db")

    @second.orchestrator
    def other(ctx: OrchestrationContext) -> str:
        return "from the second"

    with first.running() as client, second.running():
        assert client.run_orchestration(greet, input=["Ann"], timeout=SECONDS) == ["Hello Ann!"]
        assert client.run_orchestration("other", timeout=SECONDS) == "from the second"


def test_what_was_accepted_without_a_worker_runs_when_one_comes(tmp_path: Path):
    app = make_app(tmp_path)

    with app.client() as client:
        instance_id = client.schedule_new_orchestration(greet, input=["Ann"])
        state = client.get_orchestration_state(instance_id)
    with app.running() as client:
        finished = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)

    assert state is not None
    assert state.runtime_status is OrchestrationStatus.PENDING
    assert finished.get_output() == ["Hello Ann!"]


def test_a_wait_without_a_worker_says_what_is_missing_and_where(tmp_path: Path):
    with make_app(tmp_path).client() as client:
        instance_id = client.schedule_new_orchestration(greet, input=["Ann"])

        with pytest.raises(WaitTimeoutError) as caught:
            client.wait_for_orchestration_completion(instance_id, timeout=0.1)

    expected = f"PENDING: no worker connected to sqlite:///{tmp_path / 'greetings.db'} runs greet"
    assert expected in str(caught.value)


def test_a_wait_for_a_misspelt_activity_says_what_was_probably_meant(tmp_path: Path):
    app = make_app(tmp_path)

    @app.orchestrator
    def misspells(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity("helo", input="Ann"))

    with app.running() as client:
        instance_id = client.schedule_new_orchestration(misspells)
        client.wait_for_orchestration_start(instance_id, timeout=SECONDS)
        with pytest.raises(WaitTimeoutError) as caught:
            client.wait_for_orchestration_completion(instance_id, timeout=0.1)

    assert (
        "waited for activity 'helo', which no worker connected to "
        f"sqlite:///{tmp_path / 'greetings.db'} runs (did you mean 'hello'?)."
    ) in str(caught.value)


def test_a_client_of_a_hub_that_no_worker_ever_served_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with make_app(tmp_path).client():
        pass

    assert str(tmp_path / "greetings.db") in caplog.text
    assert "No worker has ever served" in caplog.text


def test_a_client_of_a_hub_that_had_a_worker_does_not_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    app = make_app(tmp_path)
    with app.running():
        pass

    with app.client():
        pass

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_activities_reach_the_state_that_the_lifespan_yields_and_the_app(tmp_path: Path):
    events: list[str] = []
    tasks = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[str]:
        events.append(f"enter {app.name}")
        tasks.append(asyncio.current_task())
        yield "a pool"
        tasks.append(asyncio.current_task())
        events.append("leave")

    app = App("pools", root=tmp_path, lifespan=lifespan)

    @app.activity
    def use(ctx: ActivityContext) -> str:
        events.append("use")
        return f"{ctx.state} of {ctx.app.name}"

    @app.orchestrator
    def once(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(use))

    with app.running() as client:
        assert client.run_orchestration(once, timeout=SECONDS) == "a pool of pools"

    assert events == ["enter pools", "use", "leave"]
    assert tasks[0] is tasks[1]


async def test_the_lifespan_runs_on_the_callers_loop(tmp_path: Path):
    loops = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        yield

    async with App("pools", root=tmp_path, lifespan=lifespan).running():
        pass

    assert loops == [asyncio.get_running_loop()]


def test_a_lifespan_that_fails_is_raised_and_leaves_nothing_running(tmp_path: Path):
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise ConnectionRefusedError("no database")
        yield

    app = App("pools", root=tmp_path, lifespan=lifespan)
    before = set(threading.enumerate())

    with pytest.raises(ConnectionRefusedError, match="no database"):
        app.start()

    assert not threads_left(before)
    app.add_activity(hello)  # not frozen


def test_an_activity_starts_an_orchestration_by_the_apps_client(tmp_path: Path):
    app = make_app(tmp_path)

    @app.activity
    def start(ctx: ActivityContext, name: str) -> str:
        with ctx.app.client() as client:
            return client.schedule_new_orchestration(greet, input=[name])

    @app.orchestrator
    def starter(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(start, input="Ann"))

    with app.running() as client:
        instance_id = client.run_orchestration(starter, timeout=SECONDS)
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        assert state.get_output() == ["Hello Ann!"]


def test_an_async_activity_starts_an_orchestration_by_the_apps_async_client(tmp_path: Path):
    app = make_app(tmp_path)

    @app.activity
    async def start(ctx: ActivityContext, name: str) -> str:
        async with ctx.app.async_client() as client:
            return await client.schedule_new_orchestration(greet, input=[name])

    @app.orchestrator
    async def starter(ctx: OrchestrationContext) -> str:
        return await ctx.call_activity(start, input="Ann")

    with app.running() as client:
        instance_id = client.run_orchestration(starter, timeout=SECONDS)
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        assert state.get_output() == ["Hello Ann!"]


async def test_a_blocking_client_on_the_apps_loop_is_refused(tmp_path: Path):
    app = make_app(tmp_path)

    async with app.running():
        client = app.client()
        with pytest.raises(UsageError, match="async_client"):
            client.get_orchestration_state("x")
        await asyncio.to_thread(client.close)


def test_running_inside_a_run_of_the_main_thread_is_for_the_main_thread(tmp_path: Path):
    errors: list[SetupError] = []

    def run() -> None:
        try:
            make_app(tmp_path).run()
        except SetupError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert "main thread" in str(errors[0])


async def test_run_inside_an_event_loop_is_refused(tmp_path: Path):
    with pytest.raises(SetupError, match=r"async with app\.running"):
        make_app(tmp_path).run()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path):
    file = tmp_path / "greetings.db"
    file.write_text("Dear diary, this is no database. " * 100)
    before = file.read_bytes()

    with pytest.raises(StorageUnusableError, match=r"greetings\.db"):
        make_app(tmp_path).start()

    assert file.read_bytes() == before


def test_a_client_that_cannot_connect_leaves_nothing_running(tmp_path: Path):
    (tmp_path / "greetings.db").write_text("no database " * 1000)
    app = make_app(tmp_path)
    before = set(threading.enumerate())

    with pytest.raises(StorageUnusableError), app.client():
        pass

    assert not threads_left(before)


def test_plugins_learn_as_often_that_an_app_is_closed_as_that_it_is_opened(tmp_path: Path):
    told = []

    class Watcher:
        @hookimpl
        def app_opened(self, app: App) -> None:
            told.append(("opened", app.name))

        @hookimpl
        def app_closed(self, app: App) -> None:
            told.append(("closed", app.name))

        @hookimpl
        def worker_started(self) -> None:
            told.append(("started", ""))

    app = make_app(tmp_path, plugins=[Watcher()])
    with app.running():
        during = list(told)
    after = list(told)
    with app.client():
        pass
    (tmp_path / "greetings.db").unlink()
    (tmp_path / "greetings.db").mkdir()
    with pytest.raises(StorageUnusableError), app.running():
        pass

    opened, closed = ("opened", "greetings"), ("closed", "greetings")
    assert during == [opened, ("started", ""), opened]
    assert after == [*during, closed, closed]
    assert told[len(after) :] == [opened, closed] * 2


def test_plugins_learn_that_a_worker_starts_and_stops(tmp_path: Path):
    events = []

    class Watcher:
        @hookimpl
        def worker_started(self, app: App, hub_description: str) -> None:
            events.append((app.name, hub_description))

        @hookimpl
        def worker_stopping(self, app: App) -> None:
            events.append((app.name, "stopping"))

    with make_app(tmp_path, plugins=[Watcher()]).running():
        pass

    expected = ("greetings", f"sqlite:///{tmp_path / 'greetings.db'}")
    assert events == [expected, ("greetings", "stopping")]
