"""The diagnosis of code that no longer does what its history says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import Diverged, OrchestrationContext, Turn, when_all
from tests.unit.replay.histories import (
    Bench,
    completed,
    described,
    event,
    failure_of,
    resumed,
    scheduled,
    started,
    suspended,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)


def charges(ctx: OrchestrationContext) -> Any:
    yield ctx.call_activity("charge")
    yield ctx.call_activity("ship")


async def awaits_charges(ctx: OrchestrationContext) -> Any:
    await ctx.call_activity("charge")
    await ctx.call_activity("ship")


@pytest.mark.parametrize("function", [charges, awaits_charges])
def test_a_renamed_call_is_told_with_both_names_the_position_and_the_line(
    bench: Bench, function: Callable[..., Any]
):
    past = turns([started(), scheduled(1, "charge")], [completed(1), scheduled(2, "refund")])

    reason = bench.diverge(function, past, completed(2), version="2")

    # The second call was made when the turn of event 5 brought the first result.
    line = f"{__file__}:{function.__code__.co_firstlineno + 2}"
    assert reason == (
        f"Orchestrator '{function.__name__}' version '2', instance 'a1': history event 7 "
        f"scheduled activity 'refund', but the code now calls activity 'ship' ({line}). "
        "The call was probably renamed or replaced. Restore the old code, or register the "
        "changed code as a new version and leave version '2' as it was."
    )


def test_a_call_of_another_kind_is_told_as_reordered(bench: Bench):
    reason = bench.diverge(charges, turns([started(), timer_created(1)]), timer_fired(1))

    assert "event 3 created a timer, but the code now calls activity 'charge'" in reason
    assert "added, removed or put in another order" in reason
    assert "leave the function without a version as it was" in reason


def test_a_timer_in_the_place_of_a_call_is_told(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.create_timer(5)

    reason = bench.diverge(order, turns([started(), scheduled(1, "charge")]))

    assert "event 3 scheduled activity 'charge', but the code now creates a timer (" in reason


def test_what_does_not_fit_is_told_when_it_was_held_by_a_suspension_too(bench: Bench):
    past = turns([started(), scheduled(1, "charge")])

    assert "completed activity call 9" in bench.diverge(
        charges, past, suspended(), completed(9), resumed()
    )


def test_a_missing_call_is_told_with_where_the_code_waits(bench: Bench):
    past = turns([started(), scheduled(1, "charge"), scheduled(2, "ship")])

    reason = bench.diverge(charges, past, completed(2))

    line = charges.__code__.co_firstlineno + 1
    assert "event 4 scheduled activity 'ship', but the code now waits for activity 'charge' (" in (
        reason
    )
    assert f"test_determinism.py:{line})" in reason
    assert "A call was probably removed" in reason
    assert "read such things in an activity" in reason


def test_code_that_ends_too_early_is_told(bench: Bench):
    past = turns(
        [started(), scheduled(1, "charge")],
        [completed(1), scheduled(2, "ship")],
        [completed(2), scheduled(3, "mail")],
    )

    assert "event 11 scheduled activity 'mail', but the code now finishes before that" in (
        bench.diverge(charges, past, completed(3))
    )


def test_code_that_ends_where_the_history_went_on_waiting_is_told(bench: Bench):
    past = turns([started(), scheduled(1, "charge")], [completed(1), scheduled(2, "ship")])
    more = turns([completed(2)], [event_raised()])

    reason = bench.diverge(charges, [*past, *more])

    assert "begins the next turn, but the code now finishes before that" in reason


def event_raised() -> pb.HistoryEvent:
    made = event()
    made.eventRaised.name = "go"
    return made


def test_an_added_call_is_told(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield when_all([ctx.call_activity("charge"), ctx.call_activity("log")])

    reason = bench.diverge(order, turns([started(), scheduled(1, "charge")]), completed(1))

    assert "event 5 begins the next turn, but the code now calls activity 'log'" in reason
    assert "A call was probably added" in reason


def test_a_result_for_a_call_never_made_is_told(bench: Bench):
    past = turns([started(), scheduled(1, "charge")])

    assert "completed activity call 9, but the code now waits for activity 'charge'" in (
        bench.diverge(charges, past, completed(9))
    )


def test_an_answer_of_another_kind_is_told(bench: Bench):
    past = turns([started(), scheduled(1, "charge")])

    assert "fired timer 1, but the code now calls activity 'charge'" in (
        bench.diverge(charges, past, timer_fired(1))
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("subOrchestrationInstanceCreated", "started sub-orchestration ''"),
        ("eventSent", "sent event '' to instance ''"),
        ("entityOperationCalled", "is entityOperationCalled 1"),
        ("entityLockRequested", "is entityLockRequested 1"),
    ],
)
def test_what_the_context_cannot_have_asked_for_is_told(bench: Bench, kind: str, words: str):
    recorded = event(1)
    getattr(recorded, kind).SetInParent()

    reason = bench.diverge(charges, turns([started(), recorded]))

    assert f"event 3 {words}, but the code now calls activity 'charge'" in reason


def test_an_event_of_an_unknown_kind_asks_for_an_upgrade(bench: Bench):
    reason = bench.diverge(charges, turns([started(), event()]))

    assert "history event 3 is of a kind (not set)" in reason
    assert "Upgrade durableflow" in reason


def test_a_history_without_a_start_is_told(bench: Bench):
    reason = bench.diverge(charges, turns([scheduled(1, "charge")]))

    assert "scheduled activity 'charge', but the code has not started" in reason


def test_divergence_in_a_live_session_counts_positions_of_the_history(bench: Bench):
    session = bench.session(charges)
    session.turn([], [turn_started(), started()])

    # orchestratorStarted, executionStarted, taskScheduled, orchestratorCompleted come before.
    diverged = session.turn([], [turn_started(), completed(9)])

    assert isinstance(diverged, Diverged)
    assert "history event 6 completed activity call 9" in diverged.reason


def test_the_orchestration_fails_instead_where_that_is_wanted(bench: Bench):
    session = bench.session(charges, fail=True)
    past = turns([started(), scheduled(1, "refund")])

    turn = session.turn(past, [turn_started(), completed(1)])

    assert isinstance(turn, Turn)
    assert turn.finished
    assert len(turn.actions) == 1
    assert failure_of(turn).errorType == "durableflow.errors.NonDeterminismError"
    assert "scheduled activity 'refund'" in failure_of(turn).errorMessage


def test_changed_inputs_and_delays_are_no_divergence(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity("charge", input="new")
        yield ctx.create_timer(99)

    past = turns([started(), scheduled(1, "charge", "old")], [completed(1), timer_created(2, 5)])

    assert described(bench.run(order, timer_fired(2), past=past)) == ["completed"]


def test_a_rewound_history_asks_again_for_what_was_cut_out(bench: Bench):
    rewound = event()
    rewound.executionRewound.SetInParent()
    past = turns([started()], [], [rewound])

    assert described(bench.run(charges, past=past)) == ["1 charge()"]
