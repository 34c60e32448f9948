"""Many calls of one activity, not too many at a time."""

from __future__ import annotations

from typing import Any

import pytest

from durableflow import RetryPolicy, TaskFailedError
from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import Orchestration, OrchestrationContext, Turn, when_any
from tests.unit.replay.histories import (
    Bench,
    completed,
    described,
    failed,
    failure_of,
    result_of,
    scheduled,
    started,
    timer_fired,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import Order, Receipt, charge, hello, ping


def two_at_a_time(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    return (yield from ctx.map(hello, ["a", "b", "c", "d"], limit=2))


async def two_at_a_time_awaited(ctx: OrchestrationContext) -> list[str]:
    return await ctx.map(hello, ["a", "b", "c", "d"], limit=2)


def live(bench: Bench, function: Any, *answers: list[pb.HistoryEvent]) -> list[list[str]]:
    session = bench.session(function)
    made = []
    for second, events in enumerate([[started()], *answers]):
        turn = session.turn([], [turn_started(second), *events])
        assert isinstance(turn, Turn), turn.reason
        made.append(described(turn))
    return made


@pytest.mark.parametrize("function", [two_at_a_time, two_at_a_time_awaited])
def test_a_call_is_made_when_one_ends_and_results_keep_the_order(bench: Bench, function: Any):
    assert live(
        bench,
        function,
        [completed(2, "B")],
        [completed(3, "C"), completed(1, "A")],
        [completed(4, "D")],
    ) == [
        ['1 hello("a")', '2 hello("b")'],
        ['3 hello("c")'],
        ['4 hello("d")'],
        ['completed ["A","B","C","D"]'],
    ]


def test_a_replay_makes_the_same_calls(bench: Bench):
    past = turns(
        [started(), scheduled(1, "hello"), scheduled(2, "hello")],
        [completed(2, "B"), scheduled(3, "hello")],
        [completed(3, "C"), completed(1, "A"), scheduled(4, "hello")],
    )

    assert result_of(bench.run(two_at_a_time, completed(4, "D"), past=past)) == list("ABCD")


@pytest.mark.parametrize("limit", [None, 9])
def test_all_calls_are_made_at_once_where_the_limit_allows_it(bench: Bench, limit: int | None):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        return (yield from ctx.map(hello, "abc", limit=limit))

    assert live(bench, order) == [['1 hello("a")', '2 hello("b")', '3 hello("c")']]


@pytest.mark.parametrize("limit", [None, 1])
def test_no_items_give_no_results_at_once(bench: Bench, limit: int | None):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        return (yield from ctx.map(hello, [], limit=limit))

    assert live(bench, order) == [["completed []"]]


def test_inputs_and_results_are_converted(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        receipts = yield from ctx.map(charge, [Order("pen", 1), Order("cup", 2)])
        return [type(receipt).__name__ for receipt in receipts]

    past = turns([started(), scheduled(1, "charge"), scheduled(2, "charge")])
    answers = [completed(1, {"number": 1}), completed(2, {"number": 2})]

    assert live(bench, order)[0][0] == '1 charge({"product":"pen","quantity":1})'
    assert result_of(bench.run(order, *answers, past=past)) == ["Receipt", "Receipt"]


def test_an_activity_of_another_program_is_called_by_its_name(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[int]:
        receipts = yield from ctx.map("print", [1], return_type=Receipt)
        return receipts[0].number

    past = turns([started(), scheduled(1, "print")])

    assert result_of(bench.run(order, completed(1, {"number": 5}), past=past)) == 5


def test_an_item_that_does_not_fit_is_named_and_nothing_is_called(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        return (yield ctx.map(hello, ["a", 5]))

    turn = bench.run(order, started())

    assert "item 1 for activity 'hello'" in failure_of(turn).errorMessage
    assert len(turn.actions) == 1


def test_items_for_an_activity_without_an_input_are_refused(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        return (yield ctx.map(ping, [1]))  # type: ignore[call-overload] # the mistake

    assert "Activity 'ping' takes no input" in failure_of(bench.run(order, started())).errorMessage


def test_items_are_taken_once_and_now(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        names = ["a", "b"]
        task = ctx.map(hello, (name for name in names), limit=1)
        names.append("c")
        names[1] = "z"
        return (yield from task)

    assert live(bench, order, [completed(1, "A")], [completed(2, "B")]) == [
        ['1 hello("a")'],
        ['2 hello("b")'],
        ['completed ["A","B"]'],
    ]


def test_it_fails_with_the_first_failure_and_calls_no_more(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        try:
            yield ctx.map(hello, "abcd", limit=2)
        except TaskFailedError as error:
            yield ctx.create_timer(5)
            return "\n".join([str(error), *error.__notes__])
        return ""

    made = live(bench, order, [failed(2)], [completed(1, "A"), failed(1)], [timer_fired(3)])

    assert made[1:3] == [["3 timer 6"], []]
    assert "failed: builtins.ValueError: boom" in made[3][0]
    assert "This was item 1 of 4, counted from 0." in made[3][0]


def test_each_call_is_retried_by_itself(bench: Bench):
    policy = RetryPolicy(first_retry_interval=1, max_number_of_attempts=2)

    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        return (yield from ctx.map(hello, "ab", limit=1, retry_policy=policy))

    assert live(
        bench,
        order,
        [failed(1)],
        [timer_fired(2)],
        [completed(1, "A")],
        [completed(3, "B")],
    ) == [
        ['1 hello("a")'],
        ["2 timer 2"],
        ['1 hello("a")'],
        ['3 hello("b")'],
        ['completed ["A","B"]'],
    ]


def test_the_policy_of_the_registration_is_used_where_the_call_has_none(bench: Bench):
    policy = RetryPolicy(first_retry_interval=1, max_number_of_attempts=2)

    def retried(number: int) -> None: ...

    bench.registry.add_activity(retried, retry_policy=policy)

    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        return (yield ctx.map(retried, [1]))

    assert live(bench, order, [failed(1)])[1] == ["2 timer 2"]


def test_it_can_race_with_a_timer(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        mapped, timer = ctx.map(hello, "ab", limit=1), ctx.create_timer(9)
        winner = yield when_any(mapped, timer)
        return "timer" if winner is timer else "mapped"

    assert live(bench, order, [timer_fired(2)])[1] == ['completed "timer"']
    assert live(bench, order, [completed(1)], [completed(3)])[2] == ['completed "mapped"']


def test_tags_travel_with_each_call(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        yield ctx.map(hello, "ab", tags={"team": "a"})

    turn = bench.run(order, started())

    assert [dict(action.scheduleTask.tags) for action in turn.actions] == [{"team": "a"}] * 2


def test_another_limit_is_another_history(bench: Bench):
    past = turns([started(), scheduled(1, "hello")])

    reason = bench.diverge(two_at_a_time, past, completed(1, "A"))

    assert "the code now calls activity 'hello'" in reason
    assert "A call was probably added" in reason
