"""``python -m durableflow.engine export``: histories out of a file, without any app."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from durableflow import App, Orchestration, OrchestrationContext
from durableflow.testing import read_history, replay
from tests.e2e.conftest import Workshop

pytestmark = pytest.mark.e2e

EXPORT = ("-m", "durableflow.engine", "export", "--db")


def make_app(folder: Path) -> App:
    app = App("orders", root=folder)

    @app.activity
    def charge(what: str) -> str:
        return what

    @app.orchestrator
    def order(ctx: OrchestrationContext, what: str) -> Orchestration[str]:
        return (yield ctx.call_activity(charge, input=what))

    @app.orchestrator
    def broken(ctx: OrchestrationContext) -> None:
        raise ValueError("out of order")

    return app


@pytest.fixture
def shop(workshop: Workshop) -> Workshop:
    """A folder with ``orders.db``, in which two instances have ended and one never began."""
    app = make_app(workshop.folder)
    with app.running() as client:
        client.run_orchestration("order", input="lamp", instance_id="lamp")
        failed = client.schedule_new_orchestration("broken", instance_id="broken")
        client.wait_for_orchestration_completion(failed)
    with app.client() as client:
        client.schedule_new_orchestration("order", input="pen", instance_id="pen")
    return workshop


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_histories_are_exported_and_replayed(shop: Workshop):
    status, output = shop.run(*EXPORT, "orders.db", "--out", "histories/today")

    folder = shop.folder / "histories" / "today"
    assert status == 0
    assert "2 exported to histories/today" in output
    assert "'pen' has no history yet" in output
    assert names(folder) == ["broken.json", "lamp.json"]
    replay(make_app(shop.folder), folder)


def test_one_history_goes_to_standard_output(shop: Workshop):
    status, output = shop.run(*EXPORT, "orders.db", "lamp")

    shop.write("lamp.json", output)
    assert status == 0
    beginning = read_history(shop.folder / "lamp.json").beginning
    assert beginning is not None
    assert beginning.orchestrationInstance.instanceId == "lamp"


def test_only_what_is_in_a_status_is_exported(shop: Workshop):
    status, _ = shop.run(
        *EXPORT, "orders.db", "--out", "histories", "--status", "failed", "--status", "running"
    )

    assert status == 0
    assert names(shop.folder / "histories") == ["broken.json"]


def test_only_what_is_named_is_exported(shop: Workshop):
    status, _ = shop.run(*EXPORT, "orders.db", "--out", "histories", "lamp", "lamp")

    assert status == 0
    assert names(shop.folder / "histories") == ["lamp.json"]


def test_however_many_there_are_all_are_exported(workshop: Workshop):
    with make_app(workshop.folder).running() as client:
        started = [
            client.schedule_new_orchestration("order", input="pen", instance_id=f"order-{number}")
            for number in range(450)
        ]
        for instance_id in started:
            client.wait_for_orchestration_completion(instance_id)
    status, _ = workshop.run(*EXPORT, "orders.db", "--out", "histories")

    assert status == 0
    assert len(names(workshop.folder / "histories")) == 450


def test_whoever_owns_the_file_is_asked(shop: Workshop):
    with make_app(shop.folder).running() as client:
        client.run_orchestration("order", input="rug", instance_id="rug")
        status, output = shop.run(*EXPORT, "orders.db", "rug")
        client.run_orchestration("order", input="cup")

    assert status == 0
    assert json.loads(output)["events"]


def test_the_engine_of_its_own_is_asked_too(shop: Workshop):
    engine = shop.start("-m", "durableflow.engine", "--db", "orders.db", "--port", "0")
    engine.wait_for("is served at grpc://")

    status, output = shop.run(*EXPORT, "orders.db", "lamp")

    assert status == 0
    assert json.loads(output)["events"]
    assert engine.process.poll() is None


@pytest.mark.parametrize("pair", [("a/../b", "..."), ("x" * 500, "x" * 501), ("Lamp", "LAMP")])
def test_whatever_an_id_is_its_history_has_a_file_in_the_folder(
    workshop: Workshop, pair: tuple[str, str]
):
    with make_app(workshop.folder).running() as client:
        for instance_id in pair:
            client.run_orchestration("order", input="lamp", instance_id=instance_id)
    status, _ = workshop.run(*EXPORT, "orders.db", "--out", "histories")

    folder = workshop.folder / "histories"
    assert status == 0
    assert len({name.casefold() for name in names(folder)}) == 2
    beginnings = [read_history(path).beginning for path in folder.glob("*.json")]
    assert {each.orchestrationInstance.instanceId for each in beginnings if each} == set(pair)


def test_a_file_that_is_missing_stays_missing(workshop: Workshop):
    status, output = workshop.run(*EXPORT, "nothing.db", "--out", "histories")

    assert status == 1
    assert f"There is no file {workshop.folder / 'nothing.db'}" in output
    assert names(workshop.folder) == []


def test_a_file_that_is_no_task_hub_is_refused(workshop: Workshop):
    workshop.write("notes.txt", "plain text " * 1000)

    status, output = workshop.run(*EXPORT, "notes.txt", "lamp")

    assert status == 1
    assert "notes.txt cannot be used as a task hub" in output
    assert "Traceback" not in output


def test_unknown_instances_are_named_and_nothing_is_written(shop: Workshop):
    status, output = shop.run(*EXPORT, "orders.db", "--out", "histories", "lamp", "hat", "cap")

    assert status == 1
    assert "holds no instance 'hat', 'cap'" in output
    assert not (shop.folder / "histories").exists()


@pytest.mark.parametrize("words", [("hat",), ("pen",), ("--out", "histories", "pen")])
def test_an_instance_that_was_named_and_has_no_history_is_a_failure(
    shop: Workshop, words: tuple[str, ...]
):
    status, output = shop.run(*EXPORT, "orders.db", *words)

    assert status == 1
    assert words[-1] in output
    assert "Traceback" not in output


def test_a_folder_that_cannot_be_made_is_named(shop: Workshop):
    shop.write("taken", "a file")

    status, output = shop.run(*EXPORT, "orders.db", "--out", "taken")

    assert status == 1
    assert "The folder taken cannot be made" in output
    assert "Traceback" not in output


def test_a_folder_that_cannot_be_written_to_is_named(shop: Workshop):
    (shop.folder / "histories" / "lamp.json").mkdir(parents=True)

    status, output = shop.run(*EXPORT, "orders.db", "--out", "histories", "lamp")

    assert status == 1
    assert "lamp.json cannot be written" in output
    assert names(shop.folder / "histories") == ["lamp.json"]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ((), "--out FOLDER"),
        (("lamp", "pen"), "--out FOLDER"),
        (("--status", "failed", "lamp"), "leave it out where ids are given"),
        (("--status", "lost", "--out", "histories"), "terminated"),
    ],
)
def test_a_wrong_call_is_explained(shop: Workshop, words: tuple[str, ...], advice: str):
    status, output = shop.run(*EXPORT, "orders.db", *words)

    assert status == 2
    assert advice in output
