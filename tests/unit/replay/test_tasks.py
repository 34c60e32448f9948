"""Tasks made of tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from durableflow import TaskFailedError
from durableflow.replay import Orchestration, OrchestrationContext, when_all, when_any
from tests.unit.replay.histories import (
    Bench,
    completed,
    described,
    failed,
    raised,
    result_of,
    scheduled,
    started,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import (
    hello,
    ping,
)


def test_all_of_several_calls_are_asked_for_at_once(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        return (yield when_all([ctx.call_activity(hello, input=n) for n in "abc"]))

    session = bench.session(order)

    assert len(session.turn([], [turn_started(), started()]).actions) == 3
    assert described(session.turn([], [turn_started(), completed(3, "C"), completed(1, "A")])) == []
    assert result_of(session.turn([], [turn_started(), completed(2, "B")])) == ["A", "B", "C"]


def test_tasks_given_one_by_one_give_a_tuple(bench: Bench):
    async def order(ctx: OrchestrationContext) -> str:
        both = await when_all(ctx.call_activity(ping), ctx.call_activity(hello, input="Ann"))
        return repr(both)

    past = turns([started(), scheduled(1, "ping"), scheduled(2, "hello")])

    assert result_of(bench.run(order, completed(1), completed(2, "A"), past=past)) == "(None, 'A')"


@pytest.mark.parametrize("nothing", [(), [], iter(())], ids=["tuple", "list", "iterator"])
def test_all_of_nothing_is_complete_at_once(bench: Bench, nothing: Any):
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        return (yield when_all(nothing))

    assert result_of(bench.run(order, started())) == []


def test_all_of_nothing_can_be_awaited_and_yielded_from(bench: Bench):
    async def awaiting(ctx: OrchestrationContext) -> Any:
        return await when_all([])

    def yielding(ctx: OrchestrationContext) -> Orchestration[Any]:
        return (yield from when_all([]))

    assert result_of(bench.run(awaiting, started())) == []
    assert result_of(bench.run(yielding, started())) == []


def test_all_fails_with_the_first_failure_and_at_once(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        tasks = [ctx.call_activity(hello, input=n) for n in "abc"]
        try:
            yield when_all(tasks)
        except TaskFailedError as error:
            return error.details.message
        return "no failure"

    past = turns([started(), *(scheduled(i, "hello") for i in (1, 2, 3))])
    turn = bench.run(order, failed(2, "first"), failed(1, "second"), past=past)

    assert result_of(turn) == "first"


def test_any_gives_the_task_that_ended_first(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        event = ctx.wait_for_external_event("approval")
        timeout = ctx.create_timer(timedelta(hours=24))
        winner = yield when_any([event, timeout])
        return "canceled" if winner == timeout else event.get_result()

    past = turns([started(), timer_created(1)])

    assert result_of(bench.run(order, raised("approval", "me"), past=past)) == "me"
    assert result_of(bench.run(order, timer_fired(1), past=past)) == "canceled"


def test_any_prefers_the_first_given_of_those_that_have_ended(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        a, b = ctx.call_activity(hello, input="a"), ctx.call_activity(hello, input="b")
        yield when_all(a, b)
        winner = yield from when_any(b, a)
        return winner.get_result()

    past = turns([started(), scheduled(1, "hello"), scheduled(2, "hello")])

    assert result_of(bench.run(order, completed(1, "A"), completed(2, "B"), past=past)) == "B"


def test_a_failed_task_wins_without_raising(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
        winner = yield when_any([ctx.call_activity(ping)])
        return [winner.is_complete, winner.is_failed, str(winner.get_exception())]

    past = turns([started(), scheduled(1, "ping")])

    assert result_of(bench.run(order, failed(1), past=past)) == [
        True,
        True,
        "Activity 'ping' failed: builtins.ValueError: boom",
    ]


def test_a_task_can_be_part_of_several_composites(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
        task = ctx.call_activity("count")
        one, other = when_all([task]), when_any([task])
        yield task
        return [one.result, other.result is task, when_all([]).get_result()]

    past = turns([started(), scheduled(1, "count")])

    assert result_of(bench.run(order, completed(1, 5), past=past)) == [[5], True, []]


def test_asking_a_failed_task_for_its_result_raises(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        task = ctx.call_activity(ping)
        yield when_any([task])
        try:
            return task.result
        except TaskFailedError as error:
            return error.details.message

    past = turns([started(), scheduled(1, "ping")])

    assert result_of(bench.run(order, failed(1, "no"), past=past)) == "no"


def test_composites_nest(bench: Bench):
    async def order(ctx: OrchestrationContext) -> Any:
        pairs = [when_all(ctx.call_activity(ping), ctx.create_timer(5)) for _ in range(2)]
        winner = await when_any(pairs)
        return pairs.index(winner)

    past = turns(
        [
            started(),
            scheduled(1, "ping"),
            timer_created(2),
            scheduled(3, "ping"),
            timer_created(4),
        ]
    )
    turn = bench.run(order, completed(1), timer_fired(4), completed(3), past=past)

    assert result_of(turn) == 1
