"""Sub-orchestrations."""

from __future__ import annotations

from typing import Any

import pytest

from durableflow import NotRegisteredError, RetryPolicy, TaskFailedError
from durableflow.protocol.metadata import LATER_EXECUTION
from durableflow.replay import Callees, Orchestration, OrchestrationContext, Session, when_all
from tests.unit.replay.histories import (
    Bench,
    child_completed,
    child_created,
    child_failed,
    completed,
    described,
    failure_of,
    raised,
    result_of,
    started,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import Order, Receipt

POLICY = RetryPolicy(first_retry_interval=2, max_number_of_attempts=2)


def ship(ctx: OrchestrationContext, order: Order) -> Orchestration[Receipt]:
    yield ctx.create_timer(1)
    return Receipt(order.quantity)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.registry.add_orchestrator(ship)
    return bench


def ships(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    receipt = yield from ctx.call_sub_orchestrator(ship, input=Order("pen", 3))
    return [type(receipt).__name__, receipt.number]


async def awaits_shipping(ctx: OrchestrationContext) -> list[Any]:
    receipt = await ctx.call_sub_orchestrator(ship, input=Order("pen", 3))
    return [type(receipt).__name__, receipt.number]


@pytest.mark.parametrize("function", [ships, awaits_shipping])
def test_a_child_gets_a_converted_input_and_its_result_comes_back_converted(
    bench: Bench, function: Any
):
    first = bench.run(function, started())
    past = turns([started(), child_created(1, "ship")])
    second = bench.run(function, child_completed(1, {"number": 3}), past=past)

    assert described(first) == ['1 a1:0001 = ship({"product":"pen","quantity":3})']
    assert result_of(second) == ["Receipt", 3]


def test_a_child_of_another_program_is_called_by_its_name(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        typed = ctx.call_sub_orchestrator("pack", input=[1], return_type=Receipt)
        untyped = ctx.call_sub_orchestrator("post")
        receipt, record = yield from when_all(typed, untyped)
        return [receipt.number, record.code]

    past = turns([started(), child_created(1, "pack"), child_created(2, "post")])

    assert described(bench.run(order, started())) == ["1 a1:0001 = pack([1])", "2 a1:0002 = post()"]
    answers = [child_completed(2, {"code": 7}), child_completed(1, {"number": 5})]
    assert result_of(bench.run(order, *answers, past=past)) == [5, 7]


def test_options_travel_with_the_child(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_sub_orchestrator(
            "pack", instance_id="parcel", version="2", tags={"team": "a"}
        )

    turn = bench.run(order, started())

    assert described(turn) == ["1 parcel = pack v2()"]
    assert dict(turn.actions[0].createSubOrchestration.tags) == {"team": "a"}


def test_a_function_stands_for_its_own_version_and_an_explicit_one_wins(bench: Bench):
    def pack(ctx: OrchestrationContext) -> None: ...

    bench.registry.add_orchestrator(pack, version="1.0")

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.call_sub_orchestrator(pack)
        yield ctx.call_sub_orchestrator(pack, version="3.0")

    assert described(bench.run(order, started())) == [
        "1 a1:0001 = pack v1.0()",
        "2 a1:0002 = pack v3.0()",
    ]


def test_a_child_without_a_version_gets_the_one_that_its_worker_chooses(bench: Bench):
    asked: list[Any] = []

    def choose(name: str, requested: str | None, parent: str | None) -> str | None:
        asked.append((name, requested, parent))
        return "7"

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_sub_orchestrator("pack")

    for version in ("1.0", None):
        session = Session(
            bench.registry.add_orchestrator(order, version=version),
            converter=bench.converter,
            callees=Callees(bench.registry, start_version=choose),
        )
        turn = session.turn([], [turn_started(), started(version=version)])
        assert described(turn) == ["1 a1:0001 = pack v7()"]

    assert asked == [("pack", None, "1.0"), ("pack", None, None)]


# Ids


def fires_and_forgets(ctx: OrchestrationContext) -> None:
    ctx.call_sub_orchestrator("pack")
    ctx.call_sub_orchestrator("pack")


def ids_of(bench: Bench, execution_id: str, *events: Any) -> list[str]:
    begin = started(execution_id=execution_id)
    turn = bench.run(fires_and_forgets, begin, *events)
    return [action.createSubOrchestration.instanceId for action in turn.actions[:-1]]


def test_children_of_a_later_execution_meet_none_of_an_earlier_one(bench: Bench):
    first = ids_of(bench, "e1")
    second, third = (ids_of(bench, e, raised(LATER_EXECUTION)) for e in ("e2", "e3"))

    assert first == ["a1:0001", "a1:0002"]
    assert len({*first, *second, *third}) == 6
    assert all(made.startswith("a1:") and made.endswith(":0001") for made in (second[0], third[0]))
    assert ids_of(bench, "e2", raised(LATER_EXECUTION)) == second


def test_an_engine_without_execution_ids_gets_plain_ids(bench: Bench):
    assert ids_of(bench, "", raised(LATER_EXECUTION)) == ["a1:0001", "a1:0002"]


def test_a_sign_of_an_earlier_execution_counts_in_the_first_turn_only(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.wait_for_external_event("go")
        yield ctx.call_sub_orchestrator("pack")

    turn = bench.run(order, raised(LATER_EXECUTION), raised("go"), past=turns([started()]))

    assert described(turn) == ["1 a1:0001 = pack()"]


def test_the_sign_of_an_earlier_execution_is_no_event_for_the_code(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.wait_for_external_event(LATER_EXECUTION)
        return "seen"

    turn = bench.run(order, started(), raised(LATER_EXECUTION))

    assert not turn.finished


# Failures and retries


def test_a_failed_child_raises_with_its_details(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        try:
            yield ctx.call_sub_orchestrator("Pack")
        except TaskFailedError as error:
            return [str(error), error.details.error_type]
        return []

    past = turns([started(), child_created(1, "Pack")])

    assert result_of(bench.run(order, child_failed(1), past=past)) == [
        "Sub-orchestration 'Pack' failed: builtins.ValueError: boom",
        "builtins.ValueError",
    ]


def retried(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        return (yield ctx.call_sub_orchestrator("pack", version="2", retry_policy=POLICY))
    except TaskFailedError as error:
        return str(error)


def test_a_retry_uses_number_id_and_version_again(bench: Bench):
    session = bench.session(retried)

    answers = [
        session.turn([], [turn_started(second), event])
        for second, event in [
            (0, started()),
            (1, child_failed(1)),
            (3, timer_fired(2)),
            (4, child_failed(1)),
        ]
    ]

    assert [described(answer) for answer in answers] == [
        ["1 a1:0001 = pack v2()"],
        ["2 timer 3"],
        ["1 a1:0001 = pack v2()"],
        [
            "completed \"Sub-orchestration 'pack' failed after 2 attempts: builtins.ValueError: boom\""
        ],
    ]


def test_a_retry_after_a_replay_keeps_the_id_and_version_of_the_history(bench: Bench):
    past = turns(
        [started(), child_created(1, "pack", "parcel", version="1")],
        [child_failed(1), timer_created(2, 3)],
    )

    assert described(bench.run(retried, timer_fired(2), past=past)) == ["1 parcel = pack v1()"]


def test_an_engine_that_records_neither_id_nor_version_changes_nothing(bench: Bench):
    created = child_created(1, "pack")
    created.subOrchestrationInstanceCreated.instanceId = ""
    past = turns([started(), created], [child_failed(1), timer_created(2, 3)])

    assert described(bench.run(retried, timer_fired(2), past=past)) == ["1 a1:0001 = pack v2()"]


# What does not fit


def test_another_child_in_its_place_is_told(bench: Bench):
    reason = bench.diverge(ships, turns([started(), child_created(1, "send")]))

    assert "started sub-orchestration 'send', but the code now starts sub-orchestration 'ship'" in (
        reason
    )
    assert "probably renamed" in reason


def test_an_activity_in_its_place_is_told(bench: Bench):
    reason = bench.diverge(ships, turns([started(), child_created(1, "ship")]), completed(1))

    assert "completed activity call 1, but the code now starts sub-orchestration 'ship'" in reason


@pytest.mark.parametrize("answer", [child_completed, child_failed])
def test_an_answer_to_a_child_never_started_is_told(bench: Bench, answer: Any):
    reason = bench.diverge(ships, turns([started(), child_created(1, "ship")]), answer(2))

    assert f"{answer.__name__.removeprefix('child_')} sub-orchestration 2, but the code" in reason


def test_an_answer_that_comes_twice_is_dropped(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_sub_orchestrator("pack")
        yield ctx.create_timer(5)

    past = turns([started(), child_created(1, "pack")])

    answers = [child_completed(1), child_completed(1), child_failed(1)]
    assert described(bench.run(order, *answers, past=past)) == ["2 timer 5"]


# Names that this app does not have


def test_a_function_that_is_no_orchestrator_is_told_how(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_sub_orchestrator(lambda ctx: None)

    assert failure_of(bench.run(order, started())).errorType == (
        "durableflow.errors.NotRegisteredError"
    )


def test_a_misspelt_name_is_refused_at_the_call(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        try:
            yield ctx.call_sub_orchestrator("Ship")
        except NotRegisteredError as error:
            return str(error)
        return ""

    assert result_of(bench.run(order, started())) == (
        "This app has no orchestrator 'Ship', but it has 'ship', which is probably meant. "
        "Correct the name."
    )


def test_an_unknown_name_is_refused_where_nobody_else_can_serve_the_hub(bench: Bench):
    lonely = Bench(private_hub="sqlite://")

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_sub_orchestrator("pack")

    assert "has no orchestrator 'pack', and nothing else can serve" in (
        failure_of(lonely.run(order, started())).errorMessage
    )


def test_a_name_that_the_history_knows_stands(bench: Bench):
    lonely = Bench(private_hub="sqlite://")

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_sub_orchestrator("pack")

    past = turns([started(), child_created(1, "pack")])

    assert described(lonely.run(order, child_completed(1), past=past)) == ["completed"]


def test_a_session_that_waits_for_children_only_is_idle(bench: Bench):
    session = bench.session(ships)
    session.turn([], [turn_started(), started()])

    assert session.idle_only
