"""Orchestrators between history and actions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import frozen

from durableflow import RetryPolicy, TaskCancelledError, TaskFailedError, Version
from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import Orchestration, OrchestrationContext, Turn, when_all, when_any
from tests.unit.replay.histories import (
    START,
    Bench,
    completed,
    described,
    failed,
    failure_of,
    raised,
    result_of,
    resumed,
    scheduled,
    started,
    suspended,
    terminated,
    timer_created,
    timer_fired,
    turn_started,
    turns,
)


@frozen
class Order:
    product: str
    quantity: int


@frozen
class Receipt:
    number: int


def charge(order: Order) -> Receipt:
    return Receipt(order.quantity)


def hello(name: str) -> str:
    return f"Hello {name}!"


def ping() -> None:
    """Do nothing."""


@pytest.fixture
def bench() -> Bench:
    return Bench(charge, hello, ping)


# Calling activities


def chain(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    first = yield ctx.call_activity(hello, input="Ann")
    second = yield from ctx.call_activity(hello, input="Bob")
    return [first, second]


async def awaiting_chain(ctx: OrchestrationContext) -> list[str]:
    return [
        await ctx.call_activity(hello, input="Ann"),
        await ctx.call_activity(hello, input="Bob"),
    ]


both_styles = pytest.mark.parametrize("function", [chain, awaiting_chain])


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


# when_all and when_any


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


# Timers and time


@pytest.mark.parametrize(
    ("when", "seconds"),
    [(timedelta(minutes=1), 60), (1.5, 1.5), (-3, -3), (START + timedelta(seconds=9), 9)],
)
def test_a_timer_takes_a_time_a_duration_or_seconds(bench: Bench, when: Any, seconds: float):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.create_timer(when)
        return "fired"

    session = bench.session(order)

    assert described(session.turn([], [turn_started(), started()])) == [f"1 timer {seconds:g}"]
    assert result_of(session.turn([], [turn_started(), timer_fired(1)])) == "fired"


def test_a_time_without_a_zone_is_refused(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.create_timer(datetime(2030, 1, 1))  # noqa: DTZ001 -- the mistake

    assert "no time zone" in failure_of(bench.run(order, started())).errorMessage


def test_the_time_is_the_beginning_of_the_turn(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[datetime]]:
        times = [ctx.current_utc_datetime]
        yield ctx.call_activity(ping)
        return [*times, ctx.current_utc_datetime]

    past = turns([started(), scheduled(1, "ping")])

    assert result_of(bench.run(order, completed(1), past=past, at=90.5)) == [
        "2030-01-01T00:00:00+00:00",
        "2030-01-01T00:01:30.500000+00:00",
    ]


def test_a_cancelled_timer_raises_where_it_is_waited_for_and_its_firing_is_ignored(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
        timer = ctx.create_timer(10)
        cancelled = [timer.cancel(), timer.cancel(), timer.is_failed]
        try:
            yield timer
        except TaskCancelledError:
            cancelled.append("caught")
        yield ctx.call_activity(ping)
        return cancelled

    past = turns([started(), timer_created(1), scheduled(2, "ping")])

    turn = bench.run(order, timer_fired(1), completed(2), past=past)

    assert result_of(turn) == [True, False, True, "caught"]


# External events


def test_events_are_kept_in_their_order_whatever_the_case_of_their_names(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[int]]:
        yield ctx.call_activity(ping)
        first = yield ctx.wait_for_external_event("straße")
        second = yield ctx.wait_for_external_event("STRASSE")
        return [first, second]

    new = [started(), raised("Strasse", 1), raised("STRASSE", 2)]
    past = turns([*new, scheduled(1, "ping")])

    assert result_of(bench.run(order, completed(1), past=past)) == [1, 2]


def test_the_longest_wait_gets_the_first_event(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[int]]:
        first, second = (ctx.wait_for_external_event("go") for _ in range(2))
        return [(yield first), (yield second)]

    assert result_of(bench.run(order, started(), raised("go", 1), raised("go", 2))) == [1, 2]


def test_a_cancelled_wait_gets_no_event(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[int]:
        first, second = (ctx.wait_for_external_event("go") for _ in range(2))
        first.cancel()
        return (yield second)

    assert result_of(bench.run(order, started(), raised("go", 1))) == 1


def test_event_data_is_converted(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        order = yield from ctx.wait_for_external_event("order", data_type=Order)
        return order.product

    turn = bench.run(order, started(), raised("order", {"product": "pen", "quantity": 1}))
    wrong = bench.run(order, started(), raised("order", {"product": "pen"}))

    assert result_of(turn) == "pen"
    assert "data of event 'order'" in failure_of(wrong).errorMessage


def test_event_data_without_a_type_answers_by_attributes(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        approval = yield ctx.wait_for_external_event("approval")
        return approval.approver

    assert result_of(bench.run(order, started(), raised("approval", {"approver": "me"}))) == "me"


def waits_a_minute(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        return (yield ctx.wait_for_external_event("go", timeout=timedelta(minutes=1)))
    except TimeoutError as error:
        return str(error)


def test_a_wait_with_a_timeout_gives_up_by_a_durable_timer(bench: Bench):
    session = bench.session(waits_a_minute)

    first = session.turn([], [turn_started(), started()])
    last = session.turn([], [turn_started(60), timer_fired(1)])

    assert described(first) == ["1 timer 60"]
    assert result_of(last) == "No event 'go' arrived within 0:01:00."


def test_an_event_after_the_timeout_is_not_lost(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[int]:
        try:
            yield ctx.wait_for_external_event("go", timeout=60)
        except TimeoutError:
            return (yield ctx.wait_for_external_event("go"))
        raise AssertionError

    past = turns([started(), timer_created(1)])

    assert result_of(bench.run(order, timer_fired(1), raised("go", 5), past=past)) == 5


def test_a_timeout_after_the_event_is_ignored(bench: Bench):
    past = turns([started(), timer_created(1)])

    assert result_of(bench.run(waits_a_minute, raised("go", "x"), timer_fired(1), past=past)) == "x"


def test_no_timer_is_set_for_an_event_that_is_there(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.call_activity(ping)
        return (yield ctx.wait_for_external_event("go", timeout=60))

    past = turns([started(), raised("go", "x"), scheduled(1, "ping")])

    assert described(bench.run(order, completed(1), past=past)) == ['completed "x"']


# Suspend, resume, terminate


def test_what_arrives_while_suspended_is_held_until_the_resume(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
        seen = [(yield ctx.wait_for_external_event("go")), (yield ctx.call_activity(ping))]
        return [*seen, ctx.current_utc_datetime.second]

    session = bench.session(order)

    session.turn([], [turn_started(), started()])
    held = session.turn([], [turn_started(1), suspended(), raised("go", 1)])
    turn = session.turn([], [turn_started(2), resumed()])

    assert described(held) == []
    assert described(turn) == ["1 ping()"]


def test_a_resume_in_one_batch_lets_the_held_events_through_in_order(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[int]]:
        first = yield ctx.wait_for_external_event("go")
        return [first, (yield ctx.wait_for_external_event("go"))]

    session = bench.session(order)

    session.turn([], [turn_started(), started()])
    new = [turn_started(1), suspended(), raised("go", 1), raised("go", 2), resumed()]

    assert result_of(session.turn([], new)) == [1, 2]


def test_confirmations_recorded_after_a_suspension_count(bench: Bench):
    past = turns([started(), suspended(), scheduled(1, "hello", "Ann")])

    assert described(bench.run(chain, completed(1, "A"), past=past)) == []
    assert described(bench.run(chain, completed(1, "A"), resumed(), past=past)) == [
        '2 hello("Bob")'
    ]


def test_termination_ends_with_the_output_as_it_stands(bench: Bench):
    past = turns([started(), scheduled(1, "hello", "Ann")])

    turn = bench.run(chain, terminated("{not json"), completed(1, "A"), past=past)

    assert described(turn) == ["terminated {not json"]
    assert turn.finished


def test_what_was_asked_for_in_the_last_turn_is_asked_for(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        ctx.call_activity(ping)
        return "done"
        yield

    assert described(bench.run(order, started())) == ["1 ping()", 'completed "done"']


# What the context tells


def test_the_context_knows_its_orchestration(bench: Bench):
    seen: dict[str, Any] = {}

    def order(ctx: OrchestrationContext) -> None:
        seen.update(
            instance_id=ctx.instance_id,
            name=ctx.name,
            version=ctx.version,
            parent=ctx.parent_instance_id,
        )

    bench.run(order, started("as_started", version="10.0.0", instance_id="i7", parent="p1"))

    assert seen == {
        "instance_id": "i7",
        "name": "as_started",
        "version": Version("10.0.0"),
        "parent": "p1",
    }
    assert seen["version"] > "9.0.0"


def test_without_a_version_the_version_is_false(bench: Bench):
    def order(ctx: OrchestrationContext) -> list[Any]:
        return [bool(ctx.version), isinstance(ctx.version, str), ctx.parent_instance_id]

    assert result_of(bench.run(order, started())) == [False, True, None]


def test_uuids_are_the_same_in_each_replay_and_differ_from_one_another(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        ids = [ctx.new_uuid(), ctx.new_uuid()]
        yield ctx.call_activity(ping)
        return [*ids, ctx.new_uuid()]

    def ids_of(execution_id: str) -> list[str]:
        past = turns([started(execution_id=execution_id), scheduled(1, "ping")])
        ids: list[str] = result_of(bench.run(order, completed(1), past=past))
        return ids

    assert ids_of("e1") == ids_of("e1")
    assert len({*ids_of("e1"), *ids_of("e2")}) == 6


def test_replaying_ends_with_the_first_new_event(bench: Bench):
    seen = []

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        seen.append(ctx.is_replaying)
        yield ctx.call_activity(ping)
        seen.append(ctx.is_replaying)
        yield ctx.call_activity(ping)
        seen.append(ctx.is_replaying)

    past = turns([started(), scheduled(1, "ping")], [completed(1), scheduled(2, "ping")])
    bench.run(order, completed(2), past=past)

    assert seen == [True, True, False]


def test_the_custom_status_is_stated_in_each_turn_and_can_be_cleared(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.set_custom_status({"step": 1})
        yield ctx.call_activity(ping)
        yield ctx.call_activity(ping)
        ctx.set_custom_status(None)

    session = bench.session(order)
    batches = [[started()], [completed(1)], [completed(2)]]
    statuses = [session.turn([], [turn_started(), *batch]).custom_status for batch in batches]

    assert statuses == ['{"step":1}', '{"step":1}', None]


def test_a_replay_safe_logger_is_silent_while_replaying(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        logger = ctx.create_replay_safe_logger(logging.getLogger("shop"))
        logger.info("before", extra={"customer": 7})
        yield ctx.call_activity(ping)
        logger.info("after", extra={"customer": 7})

    caplog.set_level(logging.INFO, "shop")
    bench.run(order, completed(1), past=turns([started(), scheduled(1, "ping")]))

    (record,) = [r for r in caplog.records if r.name == "shop"]
    assert (record.getMessage(), record.instance_id, record.customer) == ("after", "a1", 7)
    assert record.filename == "test_session.py"


# Retries

POLICY = RetryPolicy(
    first_retry_interval=timedelta(seconds=2), max_number_of_attempts=3, backoff_coefficient=2
)


def persistent(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        return (yield ctx.call_activity(hello, input="Ann", retry_policy=POLICY))
    except TaskFailedError as error:
        return str(error)


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


# Sessions


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


def test_the_time_zone_is_utc(bench: Bench):
    def order(ctx: OrchestrationContext) -> bool:
        return ctx.current_utc_datetime.tzinfo is UTC

    assert result_of(bench.run(order, started())) is True


def test_turns_and_actions_are_plain_messages(bench: Bench):
    turn = bench.run(chain, started())

    assert isinstance(turn, Turn)
    assert all(isinstance(action, pb.OrchestratorAction) for action in turn.actions)
