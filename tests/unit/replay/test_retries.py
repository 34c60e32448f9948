"""Calls that are tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durableflow import RetryPolicy, TaskFailedError
from durableflow.replay import Orchestration, OrchestrationContext, when_all
from tests.unit.replay.histories import (
    START,
    Bench,
    completed,
    described,
    failed,
    result_of,
    scheduled,
    started,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import (
    POLICY,
    hello,
    persistent,
    ping,
)


def test_a_retry_waits_by_a_timer_and_uses_the_number_of_the_call_again(bench: Bench):
    session = bench.session(persistent)

    answers = [
        session.turn([], [turn_started(second), event])
        for second, event in [
            (0, started()),
            (1, failed(1)),
            (3, timer_fired(2)),
            (4, failed(1)),
            (8, timer_fired(3)),
            (9, completed(1, "at last")),
        ]
    ]

    assert [described(answer) for answer in answers] == [
        ['1 hello("Ann")'],
        ["2 timer 3"],
        ['1 hello("Ann")'],
        ["3 timer 8"],
        ['1 hello("Ann")'],
        ['completed "at last"'],
    ]


FIRST_FAILURE = [
    [started(), scheduled(1, "hello", "Ann")],
    [failed(1), timer_created(2, 3)],
]
TWO_FAILURES = [
    *FIRST_FAILURE,
    [timer_fired(2), scheduled(1, "hello", "Ann")],
    [failed(1), timer_created(3, 8)],
    [timer_fired(3), scheduled(1, "hello", "Ann")],
]


def test_the_policy_gives_up_after_its_attempts(bench: Bench):
    turn = bench.run(persistent, failed(1, "last"), past=turns(*TWO_FAILURES))

    assert "failed after 3 attempts: builtins.ValueError: last" in result_of(turn)


def test_a_failure_that_is_not_retriable_is_not_retried(bench: Bench):
    past = turns([started(), scheduled(1, "hello", "Ann")])

    turn = bench.run(persistent, failed(1, "hopeless", retriable=False), past=past)

    assert "hopeless" in result_of(turn)


def test_the_policy_of_the_registration_is_used_where_the_call_has_none(bench: Bench):
    bench.registry.add_activity(retried := lambda: None, name="retried", retry_policy=POLICY)

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(retried)

    past = turns([started(), scheduled(1, "retried")])

    assert described(bench.run(order, failed(1), past=past, at=5)) == ["2 timer 7"]


def test_a_retry_timeout_is_counted_in_the_time_of_the_history(bench: Bench):
    policy = RetryPolicy(
        first_retry_interval=1, max_number_of_attempts=9, retry_timeout=timedelta(seconds=10)
    )

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(ping, retry_policy=policy)

    past = turns([started(), scheduled(1, "ping")])

    assert described(bench.run(order, failed(1), past=past, at=9)) == ["2 timer 10"]
    assert bench.run(order, failed(1), past=past, at=10).finished


def patient(policy: RetryPolicy | None) -> Callable[..., Any]:
    """An orchestrator that reacts to a failure in the end by a timer of its own."""

    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        try:
            return (yield ctx.call_activity(hello, input="Ann", retry_policy=policy))
        except TaskFailedError:
            yield ctx.create_timer(60)
            yield ctx.call_activity(ping)
            return "gave up"

    return order


NEVER = None
ONCE = RetryPolicy(first_retry_interval=7, max_number_of_attempts=1)
OFTEN = RetryPolicy(first_retry_interval=7, max_number_of_attempts=99)
each_policy = pytest.mark.parametrize("policy", [NEVER, ONCE, POLICY, OFTEN])


@each_policy
def test_recorded_retries_are_followed_whatever_the_policy_says_today(
    bench: Bench, policy: RetryPolicy | None
):
    turn = bench.run(patient(policy), completed(1, "x"), past=turns(*TWO_FAILURES))

    assert described(turn) == ['completed "x"']


@each_policy
def test_a_recorded_retry_timer_is_followed_when_it_fires(bench: Bench, policy: RetryPolicy | None):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(hello, input="Ann", retry_policy=policy))

    turn = bench.run(order, timer_fired(2), past=turns(*FIRST_FAILURE))

    assert described(turn) == ['1 hello("Ann")']


@each_policy
def test_a_recorded_end_of_retries_is_followed_whatever_the_policy_says_today(
    bench: Bench, policy: RetryPolicy | None
):
    past = turns(
        [started(), scheduled(1, "hello", "Ann")],
        [failed(1), timer_created(2, 60)],
        [timer_fired(2), scheduled(3, "ping")],
    )

    assert described(bench.run(patient(policy), completed(3), past=past)) == ['completed "gave up"']


@pytest.mark.parametrize("policy", [NEVER, ONCE])
def test_retry_timers_of_many_calls_are_followed(bench: Bench, policy: RetryPolicy | None):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        calls = [ctx.call_activity(hello, input=n, retry_policy=policy) for n in "abc"]
        return (yield when_all(calls))

    past = turns(
        [started(), *(scheduled(i, "hello") for i in (1, 2, 3))],
        [failed(1), failed(2), failed(3), *(timer_created(i) for i in (4, 5, 6))],
    )

    turn = bench.run(order, timer_fired(5), past=past)

    assert described(turn) == ['2 hello("b")']


# Policies of the registration and of the call


def test_the_policy_of_a_call_wins_over_that_of_the_registration(bench: Bench):
    bench.registry.add_activity(retried := lambda: None, name="retried", retry_policy=POLICY)

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(retried, retry_policy=ONCE)

    past = turns([started(), scheduled(1, "retried")])

    assert bench.run(order, failed(1), past=past).finished


# What is tried again


def picky(retry_on: Any) -> Callable[..., Any]:
    policy = RetryPolicy(first_retry_interval=2, max_number_of_attempts=3, retry_on=retry_on)

    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        try:
            return (yield ctx.call_activity(hello, input="Ann", retry_policy=policy))
        except TaskFailedError as error:
            return "\n".join([str(error), *getattr(error, "__notes__", ())])

    return order


CALLED = [started(), scheduled(1, "hello", "Ann")]


@pytest.mark.parametrize(
    "retry_on", [ValueError, Exception, "builtins.ValueError", lambda f: f.message == "boom"]
)
def test_failures_that_the_policy_names_are_tried_again(bench: Bench, retry_on: Any):
    turn = bench.run(picky(retry_on), failed(1), past=turns(CALLED), at=1)

    assert described(turn) == ["2 timer 3"]


@pytest.mark.parametrize("retry_on", [KeyError, "a.B", lambda failure: False])
def test_other_failures_are_not_tried_again(bench: Bench, retry_on: Any):
    turn = bench.run(picky(retry_on), failed(1), past=turns(CALLED))

    assert result_of(turn) == "Activity 'hello' failed: builtins.ValueError: boom"


def test_a_predicate_that_raises_is_told_about_and_nothing_is_tried_again(bench: Bench):
    def broken(failure: Any) -> bool:
        raise ZeroDivisionError("oh")

    turn = bench.run(picky(broken), failed(1), past=turns(CALLED))

    assert result_of(turn).splitlines() == [
        "Activity 'hello' failed: builtins.ValueError: boom",
        "It is not tried again: `retry_on` raised builtins.ZeroDivisionError: oh",
    ]


def test_a_predicate_that_exits_does_not_end_the_worker(bench: Bench):
    turn = bench.run(picky(lambda failure: exit(1)), failed(1), past=turns(CALLED))

    assert "`retry_on` raised builtins.SystemExit" in result_of(turn)


def test_an_interrupt_of_the_program_in_a_predicate_is_passed_on(bench: Bench):
    def interrupted(failure: Any) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(picky(interrupted), failed(1), past=turns(CALLED))


def test_a_predicate_is_not_asked_where_the_history_shows_what_happened(bench: Bench):
    asked: list[Any] = []
    function = picky(lambda failure: asked.append(failure))

    turn = bench.run(function, completed(1, "x"), past=turns(*TWO_FAILURES))

    assert result_of(turn) == "x"
    assert asked == []


def test_a_predicate_is_not_asked_when_there_is_no_attempt_left(bench: Bench):
    asked: list[Any] = []
    policy = RetryPolicy(
        first_retry_interval=1, max_number_of_attempts=1, retry_on=lambda failure: asked.append(1)
    )

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(ping, retry_policy=policy)

    assert bench.run(order, failed(1), past=turns([started(), scheduled(1, "ping")])).finished
    assert asked == []


# Jitter


def test_jitter_differs_between_instances_calls_and_attempts_and_not_between_replays(bench: Bench):
    policy = RetryPolicy(first_retry_interval=1000, max_number_of_attempts=9, jitter=1)

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield when_all([ctx.call_activity(ping, retry_policy=policy) for _ in range(2)])

    def delays(instance_id: str, execution_id: str) -> list[str]:
        begin = started(instance_id=instance_id, execution_id=execution_id)
        past = turns([begin, scheduled(1, "ping"), scheduled(2, "ping")])
        first = bench.run(order, failed(1), failed(2), past=past)
        past += turns([failed(1), timer_created(3)], [timer_fired(3), scheduled(1, "ping")])
        second = bench.run(order, failed(1), past=past)
        return [text.partition("timer ")[2] for text in described(first) + described(second)]

    runs = [delays("a1", "e1"), delays("a1", "e2"), delays("b2", "e1")]

    assert delays("a1", "e1") == runs[0]
    assert len({delay for run in runs for delay in run}) == 9
    assert all(0 <= float(delay) <= 1000 for run in runs for delay in run)


def test_a_retry_beyond_the_calendar_waits_for_its_end(bench: Bench):
    policy = RetryPolicy(first_retry_interval=timedelta(days=3000), max_number_of_attempts=2)

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(ping, retry_policy=policy)

    past = turns([started(), scheduled(1, "ping")])
    almost = (datetime(9999, 6, 1, tzinfo=UTC) - START).total_seconds()

    turn = bench.run(order, failed(1), past=past, at=almost)

    assert turn.actions[0].createTimer.fireAt.ToDatetime().year == 9999
