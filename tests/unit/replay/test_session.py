"""Sessions between their turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durableflow.replay import Orchestration, OrchestrationContext, when_all
from tests.unit.replay.histories import (
    Bench,
    completed,
    described,
    failed,
    result_of,
    scheduled,
    started,
    terminated,
    timer_fired,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import (
    both_styles,
    chain,
    hello,
    persistent,
    ping,
)


def test_the_position_counts_what_the_history_will_hold(bench: Bench):
    session = bench.session(chain)
    past = turns([started(), scheduled(1, "hello", "Ann")])

    session.turn(past, [turn_started(), completed(1, "A")])
    after_a_call = session.position
    session.turn([], [turn_started(), completed(2, "B")])

    # Past and new events, a confirmation of the call, orchestratorCompleted.
    assert after_a_call == len(past) + 2 + 1 + 1
    # The end is confirmed by executionCompleted.
    assert session.position == after_a_call + 2 + 1 + 1


def test_a_session_that_waits_for_an_activity_is_not_idle(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(ping)
        yield ctx.create_timer(5)
        yield ctx.wait_for_external_event("go")

    session = bench.session(order)
    idle = []
    for event in (started(), completed(1), timer_fired(2)):
        session.turn([], [turn_started(), event])
        idle.append(session.idle_only)

    assert idle == [False, True, True]


def test_the_size_of_a_session_grows_with_its_payloads(bench: Bench):
    session = bench.session(chain)

    session.turn([], [turn_started(), started()])
    before = session.history_bytes
    session.turn([], [turn_started(), completed(1, "x" * 10_000)])

    assert session.history_bytes > before + 10_000


@both_styles
def test_an_answer_that_comes_twice_counts_once(bench: Bench, function: Callable[..., Any]):
    session = bench.session(function)

    session.turn([], [turn_started(), started()])
    first = session.turn([], [turn_started(), completed(1, "A"), completed(1, "A")])
    second = session.turn([], [turn_started(), completed(1, "A")])

    assert described(first) == ['2 hello("Bob")']
    assert described(second) == []


def test_a_failure_or_a_start_that_comes_twice_counts_once(bench: Bench):
    session = bench.session(persistent)

    first = session.turn([], [turn_started(), started(), started()])
    second = session.turn([], [turn_started(), failed(1), failed(1)])

    assert described(first) == ['1 hello("Ann")']
    assert described(second) == ["2 timer 2"]


def test_a_termination_after_the_end_changes_nothing(bench: Bench):
    def order(ctx: OrchestrationContext) -> str:
        return "done"

    assert described(bench.run(order, started(), terminated())) == ['completed "done"']


def test_a_long_replay_that_never_waits_is_not_mistaken_for_a_loop(bench: Bench):
    count = 12_000

    past = turns([started(), *(scheduled(i + 1, "hello") for i in range(count))])
    new = [completed(i + 1, "x") for i in range(count)]

    def texts(ctx: OrchestrationContext) -> Orchestration[int]:
        tasks = [ctx.call_activity(hello, input="x") for _ in range(count)]
        yield when_all(tasks)
        total = 0
        for task in tasks:
            total += len((yield task))
        return total

    assert result_of(bench.run(texts, *new, past=past)) == count


def test_a_terminal_turn_has_the_completion_last(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        ctx.create_timer(5)
        raise ValueError

    actions = bench.run(order, started()).actions

    assert [a.WhichOneof("orchestratorActionType") for a in actions] == [
        "createTimer",
        "completeOrchestration",
    ]
    assert actions[-1].id == 2
