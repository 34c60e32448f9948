"""Timers, external events, and instances that are suspended or terminated."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from durableflow import TaskCancelledError
from durableflow.replay import Orchestration, OrchestrationContext
from tests.unit.replay.histories import (
    START,
    Bench,
    completed,
    described,
    failure_of,
    raised,
    result_of,
    resumed,
    scheduled,
    started,
    suspended,
    terminated,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import (
    Order,
    chain,
    ping,
)

# Timers and time


@pytest.mark.parametrize(
    ("when", "seconds"),
    [(timedelta(minutes=1), 60), (1.5, 1.5), (-3, -3), (START + timedelta(seconds=9), 9)],
)
def test_a_timer_takes_a_time_a_duration_or_seconds(bench: Bench, when: Any, seconds: float):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.create_timer(when)
        return "fired"

    session = bench.session(order)

    assert described(session.turn([], [turn_started(), started()])) == [f"1 timer {seconds:g}"]
    assert result_of(session.turn([], [turn_started(), timer_fired(1)])) == "fired"


def test_a_time_without_a_zone_is_refused(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.create_timer(datetime(2030, 1, 1))  # noqa: DTZ001 -- the mistake

    assert "no time zone" in failure_of(bench.run(order, started())).errorMessage


def test_a_time_that_no_calendar_holds_is_refused(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.create_timer(timedelta.max)

    assert "after the year 9999" in failure_of(bench.run(order, started())).errorMessage


def test_the_time_is_the_beginning_of_the_turn(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[datetime]]:
        times = [ctx.current_utc_datetime]
        yield ctx.call_activity(ping)
        return [*times, ctx.current_utc_datetime]

    past = turns([started(), scheduled(1, "ping")])

    assert result_of(bench.run(order, completed(1), past=past, at=90.5)) == [
        "2030-01-01T00:00:00+00:00",
        "2030-01-01T00:01:30.500000+00:00",
    ]


def test_a_cancelled_timer_raises_where_it_is_waited_for_and_its_firing_is_ignored(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
        timer = ctx.create_timer(10)
        cancelled = [timer.cancel(), timer.cancel(), timer.is_failed]
        try:
            yield timer
        except TaskCancelledError:
            cancelled.append("caught")
        yield ctx.call_activity(ping)
        return cancelled

    past = turns([started(), timer_created(1), scheduled(2, "ping")])

    turn = bench.run(order, timer_fired(1), completed(2), past=past)

    assert result_of(turn) == [True, False, True, "caught"]


# External events


def test_events_are_kept_in_their_order_whatever_the_case_of_their_names(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[int]]:
        yield ctx.call_activity(ping)
        first = yield ctx.wait_for_external_event("straße")
        second = yield ctx.wait_for_external_event("STRASSE")
        return [first, second]

    new = [started(), raised("Strasse", 1), raised("STRASSE", 2)]
    past = turns([*new, scheduled(1, "ping")])

    assert result_of(bench.run(order, completed(1), past=past)) == [1, 2]


def test_the_longest_wait_gets_the_first_event(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[int]]:
        first, second = (ctx.wait_for_external_event("go") for _ in range(2))
        return [(yield first), (yield second)]

    assert result_of(bench.run(order, started(), raised("go", 1), raised("go", 2))) == [1, 2]


def test_a_cancelled_wait_gets_no_event(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[int]:
        first, second = (ctx.wait_for_external_event("go") for _ in range(2))
        first.cancel()
        return (yield second)

    assert result_of(bench.run(order, started(), raised("go", 1))) == 1


def test_event_data_is_converted(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        order = yield from ctx.wait_for_external_event("order", data_type=Order)
        return order.product

    turn = bench.run(order, started(), raised("order", {"product": "pen", "quantity": 1}))
    wrong = bench.run(order, started(), raised("order", {"product": "pen"}))

    assert result_of(turn) == "pen"
    assert "data of event 'order'" in failure_of(wrong).errorMessage


def test_event_data_without_a_type_answers_by_attributes(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        approval = yield ctx.wait_for_external_event("approval")
        return approval.approver

    assert result_of(bench.run(order, started(), raised("approval", {"approver": "me"}))) == "me"


def waits_a_minute(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        return (yield ctx.wait_for_external_event("go", timeout=timedelta(minutes=1)))
    except TimeoutError as error:
        return str(error)


def test_a_wait_with_a_timeout_gives_up_by_a_durable_timer(bench: Bench):
    session = bench.session(waits_a_minute)

    first = session.turn([], [turn_started(), started()])
    last = session.turn([], [turn_started(60), timer_fired(1)])

    assert described(first) == ["1 timer 60"]
    assert result_of(last) == "No event 'go' arrived within 0:01:00."


def test_an_event_after_the_timeout_is_not_lost(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[int]:
        try:
            yield ctx.wait_for_external_event("go", timeout=60)
        except TimeoutError:
            return (yield ctx.wait_for_external_event("go"))
        raise AssertionError

    past = turns([started(), timer_created(1)])

    assert result_of(bench.run(order, timer_fired(1), raised("go", 5), past=past)) == 5


def test_a_timeout_after_the_event_is_ignored(bench: Bench):
    past = turns([started(), timer_created(1)])

    assert result_of(bench.run(waits_a_minute, raised("go", "x"), timer_fired(1), past=past)) == "x"


def test_no_timer_is_set_for_an_event_that_is_there(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.call_activity(ping)
        return (yield ctx.wait_for_external_event("go", timeout=60))

    past = turns([started(), raised("go", "x"), scheduled(1, "ping")])

    assert described(bench.run(order, completed(1), past=past)) == ['completed "x"']


# Suspend, resume, terminate


def test_what_arrives_while_suspended_is_held_until_the_resume(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
        seen = [(yield ctx.wait_for_external_event("go")), (yield ctx.call_activity(ping))]
        return [*seen, ctx.current_utc_datetime.second]

    session = bench.session(order)

    session.turn([], [turn_started(), started()])
    held = session.turn([], [turn_started(1), suspended(), raised("go", 1)])
    turn = session.turn([], [turn_started(2), resumed()])

    assert described(held) == []
    assert described(turn) == ["1 ping()"]


def test_a_resume_in_one_batch_lets_the_held_events_through_in_order(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[int]]:
        first = yield ctx.wait_for_external_event("go")
        return [first, (yield ctx.wait_for_external_event("go"))]

    session = bench.session(order)

    session.turn([], [turn_started(), started()])
    new = [turn_started(1), suspended(), raised("go", 1), raised("go", 2), resumed()]

    assert result_of(session.turn([], new)) == [1, 2]


def test_confirmations_recorded_after_a_suspension_count(bench: Bench):
    past = turns([started(), suspended(), scheduled(1, "hello", "Ann")])

    assert described(bench.run(chain, completed(1, "A"), past=past)) == []
    assert described(bench.run(chain, completed(1, "A"), resumed(), past=past)) == [
        '2 hello("Bob")'
    ]


def test_termination_ends_with_the_output_as_it_stands(bench: Bench):
    past = turns([started(), scheduled(1, "hello", "Ann")])

    turn = bench.run(chain, terminated("{not json"), completed(1, "A"), past=past)

    assert described(turn) == ["terminated {not json"]
    assert turn.finished


def test_what_was_asked_for_in_the_last_turn_is_asked_for(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        ctx.call_activity(ping)
        return "done"
        yield

    assert described(bench.run(order, started())) == ["1 ping()", 'completed "done"']
