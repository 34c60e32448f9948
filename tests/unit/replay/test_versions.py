"""Which versions of activities and sub-orchestrations an orchestrator asks for."""

from __future__ import annotations

import pytest

from durableflow.replay import OrchestrationContext
from durableflow.versioning import Version
from tests.unit.replay.histories import Bench, started, turn_started


def charge(order: str) -> None: ...


def pack(ctx: OrchestrationContext) -> None: ...


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.registry.add_activity(charge, version="1.5")
    bench.registry.add_orchestrator(pack, version="1.5")
    return bench


def asked(bench: Bench, call: str, what: object, *, of: str | None, **options: object) -> str:
    """Return the version that an orchestration of a version asks for, "" for none."""

    def order(ctx: OrchestrationContext) -> None:
        getattr(ctx, call)(what, **options)

    order.__name__ = f"order {call} {what} {of} {options}"
    turn = bench.session(order).turn([], [turn_started(), started(version=of)])
    action = turn.actions[0]
    kind = action.WhichOneof("orchestratorActionType")
    assert kind in ("scheduleTask", "createSubOrchestration"), turn
    return getattr(action, kind).version.value


def test_an_activity_by_name_inherits_the_version_of_the_orchestration(bench: Bench):
    assert asked(bench, "call_activity", "elsewhere", of="2.0", input=1) == "2.0"
    assert asked(bench, "call_activity", "elsewhere", of=None, input=1) == ""


def test_an_activity_by_function_has_that_functions_version(bench: Bench):
    def refund(order: str) -> None: ...

    bench.registry.add_activity(refund)

    assert asked(bench, "call_activity", charge, of="2.0", input="a") == "1.5"
    assert asked(bench, "call_activity", refund, of="2.0", input="a") == ""


def test_an_explicit_version_of_an_activity_wins(bench: Bench):
    assert asked(bench, "call_activity", charge, of="2.0", input="a", version="3") == "3"
    assert asked(bench, "call_activity", "elsewhere", of="2.0", version="3") == "3"
    assert asked(bench, "call_activity", "elsewhere", of="2.0", version="") == ""


def test_each_call_of_a_map_has_the_version(bench: Bench):
    assert asked(bench, "map", "elsewhere", of="2.0", items=[1]) == "2.0"
    assert asked(bench, "map", charge, of="2.0", items=["a"], version="3") == "3"


def test_a_child_by_function_has_that_functions_version(bench: Bench):
    assert asked(bench, "call_sub_orchestrator", pack, of="2.0") == "1.5"
    assert asked(bench, "call_sub_orchestrator", pack, of="2.0", version="3") == "3"
    assert asked(bench, "call_sub_orchestrator", pack, of="2.0", version="") == ""


def test_a_child_by_name_does_not_inherit(bench: Bench):
    assert asked(bench, "call_sub_orchestrator", "elsewhere", of="2.0") == ""


@pytest.mark.parametrize("version", [2, "\ud800"], ids=["a number", "a broken text"])
def test_what_is_no_text_is_refused_as_a_version(bench: Bench, version: object):
    def order(ctx: OrchestrationContext) -> None:
        ctx.call_activity(charge, input="a", version=version)

    turn = bench.session(order).turn([], [turn_started(), started()])

    failure = turn.actions[0].completeOrchestration.failureDetails
    assert "version" in failure.errorMessage


def test_the_version_of_the_context_orders_as_versions_do(bench: Bench):
    found = []

    def order(ctx: OrchestrationContext) -> None:
        found.append(ctx.version)

    for version in ("10.0.0", None):
        bench.session(order).turn([], [turn_started(), started(version=version)])

    assert found == ["10.0.0", ""]
    assert found[0] > "9.0.0"
    assert not found[1] > "0"
    assert all(isinstance(version, Version) for version in found)
