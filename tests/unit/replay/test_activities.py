"""Calling activities: inputs, results and failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durableflow import ConversionError, TaskFailedError
from durableflow.replay import Orchestration, OrchestrationContext, when_all
from tests.unit.replay.histories import (
    Bench,
    completed,
    described,
    failed,
    failure_of,
    result_of,
    scheduled,
    started,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import (
    Order,
    Receipt,
    awaiting_chain,
    both_styles,
    chain,
    charge,
    hello,
    ping,
)


@both_styles
def test_a_chain_asks_for_one_activity_after_the_other(bench: Bench, function: Callable[..., Any]):
    session = bench.session(function)

    first = session.turn([], [turn_started(), started()])
    second = session.turn([], [turn_started(), completed(1, "A")])
    third = session.turn([], [turn_started(), completed(2, "B")])

    assert described(first) == ['1 hello("Ann")']
    assert described(second) == ['2 hello("Bob")']
    assert described(third) == ['completed ["A","B"]']
    assert [first.finished, second.finished, third.finished] == [False, False, True]


@both_styles
def test_a_replay_asks_only_for_what_the_history_lacks(bench: Bench, function: Callable[..., Any]):
    past = turns([started(), scheduled(1, "hello", "Ann")])

    turn = bench.run(function, completed(1, "A"), past=past)

    assert described(turn) == ['2 hello("Bob")']


def test_inputs_and_results_are_converted_by_their_declared_types(bench: Bench):
    def order(ctx: OrchestrationContext, order: Order) -> Orchestration[Receipt]:
        receipt = yield from ctx.call_activity(charge, input=order)
        assert isinstance(receipt, Receipt)
        return receipt

    session = bench.session(order)

    first = session.turn([], [turn_started(), started(input={"product": "pen", "quantity": 2})])
    last = session.turn([], [turn_started(), completed(1, {"number": 7})])

    assert described(first) == ['1 charge({"product":"pen","quantity":2})']
    assert described(last) == ['completed {"number":7}']


def test_a_name_with_a_return_type_converts_the_result(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        receipt = yield ctx.call_activity("elsewhere", input=[1], return_type=Receipt)
        return type(receipt).__name__

    session = bench.session(order)

    assert described(session.turn([], [turn_started(), started()])) == ["1 elsewhere([1])"]
    assert result_of(session.turn([], [turn_started(), completed(1, {"number": 1})])) == "Receipt"


def test_version_and_tags_travel_with_the_call(bench: Bench):
    bench.registry.add_activity(charge, name="bill", version="2")
    bench.registry.add_activity(lambda: None, name="tagged", version="3")

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        definition = bench.registry.find_activity("tagged", "3")
        assert definition is not None
        yield ctx.call_activity(definition.function, tags={"team": "a"})

    action = bench.run(order, started()).actions[0].scheduleTask

    assert action.version.value == "3"
    assert dict(action.tags) == {"team": "a"}


def test_none_is_an_absent_payload_and_falsy_values_are_not(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        nothing = yield ctx.call_activity("a")
        empty = yield ctx.call_activity("b", input="")
        return None if (nothing, empty) == (None, 0) else "wrong"

    session = bench.session(order)
    first = session.turn([], [turn_started(), started()])
    second = session.turn([], [turn_started(), completed(1)])
    last = session.turn([], [turn_started(), completed(2, 0)])

    assert not first.actions[0].scheduleTask.HasField("input")
    assert second.actions[0].scheduleTask.input.value == '""'
    assert not last.actions[0].completeOrchestration.HasField("result")


def test_a_failed_activity_raises_with_its_details_and_can_be_caught(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        try:
            yield ctx.call_activity(ping)
        except TaskFailedError as error:
            return f"{error} / {error.details.error_type}"
        return "no failure"

    past = turns([started(), scheduled(1, "ping")])

    assert result_of(bench.run(order, failed(1, "no money"), past=past)) == (
        "Activity 'ping' failed: builtins.ValueError: no money / builtins.ValueError"
    )


@both_styles
def test_a_failure_that_nobody_catches_ends_the_orchestration_with_its_causes(
    bench: Bench, function: Callable[..., Any]
):
    past = turns([started(), scheduled(1, "hello", "Ann")])

    failure = failure_of(bench.run(function, failed(1, "no money"), past=past))

    assert failure.errorType == "durableflow.errors.TaskFailedError"
    assert failure.innerFailure.errorType == "builtins.ValueError"
    assert failure.innerFailure.errorMessage == "no money"


def test_the_stack_trace_of_a_failure_shows_the_users_lines_only(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(ping)
        raise LookupError("no such pen")

    past = turns([started(), scheduled(1, "ping")])
    failure = failure_of(bench.run(order, completed(1), past=past))

    assert failure.errorType == "builtins.LookupError"
    assert 'raise LookupError("no such pen")' in failure.stackTrace.value
    assert "executor.py" not in failure.stackTrace.value


def test_an_interrupt_of_the_program_is_not_taken_for_a_failure(bench: Bench):
    def at_once(ctx: OrchestrationContext) -> Any:
        raise KeyboardInterrupt

    def later(ctx: OrchestrationContext) -> Any:
        yield when_all([])
        raise KeyboardInterrupt

    for function in (at_once, later):
        with pytest.raises(KeyboardInterrupt):
            bench.run(function, started())


def test_leaving_the_program_ends_only_the_orchestration(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        raise SystemExit(3)

    assert failure_of(bench.run(order, started())).errorType == "builtins.SystemExit"


def test_a_result_that_does_not_fit_its_type_is_raised_where_it_is_waited_for(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(hello, input="Ann")

    past = turns([started(), scheduled(1, "hello", "Ann")])
    failure = failure_of(bench.run(order, completed(1, 5), past=past))

    assert failure.errorType == "durableflow.errors.ConversionError"
    assert "result of activity 'hello'" in failure.errorMessage


def test_an_output_that_does_not_fit_its_type_fails_with_its_path(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[Order]]:
        return [Order("pen", "many")]  # type: ignore[arg-type] # the mistake
        yield

    failure = failure_of(bench.run(order, started()))

    assert "output of orchestrator 'order'" in failure.errorMessage
    assert "quantity" in failure.errorMessage


def test_an_orchestration_input_that_does_not_fit_fails_with_its_path(bench: Bench):
    def order(ctx: OrchestrationContext, order: Order) -> None:
        raise AssertionError

    failure = failure_of(bench.run(order, started(input={"product": "pen"})))

    assert "input of orchestrator 'order'" in failure.errorMessage
    assert "quantity" in failure.errorMessage


def test_an_absent_input_becomes_the_default(bench: Bench):
    def order(ctx: OrchestrationContext, quantity: int = 3) -> int:
        return quantity

    assert result_of(bench.run(order, started())) == 3


def test_an_absent_input_without_a_default_fails(bench: Bench):
    def order(ctx: OrchestrationContext, order: Order) -> None:
        raise AssertionError

    assert "needs an input (Order)" in failure_of(bench.run(order, started())).errorMessage


def test_a_plain_function_may_return_a_generator_or_a_coroutine(bench: Bench):
    def wrapped(ctx: OrchestrationContext) -> Any:
        return chain(ctx)

    def wrapped_coroutine(ctx: OrchestrationContext) -> Any:
        return awaiting_chain(ctx)

    assert described(bench.run(wrapped, started())) == ['1 hello("Ann")']
    assert described(bench.run(wrapped_coroutine, started())) == ['1 hello("Ann")']


class Moody:
    """A class of the user's that cannot be made from what arrives."""

    @classmethod
    def from_json(cls, value: Any) -> Moody:
        raise RuntimeError("not today")

    def to_json(self) -> Any:
        return None


def test_a_result_that_the_users_own_class_refuses_names_both(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        try:
            yield ctx.call_activity("mood", return_type=Moody)
        except ConversionError as error:
            return str(error)
        return ""

    past = turns([started(), scheduled(1, "mood")])

    assert result_of(bench.run(order, completed(1, 5), past=past)) == (
        "Cannot convert result of activity 'mood': Moody.from_json raised RuntimeError."
    )


def test_an_activity_in_other_versions_only_may_live_elsewhere(bench: Bench):
    bench.registry.add_activity(ping, name="ring", version="2")

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity("ring")

    assert described(bench.run(order, started())) == ["1 ring()"]
