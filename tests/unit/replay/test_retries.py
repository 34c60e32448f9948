"""Calls that are tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durableflow import RetryPolicy, TaskFailedError
from durableflow.replay import Orchestration, OrchestrationContext, when_all
from tests.unit.replay.histories import (
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
