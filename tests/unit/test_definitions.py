"""The options of activities: what is refused, when, and in which words."""

from __future__ import annotations

import functools
import sys
from datetime import timedelta
from typing import Any

import pytest

from durableflow.errors import RegistrationError
from durableflow.registry import Registry


def crunch(number: int) -> int:
    return number


async def crunch_async(number: int) -> int:
    return number


class Machine:
    def crunch(self, number: int) -> int:
        return number


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(number: int) -> int:
        return int(function(number))

    return wrapper


@wrapped
def decorated(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, None), (5, 5.0), (0.25, 0.25), (timedelta(minutes=1), 60.0)]
)
def test_a_timeout_is_given_in_seconds_or_as_a_timedelta(timeout: Any, seconds: Any):
    assert Registry().add_activity(crunch, timeout=timeout).timeout_seconds == seconds


@pytest.mark.parametrize(
    "timeout",
    [0, -1, timedelta(0), "5", True, float("inf"), float("nan"), 10**400],
    ids=lambda t: repr(t)[:9],
)
def test_a_timeout_that_is_none_is_refused(timeout: Any):
    with pytest.raises(RegistrationError, match=r"activity 'crunch' .*timeout=.*more than zero"):
        Registry().add_activity(crunch, timeout=timeout)


def test_an_unknown_executor_is_refused_with_those_that_there_are():
    executor: Any = "gpu"

    with pytest.raises(RegistrationError, match='executor=\'gpu\': give "thread" or "process"'):
        Registry().add_activity(crunch, executor=executor)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (crunch_async, "is for plain functions"),
        (Machine().crunch, "a bound method cannot run in other processes"),
    ],
)
def test_what_other_processes_cannot_call_is_refused(function: Any, reason: str):
    with pytest.raises(RegistrationError, match=reason):
        Registry().add_activity(function, executor="process")


def test_a_function_inside_of_another_is_refused():
    def inner(number: int) -> int:
        return number

    with pytest.raises(RegistrationError, match="define it at the top of a module"):
        Registry().add_activity(inner, executor="process")


def test_a_function_that_stands_under_its_name_may_run_in_processes():
    registry = Registry()
    registry.add_activity(crunch, executor="process")
    registry.add_activity(decorated, executor="process")

    registry.freeze()


def test_a_function_that_something_else_hides_is_refused_at_the_start():
    registry = Registry()
    registry.add_activity(wrapped(crunch), executor="process", name="wrapped")

    with pytest.raises(RegistrationError, match="is not this function"):
        registry.freeze()


def test_a_function_that_was_typed_at_a_prompt_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delattr(sys.modules[__name__], "__file__")
    registry = Registry()
    registry.add_activity(crunch, executor="process")

    with pytest.raises(RegistrationError, match="in a file"):
        registry.freeze()
