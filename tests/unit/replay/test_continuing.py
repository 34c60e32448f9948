"""Continuing as new, and the events that are carried over."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durableflow import OrchestratorError
from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.metadata import LATER_EXECUTION
from durableflow.protocol.times import from_timestamp
from durableflow.replay import Orchestration, OrchestrationContext, when_all, when_any
from tests.unit.replay.histories import (
    START,
    Bench,
    child_created,
    completed,
    described,
    failed,
    failure_of,
    raised,
    resumed,
    scheduled,
    started,
    suspended,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import POLICY as RETRIES
from tests.unit.replay.orchestrators import Order


def generator(ctx: OrchestrationContext, count: int) -> Orchestration[str]:
    yield when_all([])
    ctx.continue_as_new(count + 1)
    return "means nothing"


async def coroutine(ctx: OrchestrationContext, count: int) -> str:
    await when_all([])
    ctx.continue_as_new(count + 1)
    return "means nothing"


def plain(ctx: OrchestrationContext, count: int) -> str:
    ctx.continue_as_new(count + 1)
    return "means nothing"


@pytest.mark.parametrize("function", [generator, coroutine, plain])
def test_the_execution_ends_with_the_input_of_the_next(bench: Bench, function: Callable[..., Any]):
    turn = bench.run(function, started(input=1))

    assert described(turn) == ["continued_as_new 2"]
    assert turn.finished


def test_what_was_asked_for_before_still_happens(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.call_activity("clean")
        ctx.send_event("b2", "done")
        ctx.set_custom_status("resting")
        ctx.continue_as_new()

    turn = bench.run(order, started())

    assert described(turn) == ["1 clean()", "2 to b2: done()", "continued_as_new"]
    assert turn.custom_status == '"resting"'


def test_another_version_can_be_chosen(bench: Bench):
    def order(ctx: OrchestrationContext, count: int) -> None:
        ctx.continue_as_new({"count": count}, new_version="2.0")

    complete = bench.run(order, started(input=1)).actions[-1].completeOrchestration

    assert (complete.result.value, complete.newVersion.value) == ('{"count":1}', "2.0")


@pytest.mark.parametrize("wrong", ["text", None, 1.5])
def test_an_input_that_the_next_execution_cannot_take_is_refused_at_the_call(
    bench: Bench, wrong: Any
):
    def order(ctx: OrchestrationContext, count: int) -> None:
        ctx.continue_as_new(wrong)

    turn = bench.run(order, started(input=1))

    assert failure_of(turn).errorType in (
        "durableflow.errors.ConversionError",
        "durableflow.errors.OrchestratorError",
    )


@pytest.mark.parametrize("version", [5, "\udce9"], ids=ascii)
def test_a_version_that_is_no_text_is_refused(bench: Bench, version: Any):
    def order(ctx: OrchestrationContext) -> None:
        ctx.continue_as_new(new_version=version)

    assert "new_version=" in failure_of(bench.run(order, started())).errorMessage


# After the call


def asks_again(use: Callable[[OrchestrationContext], Any]) -> Callable[..., Any]:
    def order(ctx: OrchestrationContext) -> None:
        ctx.continue_as_new()
        use(ctx)

    return order


@pytest.mark.parametrize(
    "use",
    [
        lambda ctx: ctx.call_activity("x"),
        lambda ctx: ctx.map("x", [1]),
        lambda ctx: ctx.call_sub_orchestrator("x"),
        lambda ctx: ctx.create_timer(1),
        lambda ctx: ctx.wait_for_external_event("x"),
        lambda ctx: ctx.send_event("b2", "x"),
        lambda ctx: ctx.continue_as_new(),
    ],
    ids=["activity", "map", "child", "timer", "event", "send", "again"],
)
def test_nothing_more_can_be_asked_for(bench: Bench, use: Callable[[Any], Any]):
    turn = bench.run(asks_again(use), started())

    line = asks_again.__code__.co_firstlineno + 2
    message = failure_of(turn).errorMessage
    assert f"continue_as_new was called ({__file__}:{line})" in message
    assert "Return from the orchestrator right after that call" in message
    assert len(turn.actions) == 1


def test_the_status_can_still_be_set_and_ids_be_made(bench: Bench):
    def use(ctx: OrchestrationContext) -> None:
        ctx.set_custom_status(ctx.new_uuid())

    turn = bench.run(asks_again(use), started())

    assert described(turn) == ["continued_as_new"]
    assert turn.custom_status is not None


def test_waiting_is_refused_in_generators(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        task = ctx.create_timer(5)
        ctx.continue_as_new()
        yield task

    assert "can neither ask for anything more nor wait" in (
        failure_of(bench.run(order, started())).errorMessage
    )


def test_waiting_is_refused_in_coroutines(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        task = ctx.create_timer(5)
        ctx.continue_as_new()
        await task

    assert "can neither ask for anything more nor wait" in (
        failure_of(bench.run(order, started())).errorMessage
    )


def test_code_may_clean_up_on_its_way_out(bench: Bench):
    seen: list[str] = []

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        try:
            yield when_all([])
            ctx.continue_as_new()
        finally:
            seen.append("closed")

    assert described(bench.run(order, started())) == ["continued_as_new"]
    assert seen == ["closed"]


def test_an_error_on_the_way_out_fails_the_instance(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.continue_as_new()
        raise ValueError("no")

    assert failure_of(bench.run(order, started())).errorMessage == "no"


def test_code_that_caught_the_refusal_goes_on_as_new(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.continue_as_new()
        with pytest.raises(OrchestratorError):
            ctx.call_activity("x")

    assert described(bench.run(order, started())) == ["continued_as_new"]


def test_code_that_catches_everything_and_waits_for_ever_fails(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        task = ctx.create_timer(5)
        ctx.continue_as_new()
        while True:
            with contextlib.suppress(OrchestratorError):
                yield task

    assert "yields in a loop" in failure_of(bench.run(order, started())).errorMessage


# Events


def rounds(ctx: OrchestrationContext) -> Orchestration[None]:
    """Take one job a round."""
    yield ctx.wait_for_external_event("job")
    ctx.continue_as_new()


def test_events_that_nobody_waited_for_are_carried_over_in_order(bench: Bench):
    turn = bench.run(
        rounds, started(), raised("b", 1), raised("Job", 2), raised("a"), raised("JOB", 4)
    )

    assert described(turn) == ["continued_as_new b(1) a() JOB(4)"]


def test_events_are_carried_over_as_they_came(bench: Bench):
    turn = bench.run(rounds, started(), raised("job"), raised("b", at=5), raised("c", "", at=6))

    first, second = turn.actions[-1].completeOrchestration.carryoverEvents
    assert first.eventId == -1
    assert from_timestamp(first.timestamp) == START + timedelta(seconds=5)
    assert not first.eventRaised.HasField("input")
    assert second.eventRaised.input.value == '""'


def test_events_are_dropped_if_the_code_says_so(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.continue_as_new(save_events=False)

    turn = bench.run(order, raised("a"), started(), raised("b"))

    assert described(turn) == ["continued_as_new"]


def test_events_that_come_with_the_last_answer_are_carried_over(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        stop = ctx.wait_for_external_event("stop")
        yield when_any(ctx.call_activity("work"), stop)
        ctx.continue_as_new()

    past = turns([started(), scheduled(1, "work")])

    assert described(bench.run(order, completed(1), raised("stop", 1), past=past)) == [
        "continued_as_new stop(1)"
    ]


def test_events_that_came_while_the_code_worked_are_carried_over(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.wait_for_external_event("stop")
        yield ctx.call_activity("work")
        ctx.continue_as_new()

    past = turns([started(), scheduled(1, "work")], [raised("stop", 1)])

    assert described(bench.run(order, completed(1), past=past)) == ["continued_as_new stop(1)"]


def test_events_that_lost_a_race_are_carried_over_and_the_winner_is_not(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        first, second = (ctx.wait_for_external_event(name) for name in ("a", "b"))
        yield ctx.call_activity("work")
        yield when_any(first, second)
        ctx.continue_as_new()

    past = turns([started(), scheduled(1, "work")], [raised("b", 2), raised("a", 1)])

    assert described(bench.run(order, completed(1), past=past)) == ["continued_as_new b(2)"]


def taken_by(look: Callable[[Any], Any]) -> Callable[..., Any]:
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        task = ctx.wait_for_external_event("a")
        yield ctx.call_activity("work")
        look(task)
        ctx.continue_as_new()

    return order


@pytest.mark.parametrize(
    "look",
    [
        lambda task: task.get_result(),
        lambda task: task.result,
        lambda task: task.is_complete,
        lambda task: when_all([task]),
        lambda task: when_any([task]),
    ],
    ids=["get_result", "result", "is_complete", "when_all", "when_any"],
)
def test_events_that_the_code_has_looked_at_are_not_carried_over(bench: Bench, look: Any):
    past = turns([started(), scheduled(1, "work")], [raised("a", 1)])

    assert described(bench.run(taken_by(look), completed(1), past=past)) == ["continued_as_new"]


def test_an_event_that_fits_no_type_is_taken_by_whoever_gets_the_error(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        task = ctx.wait_for_external_event("a", data_type=Order)
        yield ctx.call_activity("work")
        task.get_exception()
        ctx.continue_as_new()

    past = turns([started(), scheduled(1, "work")], [raised("a", 1)])

    assert described(bench.run(order, completed(1), past=past)) == ["continued_as_new"]


def test_events_for_waits_that_timed_out_or_were_cancelled_are_carried_over(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.wait_for_external_event("a", timeout=1)
        ctx.wait_for_external_event("b").cancel()
        yield ctx.call_activity("work")
        ctx.continue_as_new()

    past = turns(
        [started(), timer_created(1, 1), scheduled(2, "work")],
        [timer_fired(1), raised("a", 1), raised("b", 2)],
    )

    assert described(bench.run(order, completed(2), past=past)) == ["continued_as_new a(1) b(2)"]


def test_events_that_a_suspension_holds_are_carried_over(bench: Bench):
    past = turns([started()])
    events = [raised("job"), suspended(), raised("b", 1), raised("c", 2)]

    assert described(bench.run(rounds, *events, past=past)) == ["continued_as_new b(1) c(2)"]
    assert described(bench.run(rounds, *events, resumed(), past=past)) == [
        "continued_as_new b(1) c(2)"
    ]


def test_carried_events_reach_the_next_execution_first(bench: Bench):
    turn = bench.run(rounds, started(), raised("job", 1), raised("job", 2), raised("job", 3))
    carried = list(turn.actions[-1].completeOrchestration.carryoverEvents)

    again = bench.run(rounds, started(execution_id="e2"), *carried, raised("job", 4))

    assert described(turn) == ["continued_as_new job(2) job(3)"]
    assert described(again) == ["continued_as_new job(3) job(4)"]


# The end in the middle of a batch


def test_answers_that_come_after_the_end_lead_to_nothing(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.call_activity("shaky", retry_policy=RETRIES)
        ctx.map("work", [1, 2], limit=1)
        ctx.call_sub_orchestrator("pack")
        ctx.create_timer(1)
        yield ctx.wait_for_external_event("go")
        ctx.continue_as_new()

    past = turns(
        [
            started(),
            scheduled(1, "shaky"),
            scheduled(2, "work"),
            child_created(3, "pack"),
            timer_created(4, 1),
        ]
    )

    turn = bench.run(order, raised("go"), failed(1), completed(2), timer_fired(4), past=past)

    assert described(turn) == [f"continued_as_new {LATER_EXECUTION}()"]


def test_an_end_by_failure_leads_to_nothing_more_either(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.call_activity("shaky", retry_policy=RETRIES)
        yield ctx.wait_for_external_event("go")
        raise ValueError("no")

    past = turns([started(), scheduled(1, "shaky")])

    assert described(bench.run(order, raised("go"), failed(1), past=past)) == ["failed no"]


# Children of several executions


def test_an_execution_with_children_leaves_a_sign_of_them(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.call_sub_orchestrator("pack")
        ctx.continue_as_new(save_events=False)

    turn = bench.run(order, started())

    assert described(turn)[-1] == f"continued_as_new {LATER_EXECUTION}()"


def test_an_execution_passes_the_sign_on(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.continue_as_new()

    sign = bench.run(order, started(), raised(LATER_EXECUTION), raised("a", 1))

    assert described(sign) == [f"continued_as_new {LATER_EXECUTION}() a(1)"]


def test_children_with_ids_of_their_own_leave_no_sign(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.call_sub_orchestrator("pack", instance_id="parcel")
        ctx.continue_as_new()

    assert described(bench.run(order, started()))[-1] == "continued_as_new"


# Warnings


def test_forgotten_tasks_are_warned_about_here_too(bench: Bench, caplog: pytest.LogCaptureFixture):
    def order(ctx: OrchestrationContext) -> None:
        ctx.call_activity("work")
        ctx.continue_as_new()

    bench.run(order, started())

    record = caplog.records[-1]
    assert record.levelno == logging.WARNING
    assert "finished without waiting for: activity 'work'" in record.getMessage()


def test_a_session_that_is_closed_does_not_continue(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        try:
            yield ctx.create_timer(1)
        finally:
            ctx.continue_as_new()
            ctx.send_event("b2", "x")
            ctx.map("x", [1])
            ctx.call_sub_orchestrator("x")

    session = bench.session(order)
    session.turn([], [turn_started(), started()])

    session.close()


def test_a_replay_ends_where_the_session_did(bench: Bench):
    def order(ctx: OrchestrationContext, count: int) -> Orchestration[None]:
        yield ctx.call_activity("work")
        ctx.continue_as_new(count + 1)

    session = bench.session(order)
    session.turn([], [turn_started(0), started(input=1)])
    live = session.turn([], [turn_started(1), completed(1)])
    past = turns([started(input=1), scheduled(1, "work")])

    replayed = bench.run(order, completed(1), past=past, at=1)

    assert isinstance(live.actions[-1], pb.OrchestratorAction)
    assert live.actions == replayed.actions
