"""Retry policies: monotone, capped, the same at every replay."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durableflow.errors import UsageError
from durableflow.protocol.failures import FailureDetails
from durableflow.retry import RetryPolicy

durations = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=1000))
policies = st.builds(
    RetryPolicy,
    first_retry_interval=durations,
    max_number_of_attempts=st.integers(1, 10_000),
    backoff_coefficient=st.floats(1, 1e6),
    max_retry_interval=st.none() | durations,
    retry_timeout=st.none() | durations,
)
jittered = st.builds(
    RetryPolicy,
    first_retry_interval=durations,
    max_number_of_attempts=st.just(99),
    backoff_coefficient=st.floats(1, 1e6),
    max_retry_interval=st.none() | durations,
    jitter=st.floats(0, 1),
)


def delays(policy: RetryPolicy, attempts: int) -> list[timedelta | None]:
    return [
        policy.next_delay(attempt=attempt, elapsed=timedelta(0))
        for attempt in range(1, attempts + 1)
    ]


def test_waits_equally_long_without_a_coefficient():
    policy = RetryPolicy(first_retry_interval=timedelta(seconds=2), max_number_of_attempts=4)

    assert delays(policy, 4) == [timedelta(seconds=2)] * 3 + [None]


def test_waits_grow_by_the_coefficient_up_to_the_longest_interval():
    policy = RetryPolicy(
        first_retry_interval=1,
        max_number_of_attempts=9,
        backoff_coefficient=2,
        max_retry_interval=5,
    )

    assert delays(policy, 4) == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 5)]


def test_a_single_attempt_is_never_repeated():
    policy = RetryPolicy(first_retry_interval=1, max_number_of_attempts=1)

    assert policy.next_delay(attempt=1, elapsed=timedelta(0)) is None


def test_gives_up_once_the_timeout_has_passed_in_history_time():
    policy = RetryPolicy(first_retry_interval=1, max_number_of_attempts=100, retry_timeout=10)

    assert policy.next_delay(attempt=3, elapsed=timedelta(seconds=9.9)) == timedelta(seconds=1)
    assert policy.next_delay(attempt=3, elapsed=timedelta(seconds=10)) is None


def test_backoff_that_overflows_is_a_long_wait_and_no_error():
    policy = RetryPolicy(
        first_retry_interval=1, max_number_of_attempts=100_000, backoff_coefficient=10
    )

    assert policy.next_delay(attempt=99_999, elapsed=timedelta(0)) == timedelta(days=3650)


def test_retries_at_once_stay_at_once_however_often():
    policy = RetryPolicy(
        first_retry_interval=0, max_number_of_attempts=100_000, backoff_coefficient=10
    )

    assert policy.next_delay(attempt=99_999, elapsed=timedelta(0)) == timedelta(0)


async def asks_later(failure: FailureDetails) -> bool:
    return True


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_retry_interval", -1),
        ("first_retry_interval", "1s"),
        ("first_retry_interval", True),
        ("first_retry_interval", None),
        ("first_retry_interval", float("nan")),
        ("first_retry_interval", float("inf")),
        ("max_number_of_attempts", 0),
        ("max_number_of_attempts", 2.5),
        ("max_number_of_attempts", True),
        ("backoff_coefficient", 0.5),
        ("backoff_coefficient", float("nan")),
        ("backoff_coefficient", "2"),
        ("max_retry_interval", timedelta(seconds=-1)),
        ("retry_timeout", -5),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", float("nan")),
        ("jitter", True),
        ("jitter", "much"),
        ("retry_on", ()),
        ("retry_on", 5),
        ("retry_on", ""),
        ("retry_on", int),
        ("retry_on", [ValueError, 5]),
        ("retry_on", asks_later),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value):
    arguments = {"first_retry_interval": 1, "max_number_of_attempts": 3, field: value}

    with pytest.raises(UsageError, match=field):
        RetryPolicy(**arguments)


class AsksLater:
    async def __call__(self, failure: FailureDetails) -> bool:
        return True


def yields_answers(failure: FailureDetails) -> Any:
    yield True


@pytest.mark.parametrize(
    ("retry_on", "words"),
    [
        (BaseException, "retry_on=<class 'BaseException'>.*BaseException is no subclass of Exc"),
        (KeyboardInterrupt, "KeyboardInterrupt is no subclass of Exception: .*Give Exception"),
        ([ValueError, GeneratorExit], "GeneratorExit is no subclass .*without retry_on every"),
        (object, "<class 'object'>.*give an exception class or its name"),
        (ValueError("no"), "is one exception, not a class of them. Give ValueError"),
        ([OSError, ValueError("no")], "is one exception, not a class of them. Give ValueError"),
        ("  ", "give an exception class or its name"),
        (AsksLater(), "plain function"),
        (yields_answers, "plain function"),
    ],
)
def test_what_cannot_be_tried_again_is_refused_with_the_reason(retry_on: Any, words: str):
    with pytest.raises(UsageError, match=words):
        policy_for(retry_on)


@pytest.mark.parametrize(
    "retry_on",
    [OSError, [OSError, "a.B"], {OSError}, (OSError,), "SystemExit", lambda failure: True, any],
)
def test_types_their_names_and_functions_are_taken(retry_on: Any):
    assert policy_for(retry_on).retry_on is not None


@given(policies, st.integers(1, 10_000), st.integers(1, 10_000))
def test_waits_never_shrink_from_attempt_to_attempt(policy, one, other):
    earlier = policy.next_delay(attempt=min(one, other), elapsed=timedelta(0))
    later = policy.next_delay(attempt=max(one, other), elapsed=timedelta(0))

    assert later is None or (earlier is not None and earlier <= later)


@given(policies, st.integers(1, 20_000), durations)
def test_waits_are_capped_and_no_attempt_is_beyond_the_limits(policy, attempt, elapsed):
    delay = policy.next_delay(attempt=attempt, elapsed=elapsed)

    if delay is not None:
        assert attempt < policy.max_number_of_attempts
        assert policy.retry_timeout is None or elapsed < policy.retry_timeout
        assert policy.max_retry_interval is None or delay <= policy.max_retry_interval
        assert timedelta(0) <= delay <= timedelta(days=3650)


@given(policies, st.integers(1, 20_000), durations)
def test_the_same_question_has_the_same_answer(policy, attempt, elapsed):
    answers = {policy.next_delay(attempt=attempt, elapsed=elapsed) for _ in range(3)}

    assert len(answers) == 1


# Jitter


@given(jittered, st.integers(1, 98), st.text())
def test_jitter_shortens_by_no_more_than_its_part(policy, attempt, seed):
    full = attrs.evolve(policy, jitter=0).next_delay(attempt=attempt, elapsed=timedelta(0))
    delay = policy.next_delay(attempt=attempt, elapsed=timedelta(0), seed=seed)

    assert full * (1 - policy.jitter) - timedelta(microseconds=1) <= delay <= full


def test_jitter_depends_on_the_call_and_the_attempt_and_on_nothing_else():
    policy = RetryPolicy(first_retry_interval=100, max_number_of_attempts=99, jitter=1)

    def delays_of(seed: str) -> list[timedelta | None]:
        return [
            policy.next_delay(attempt=attempt, elapsed=timedelta(0), seed=seed)
            for attempt in range(1, 9)
        ]

    assert delays_of("a") == delays_of("a")
    assert len({*delays_of("a"), *delays_of("b")}) == 16


def test_jitter_spreads_waits_evenly():
    policy = RetryPolicy(first_retry_interval=1, max_number_of_attempts=9, jitter=1)

    waits = sorted(
        policy.next_delay(attempt=1, elapsed=timedelta(0), seed=str(n)).total_seconds()
        for n in range(1000)
    )

    assert all(abs(wait - n / 1000) < 0.06 for n, wait in enumerate(waits))


# What is tried again


def failure(error_type: str, **details: Any) -> FailureDetails:
    return FailureDetails(error_type, "", **details)


def policy_for(retry_on: Any) -> RetryPolicy:
    return RetryPolicy(first_retry_interval=1, max_number_of_attempts=9, retry_on=retry_on)


@pytest.mark.parametrize(
    "retry_on",
    [
        None,
        ConnectionError,
        OSError,
        Exception,
        "ConnectionResetError",
        [ValueError, "builtins.ConnectionResetError"],
        {ConnectionError},
        lambda failure: failure.is_caused_by(OSError),
    ],
    ids=["any", "type", "base", "root", "name", "list", "set", "predicate"],
)
def test_failures_that_match_are_tried_again(retry_on):
    assert policy_for(retry_on).allows(failure("builtins.ConnectionResetError"))


@pytest.mark.parametrize(
    "retry_on",
    [
        ValueError,
        "OSError",
        (KeyError, "java.io.IOException"),
        lambda failure: failure.properties.get("code") == 503,
        lambda failure: None,
    ],
    ids=["type", "name", "several", "predicate", "predicate that says nothing"],
)
def test_other_failures_are_not_tried_again(retry_on):
    assert not policy_for(retry_on).allows(failure("builtins.ConnectionResetError"))


def test_the_cause_of_a_failure_does_not_count():
    wrapped = failure("shop.ShopError", inner=failure("builtins.ConnectionResetError"))

    assert not policy_for(ConnectionError).allows(wrapped)


@pytest.mark.parametrize(
    "retry_on", [None, OSError, lambda failure: True], ids=["any", "type", "predicate"]
)
def test_what_is_not_retriable_is_never_tried_again(retry_on):
    assert not policy_for(retry_on).allows(failure("builtins.OSError", is_non_retriable=True))
