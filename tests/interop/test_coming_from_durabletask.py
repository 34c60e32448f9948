"""What was written for the ``durabletask`` package runs here with one import changed."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from durabletask.client import TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

import durableflow
from durableflow import App, OrchestrationStatus
from tests.interop.engines import sdk_engine

pytestmark = pytest.mark.interop

SECONDS = 30
PROGRAM = Path(__file__).parent / "written_for_durabletask.py"
PAGE = Path(__file__).parents[2] / "docs" / "coming_from_durabletask.md"


@dataclasses.dataclass
class Side:
    """The program, run by a worker, and a client of the same package."""

    program: ModuleType
    client: Any

    def start(self, name: str, input: Any = None, **options: Any) -> str:
        function = getattr(self.program, name)
        instance_id = self.client.schedule_new_orchestration(function, input=input, **options)
        return str(instance_id)

    def output(self, instance_id: str) -> Any:
        state = self.client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        assert state.runtime_status.name == OrchestrationStatus.COMPLETED.name, state
        return state.get_output()

    def run(self, name: str, input: Any = None, **options: Any) -> Any:
        return self.output(self.start(name, input, **options))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def theirs(folder: Path) -> Iterator[Side]:
    program = load(PROGRAM)
    with sdk_engine() as engine, TaskHubGrpcWorker(host_address=engine.target) as worker:
        for activity in program.ACTIVITIES:
            worker.add_activity(activity)
        for orchestrator in program.ORCHESTRATORS:
            worker.add_orchestrator(orchestrator)
        worker.start()
        yield Side(program, TaskHubGrpcClient(host_address=engine.target))


@contextmanager
def ours(folder: Path) -> Iterator[Side]:
    text = PROGRAM.read_text()
    changed = text.replace("\nfrom durabletask import task\n", "\nimport durableflow as task\n")
    assert changed != text
    copy = folder / PROGRAM.name
    copy.write_text(changed)
    program = load(copy)
    app = App("written_for_durabletask", task_hub=f"sqlite:///{folder / 'hub.db'}")
    for activity in program.ACTIVITIES:
        app.add_activity(activity)
    for orchestrator in program.ORCHESTRATORS:
        app.add_orchestrator(orchestrator)
    with app.running() as client:
        yield Side(program, client)


@pytest.fixture(scope="module", params=[theirs, ours], ids=["durabletask", "durableflow"])
def side(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    with request.param(tmp_path_factory.mktemp("program")) as side:
        yield side


def test_a_sequence(side: Side):
    assert side.run("sequence") == ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]


def test_a_fan_out(side: Side):
    assert side.run("fan_out", 4) == {
        "numbers": [0, 1, 2, 3],
        "results": [0, 1, 4, 9],
        "total": 14,
    }


def test_an_approval_that_nobody_needs(side: Side):
    assert side.run("purchase", side.program.Order(10, "pen", 1)) == "Auto-approved"


def test_an_approval_without_a_declared_type(side: Side):
    order = side.start("purchase", side.program.Order(2000, "laptop", 2))
    side.client.raise_orchestration_event(
        order, "approval_received", data=side.program.Approval("Me")
    )

    assert side.output(order) == "2 laptop approved by 'Me'"


def test_an_approval_with_a_declared_type_and_in_another_case(side: Side):
    order = side.start("purchase_typed", side.program.Order(2000, "laptop", 2))
    side.client.raise_orchestration_event(
        order, "approval_RECEIVED", data=side.program.Approval("Me")
    )

    assert side.output(order) == [True, False, "Me"]


def test_an_approval_that_comes_too_late(side: Side):
    assert side.run("purchase_typed", side.program.Order(0, "pen", 1)) == "Canceled"


def test_children_and_retries(side: Side):
    assert side.run("parent", ["a", "b"]) == ["a succeeded", "b succeeded", True]


def test_a_failure_that_is_caught(side: Side):
    assert side.run("catch", "no ink") == ["no ink", True, True]


def test_an_eternal_orchestration(side: Side):
    assert side.run("count_down", 3) == "done"


def test_events_between_orchestrations(side: Side):
    listener = side.start("collect")
    side.run("tell", listener)

    assert side.output(listener) == [1, 2, 36]


def test_a_cancelled_timer(side: Side):
    assert side.run("cancel") == [True, False, 9]


@pytest.mark.parametrize(
    ("version", "expected"), [("1.0.0", "the old way"), ("10.0.0", "Hello new world!")]
)
def test_a_version_aware_orchestrator(side: Side, version: str, expected: str):
    assert side.run("versioned", version=version) == expected


# The page


MODULES = ["task", "client", "worker", "entities"]
WITH_MEMBERS = {
    "ActivityContext",
    "CancellableTask",
    "FailureDetails",
    "OrchestrationContext",
    "OrchestrationQuery",
    "OrchestrationState",
    "OrchestrationStatus",
    "PurgeInstancesResult",
    "RetryPolicy",
    "Task",
    "TaskFailedError",
    "TaskHubGrpcClient",
    "TaskHubGrpcWorker",
    "VersioningOptions",
    "WorkItemFilters",
}


def is_public(name: str, value: object) -> bool:
    module = getattr(value, "__module__", None) or ""
    is_code = inspect.isclass(value) or inspect.isfunction(value)
    return (
        not name.startswith("_")
        and is_code
        and module.startswith("durabletask")
        and ".internal" not in module
    )


def public_names() -> Iterator[str]:
    """Yield the public names of the package's vocabulary, members as ``Class.member``."""
    modules = [importlib.import_module(f"durabletask.{name}") for name in MODULES]
    for module in [importlib.import_module("durabletask"), *modules]:
        for name, value in vars(module).items():
            if not is_public(name, value):
                continue
            yield name
            if name in WITH_MEMBERS:
                members = {m for m in dir(value) if not m.startswith("_")} - set(dir(Exception))
                if dataclasses.is_dataclass(value):
                    members |= {f.name for f in dataclasses.fields(value) if f.name[0] != "_"}
                yield from (f"{name}.{member}" for member in members)


def rows() -> list[list[str]]:
    """Return the cells of the page's tables, headings left out."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_names_everything_public():
    named = {name for first, *_ in rows() for name in re.findall(r"`([\w.]+)`", first)}

    missing = set(public_names()) - named
    assert not missing


def test_what_the_page_names_in_its_place_exists():
    for first, second in rows():
        for name in re.findall(r"`((?:durableflow\.)?[A-Z]\w+(?:\.\w+)*)", second):
            value: Any = durableflow
            for part in name.removeprefix("durableflow.").split("."):
                fields = getattr(value, "__attrs_attrs__", ())
                assert hasattr(value, part) or part in {f.name for f in fields}, (first, name)
                value = getattr(value, part, None)
