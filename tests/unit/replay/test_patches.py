"""Changing code under running instances: ``ctx.patched`` answers alike in every replay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.patches import PATCHED, make_timers
from durableflow.replay import Diverged, Orchestration, OrchestrationContext, Turn, when_all
from tests.unit.replay.histories import (
    Bench,
    child_created,
    completed,
    described,
    event_sent,
    raised,
    result_of,
    scheduled,
    started,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)

Code = Callable[[OrchestrationContext], Any]


def activity(name: str) -> str:
    return name


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for name in ("old", "new", "then"):
        bench.registry.add_activity(activity, name=name)
    return bench


def marker(number: int, change_id: str = "change") -> pb.HistoryEvent:
    return event_sent(number, "a1", PATCHED + change_id)


def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    """The code in the middle of a change."""
    first = yield ctx.call_activity("new" if ctx.patched("change") else "old")
    second = yield ctx.call_activity("then")
    return [first, second]


def changed(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    """The code when the change is over."""
    first = yield ctx.call_activity("new")
    second = yield ctx.call_activity("then")
    return [first, second]


def replayed(bench: Bench, code: Code, past: list[pb.HistoryEvent], *new: pb.HistoryEvent) -> Turn:
    turn = bench.session(code).turn(past, [turn_started(9), *new])
    assert isinstance(turn, Turn), turn
    return turn


OLD = turns([started(), scheduled(1, "old")], [completed(1, "o"), scheduled(2, "then")])
NEW = turns(
    [started(), marker(1), scheduled(2, "new")],
    [completed(2, "n"), scheduled(3, "then")],
)


def test_what_begins_now_takes_the_new_code_and_records_it(bench: Bench):
    turn = replayed(bench, order, [], started())

    assert described(turn) == [f"1 to a1: {PATCHED}change()", "2 new()"]


def test_what_went_past_the_place_before_keeps_to_the_old_code(bench: Bench):
    assert result_of(replayed(bench, order, OLD, completed(2, "t"))) == ["o", "t"]


def test_what_took_the_new_code_takes_it_in_each_replay(bench: Bench):
    assert result_of(replayed(bench, order, NEW, completed(3, "t"))) == ["n", "t"]


@pytest.mark.parametrize("turn_count", [1, 2])
def test_a_session_and_a_replay_ask_for_the_same(bench: Bench, turn_count: int):
    batches = [[turn_started(), started()], [turn_started(1), completed(2, "n")]]
    session = bench.session(order)
    lived = [session.turn([], batch) for batch in batches][turn_count - 1]

    cut = {1: 0, 2: len(turns([started(), marker(1), scheduled(2, "new")]))}[turn_count]
    again = bench.session(order).turn(NEW[:cut], batches[turn_count - 1])

    assert isinstance(lived, Turn)
    assert isinstance(again, Turn)
    assert described(lived) == described(again)


def test_the_question_can_be_deleted_while_histories_record_it(bench: Bench):
    assert result_of(replayed(bench, changed, NEW, completed(3, "t"))) == ["n", "t"]


def test_deleted_too_early_what_runs_on_the_old_code_diverges(bench: Bench):
    turn = bench.session(changed).turn(OLD, [turn_started(9), completed(2, "t")])

    assert isinstance(turn, Diverged)
    assert "scheduled activity 'old'" in turn.reason


def test_a_place_that_is_reached_only_now_takes_the_new_code(bench: Bench):
    def late(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.call_activity("then")
        return (yield ctx.call_activity("new" if ctx.patched("change") else "old"))

    past = turns([started(), scheduled(1, "then")])

    assert described(replayed(bench, late, past, completed(1))) == [
        f"2 to a1: {PATCHED}change()",
        "3 new()",
    ]


def test_the_first_answer_holds_for_the_whole_execution(bench: Bench):
    def twice(ctx: OrchestrationContext) -> Orchestration[list[bool]]:
        first = ctx.patched("change")
        yield ctx.call_activity("then")
        return [first, ctx.patched("change")]

    old = turns([started(), scheduled(1, "then")])
    new = turns([started(), marker(1), scheduled(2, "then")])

    assert result_of(replayed(bench, twice, old, completed(1))) == [False, False]
    assert result_of(replayed(bench, twice, new, completed(2))) == [True, True]


def test_a_new_place_before_one_that_was_recorded_follows_the_history(bench: Bench):
    def twice(ctx: OrchestrationContext) -> Orchestration[list[bool]]:
        first = ctx.patched("change")
        yield ctx.call_activity("then")
        second = ctx.patched("change")
        yield ctx.call_activity("then")
        return [first, second]

    past = turns([started(), scheduled(1, "then")], [completed(1), marker(2), scheduled(3, "then")])

    assert result_of(replayed(bench, twice, past, completed(3))) == [False, True]


def test_changes_are_independent_of_one_another(bench: Bench):
    def two(ctx: OrchestrationContext) -> Orchestration[list[bool]]:
        yield ctx.call_activity("then")
        return [ctx.patched("later"), ctx.patched("change")]

    past = turns([started(), marker(1), scheduled(2, "then")])

    turn = replayed(bench, two, past, completed(2))
    assert described(turn)[0] == f"3 to a1: {PATCHED}later()"
    assert result_of(turn) == [True, True]


def test_numbers_after_a_marker_are_those_of_the_history(bench: Bench):
    def several(ctx: OrchestrationContext) -> Orchestration[str]:
        before = ctx.call_activity("then")
        ctx.patched("change")
        timer = ctx.create_timer(5)
        child = ctx.call_sub_orchestrator("child")
        yield when_all([before, timer])
        return "done" if not child.is_complete else "early"

    first = replayed(bench, several, [], started())
    assert [action.id for action in first.actions] == [1, 2, 3, 4]

    confirmed = [scheduled(1, "then"), marker(2), timer_created(3), child_created(4, "child")]
    past = turns([started(), *confirmed])
    again = replayed(bench, several, past, completed(1), timer_fired(3))
    assert result_of(again) == "done"


def test_an_engine_that_delivers_the_marker_changes_nothing(bench: Bench):
    def waits(ctx: OrchestrationContext) -> Orchestration[Any]:
        ctx.patched("change")
        return (yield ctx.wait_for_external_event(f"{PATCHED}change"))

    turn = replayed(bench, waits, turns([started(), marker(1)]), raised(f"{PATCHED}change", 1))

    assert described(turn) == []


@pytest.mark.parametrize("change_id", ["", None, 7])
def test_a_change_needs_a_name(bench: Bench, change_id: Any):
    def unnamed(ctx: OrchestrationContext) -> bool:
        return ctx.patched(change_id)

    turn = replayed(bench, unnamed, [], started())

    assert "change_id" in turn.actions[-1].completeOrchestration.failureDetails.errorMessage


# Where the engine has no events between instances


def marker_timer(number: int, change_id: str = "change") -> pb.HistoryEvent:
    """The same marker as such an engine's history has it."""
    response = pb.OrchestratorResponse()
    sent = response.actions.add(id=number).sendEvent
    sent.name = PATCHED + change_id
    make_timers(response)
    created = pb.HistoryEvent(eventId=number)
    created.timerCreated.fireAt.CopyFrom(response.actions[0].createTimer.fireAt)
    return created


def test_only_markers_become_timers():
    response = pb.OrchestratorResponse()
    response.actions.add(id=1).sendEvent.name = "hello"
    response.actions.add(id=2).scheduleTask.name = "charge"
    before = response.SerializeToString()

    make_timers(response)

    assert response.SerializeToString() == before


@pytest.mark.parametrize("code", [order, changed])
def test_a_marker_that_is_a_timer_replays_alike(bench: Bench, code: Code):
    past = turns(
        [started(), marker_timer(1), scheduled(2, "new")],
        [timer_fired(1)],
        [completed(2, "n"), scheduled(3, "then")],
    )

    assert result_of(replayed(bench, code, past, completed(3, "t"))) == ["n", "t"]


def test_its_firing_in_the_session_that_made_it_means_nothing(bench: Bench):
    session = bench.session(order)
    session.turn([], [turn_started(), started()])

    turn = session.turn([], [turn_started(1), timer_fired(1)])

    assert isinstance(turn, Turn)
    assert described(turn) == []


def test_changes_that_are_timers_are_told_apart(bench: Bench):
    def two(ctx: OrchestrationContext) -> Orchestration[list[bool]]:
        both = [ctx.patched("change"), ctx.patched("other")]
        yield ctx.call_activity("then")
        return both

    past = turns([started(), marker_timer(1), scheduled(2, "then")])

    assert result_of(replayed(bench, two, past, completed(2))) == [True, False]


def test_no_other_timer_is_taken_for_a_marker(bench: Bench):
    def early(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.create_timer(datetime(1985, 1, 1, tzinfo=UTC))
        return "fired"

    (action,) = replayed(bench, early, [], started()).actions
    created = pb.HistoryEvent(eventId=1)
    created.timerCreated.fireAt.CopyFrom(action.createTimer.fireAt)

    past = turns([started(), created])
    assert result_of(replayed(bench, early, past, timer_fired(1))) == "fired"
