from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.protocol.metadata import ATTEMPT
from durableflow.registry import Registry
from durableflow.worker.activity_runner import ActivityJob, ActivityRunner
from durableflow.worker.context import ActivityContext
from tests.unit.worker.hub import activity_item


@frozen
class Order:
    product: str
    quantity: int


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def ran(function: Any, *, input: str | None = None, version: str | None = None) -> ActivityJob:
    """Run a function as the activity 'work'."""
    registry = Registry()
    registry.add_activity(function, name="work")
    runner = ActivityRunner(
        registry=registry, converter=Converter(), app="the app", state="the state"
    )
    item = activity_item("work", input=input, version=version)
    item.activityRequest.tags["colour"] = "red"
    job = runner.job(item.activityRequest, "t1")
    assert job.definition is not None
    if job.definition.is_async:
        asyncio.run(runner.run_async(job))
    else:
        runner.run(job)
    return job


def error_of(job: ActivityJob) -> tuple[str, str]:
    assert job.failure is not None
    return job.failure.errorType, job.failure.errorMessage


def test_input_and_result_are_converted_by_their_declared_types() -> None:
    def double(ctx: ActivityContext, order: Order) -> Order:
        return Order(order.product, order.quantity * 2)

    job = ran(double, input='{"product":"pen","quantity":2}')

    assert job.result == '{"product":"pen","quantity":4}'
    assert job.failure is None


def test_an_async_activity_is_awaited() -> None:
    async def double(ctx: ActivityContext, number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    assert ran(double, input="21").result == "42"


@pytest.mark.parametrize("result", [0, "", False, []])
def test_a_falsy_result_is_a_result(result: Any) -> None:
    def work() -> Any:
        return result

    assert ran(work).result is not None


def test_none_is_an_absent_result() -> None:
    def work() -> None: ...

    job = ran(work)

    assert job.result is None
    assert not job.response().HasField("result")
    assert not job.response().HasField("failureDetails")


def test_the_context_tells_about_the_call() -> None:
    seen = []

    def work(ctx: ActivityContext) -> None:
        seen.append(ctx)

    ran(work, version="2")

    assert seen == [
        ActivityContext(
            orchestration_id="a1",
            execution_id="e1",
            task_id=1,
            name="work",
            version="2",
            tags={"colour": "red"},
            app="the app",
            state="the state",
        )
    ]


def test_an_absent_input_uses_the_default() -> None:
    def work(ctx: ActivityContext, number: int = 5) -> int:
        return number

    assert ran(work).result == "5"


def test_an_absent_input_that_is_required_fails_for_good() -> None:
    def work(ctx: ActivityContext, number: int) -> int:
        raise AssertionError("must not be called")

    job = ran(work)

    assert error_of(job)[0] == "durableflow.errors.ConversionError"
    assert "'work' was called without an input" in error_of(job)[1]
    assert job.failure is not None
    assert job.failure.isNonRetriable


def test_an_input_that_does_not_fit_fails_for_good_and_names_the_place() -> None:
    def work(ctx: ActivityContext, order: Order) -> None:
        raise AssertionError("must not be called")

    job = ran(work, input='{"product":"pen","quantity":"many"}')

    assert "input of activity 'work'" in error_of(job)[1]
    assert "quantity" in error_of(job)[1]
    assert job.failure is not None
    assert job.failure.isNonRetriable


def test_a_result_that_cannot_travel_fails_for_good() -> None:
    def work() -> float:
        return float("nan")

    job = ran(work)

    assert "result of activity 'work'" in error_of(job)[1]
    assert job.failure is not None
    assert job.failure.isNonRetriable


def test_a_coroutine_that_was_returned_fails_in_our_words_alone() -> None:
    """Warnings are errors here: Python would say that it was never awaited."""

    async def later() -> int:
        return 1

    error_type, message = error_of(ran(lambda: later()))

    assert error_type == "durableflow.errors.ConversionError"
    assert "coroutine has no JSON form; await it first" in message


def test_a_failure_carries_its_causes_and_may_be_retried() -> None:
    def work() -> None:
        try:
            {}["inner"]
        except KeyError as error:
            raise ValueError("outer") from error

    job = ran(work)

    assert error_of(job) == ("builtins.ValueError", "outer")
    assert job.failure is not None
    assert job.failure.innerFailure.errorType == "builtins.KeyError"
    assert "raise ValueError" in job.failure.stackTrace.value
    assert not job.failure.isNonRetriable


def test_an_exception_without_text_is_a_failure() -> None:
    def work() -> None:
        raise ValueError

    job = ran(work)

    assert error_of(job) == ("builtins.ValueError", "")
    assert job.response().HasField("failureDetails")


def test_an_exception_that_cannot_be_printed_is_a_failure() -> None:
    def work() -> None:
        raise UnprintableError

    assert error_of(ran(work))[0].endswith("UnprintableError")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_an_activity_that_wants_to_end_the_program_only_fails(error: BaseException) -> None:
    def work() -> None:
        raise error

    async def async_work() -> None:
        raise error

    assert error_of(ran(work))[0] == f"builtins.{type(error).__name__}"
    assert error_of(ran(async_work))[0] == f"builtins.{type(error).__name__}"


def test_an_async_activity_that_was_cancelled_failed() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    assert error_of(ran(work))[0] == "asyncio.exceptions.CancelledError"


def test_an_unregistered_activity_fails_for_good_and_names_what_there_is() -> None:
    def work() -> None: ...

    registry = Registry()
    registry.add_activity(work, name="charge")
    registry.add_activity(work, name="refund", version="2")
    runner = ActivityRunner(registry=registry, converter=Converter(), app=None, state=None)
    job = runner.job(activity_item("missing").activityRequest, "t1")
    assert job.definition is None

    runner.refuse(job)

    assert error_of(job)[0] == "durableflow.errors.NotRegisteredError"
    assert "no activity 'missing'; it has 'charge', 'refund'." in error_of(job)[1]
    assert job.failure is not None
    assert job.failure.isNonRetriable


def test_a_versioned_activity_wins_over_the_one_without_a_version() -> None:
    def plain() -> str:
        return "plain"

    def second() -> str:
        return "second"

    registry = Registry()
    registry.add_activity(plain, name="work")
    registry.add_activity(second, name="work", version="2")
    runner = ActivityRunner(registry=registry, converter=Converter(), app=None, state=None)

    results = []
    for version in ("2", "3", None):
        job = runner.job(activity_item("work", version=version).activityRequest, "t1")
        runner.run(job)
        results.append(job.result)

    assert results == ['"second"', '"plain"', '"plain"']


def context_of(item: pb.WorkItem) -> ActivityContext:
    """Run an activity that returns nothing, and return its context."""
    seen: list[ActivityContext] = []

    def work(ctx: ActivityContext) -> None:
        seen.append(ctx)

    registry = Registry()
    registry.add_activity(work)
    runner = ActivityRunner(registry=registry, converter=Converter(), app=None, state=None)
    runner.run(runner.job(item.activityRequest, "t1"))
    return seen[0]


def test_attempts_are_counted_and_share_an_idempotency_key() -> None:
    first, second = activity_item("work", task_id=7), activity_item("work", task_id=7)
    second.activityRequest.tags.update({ATTEMPT: "2", "colour": "red"})

    contexts = [context_of(first), context_of(second)]

    assert [context.attempt for context in contexts] == [1, 2]
    assert {context.idempotency_key for context in contexts} == {"a1:e1:7"}
    assert contexts[1].tags == {"colour": "red"}


def test_calls_of_two_executions_have_two_idempotency_keys() -> None:
    contexts = [context_of(activity_item("work", execution_id=of)) for of in ("e1", "e2")]

    assert len({context.idempotency_key for context in contexts}) == 2
