"""The rules of this house that no linter knows.  CONTRIBUTING.md says why they are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType

import attrs
import pytest
from google.protobuf.message import Message

import durableflow
from durableflow import AsyncClient, Client, errors, hookspecs
from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.state import Instance
from durableflow.engine.transitions import apply_turn, new_events
from durableflow.replay import handlers

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path
    for package in ("durableflow", "durableflow_blob")
    for path in (ROOT / package).rglob("*.py")
    if not {"_proto", "build"} & set(path.parts)
)

LONGEST_MODULE = 400
LONG_WITH_A_REASON: dict[str, str] = {}

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


# Modules


@each_module
def test_a_module_is_short_enough_to_read(path: Path):
    lines = len(path.read_text(encoding="utf-8").splitlines())

    assert lines <= LONGEST_MODULE or str(path.relative_to(ROOT)) in LONG_WITH_A_REASON


@each_module
def test_a_module_says_in_its_first_line_what_it_is_for(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

    first = docstring.partition("\n")[0]
    assert first.endswith((".", ":")), first


@each_module
def test_a_module_holds_no_promises(path: Path):
    promises = re.findall(
        r"\b(raise NotImplementedError|TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8")
    )

    assert not promises


@each_module
def test_a_suppression_gives_its_reason(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    suppressions = [line for line in lines if re.search(r"# (noqa|type: ignore|pragma)", line)]

    explained = r"# (noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\]|pragma: no \w+) *(#|-+|—) *\w"
    assert not [line for line in suppressions if not re.search(explained, line)]


# The public surface


def test_all_lists_the_public_names_in_order():
    names = {
        name
        for name, value in vars(durableflow).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert durableflow.__all__ == sorted(durableflow.__all__)
    assert set(durableflow.__all__) - {"__version__"} == names


def test_the_public_surface_is_the_recorded_one():
    recorded = (ROOT / "tests" / "public_surface.txt").read_text(encoding="utf-8")

    assert list(surface()) == recorded.splitlines(), (
        f"to accept this: python {Path(__file__).relative_to(ROOT)}"
    )


def surface() -> Iterator[str]:
    """Every public name, and the parameters of what can be called."""
    for name in sorted(durableflow.__all__):
        value = getattr(durableflow, name)
        if not inspect.isclass(value) or issubclass(value, BaseException):
            yield name + (parameters(value) if inspect.isfunction(value) else "")
            continue
        # How an enum is called differs from one Python to the next, and nobody calls one.
        yield name if issubclass(value, Enum) else f"{name}{parameters(value)}"
        for member, found in sorted(own_members(value).items()):
            if not member.startswith("_"):
                yield f"{name}.{member}{parameters(found)}"


def own_members(cls: type) -> dict[str, object]:
    """What a class and its bases in this package define."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("durableflow")]
    return {name: found for base in reversed(bases) for name, found in vars(base).items()}


def parameters(value: object) -> str:
    function = getattr(value, "__func__", value)
    if not callable(function):
        return ""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))


def test_both_clients_have_the_same_methods_with_the_same_parameters():
    assert methods(Client) == methods(AsyncClient)


def methods(client: type) -> dict[str, str]:
    members = inspect.getmembers(client, inspect.isfunction)
    return {name: parameters(value) for name, value in members if not name.startswith("_")}


# Errors


def error_classes() -> list[type[BaseException]]:
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [value for value in found if value.__module__ == errors.__name__]


def test_the_tree_at_the_head_of_errors_is_the_tree_of_its_classes():
    parents: dict[str, str] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([ │├└─]*)([A-Z]\w+Error)\b", line):
            depth = len(match[1])
            branch = [(d, name) for d, name in branch if d < depth]
            parents[match[2]] = branch[-1][1] if branch else ""
            branch.append((depth, match[2]))

    classes = error_classes()
    names = {value.__name__ for value in classes}
    actual = {
        value.__name__: next((b.__name__ for b in value.__bases__ if b.__name__ in names), "")
        for value in classes
    }
    assert parents == actual


def test_every_error_is_public():
    assert {value.__name__ for value in error_classes()} <= set(durableflow.__all__)


# Hooks


def hooks() -> dict[str, object]:
    marker = f"{hookspecs.PROJECT}_spec"
    return {name: value for name, value in vars(hookspecs).items() if hasattr(value, marker)}


@pytest.mark.parametrize("name", sorted(hooks()))
def test_a_hook_describes_each_of_its_arguments(name: str):
    hook = hooks()[name]
    docstring = inspect.getdoc(hook) or ""

    missing = [
        argument
        for argument in inspect.signature(hook).parameters
        if not re.search(rf"^ +{argument}: ", docstring, re.MULTILINE)
    ]
    assert docstring
    assert not missing


@pytest.mark.parametrize("name", sorted(hooks()))
def test_a_hook_is_named_by_the_grammar_of_verbs(name: str):
    assert re.match(
        r"(init|configure|register|resolve)_"
        r"|\w+_(opened|closed|started|stopping|finished|purged|versions)$",
        name,
    )


@pytest.mark.parametrize("name", sorted(hooks()))
def test_a_hook_has_a_test_of_its_own(name: str):
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))

    assert f"def test_hook_{name}" in tests


# The tables of the two state machines


def kinds(message: type[Message], oneof: str) -> list[str]:
    return [field.name for field in message.DESCRIPTOR.oneofs_by_name[oneof].fields]


def test_replay_handles_or_ignores_every_kind_of_history_event():
    events = set(kinds(pb.HistoryEvent, "eventType"))

    assert len(events) == 28
    assert set(handlers.HANDLERS) | handlers.IGNORED == events
    assert not set(handlers.HANDLERS) & handlers.IGNORED


@pytest.mark.parametrize("kind", kinds(pb.OrchestratorAction, "orchestratorActionType"))
def test_the_engine_carries_out_or_refuses_every_kind_of_action(kind: str):
    now = 1_700_000_000_000_000
    instance = Instance(
        key=1,
        instance_id="a1",
        execution_id="e1",
        name="order",
        version=None,
        input=None,
        created=now,
    )
    action = pb.OrchestratorAction(id=1)
    getattr(action, kind).SetInParent()
    if kind == "completeOrchestration":
        action.completeOrchestration.orchestrationStatus = pb.ORCHESTRATION_STATUS_COMPLETED
    events = new_events(instance, now)

    with_action = apply_turn(instance, events, pb.OrchestratorResponse(actions=[action]), now)
    without = apply_turn(instance, events, pb.OrchestratorResponse(), now)

    assert attrs.asdict(with_action, recurse=False) != attrs.asdict(without, recurse=False)


if __name__ == "__main__":
    (ROOT / "tests" / "public_surface.txt").write_text(
        "\n".join(surface()) + "\n", encoding="utf-8"
    )
