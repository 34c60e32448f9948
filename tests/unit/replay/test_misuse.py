"""What orchestrators must not do, and the words that they get for it."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from durableflow import OrchestratorError, TaskFailedError
from durableflow.replay import OrchestrationContext, Task, when_all, when_any
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


def hello(name: str) -> str:
    return f"Hello {name}!"


async def hello_later(name: str) -> str:
    return f"Hello {name}!"


def ping() -> None:
    """Do nothing."""


@pytest.fixture
def bench() -> Bench:
    return Bench(hello, hello_later, ping)


def message_of(bench: Bench, function: Callable[..., Any]) -> str:
    failure = failure_of(bench.run(function, started()))
    assert failure.errorType == "durableflow.errors.OrchestratorError", failure
    text: str = failure.errorMessage
    return text


# Yielding what is no task


def test_the_first_yield_of_something_else_is_told_what_to_call(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield hello("Ann")

    assert message_of(bench, order).startswith(
        "you yielded str; did you call `hello(ctx, …)` directly? "
        "use `ctx.call_activity(hello, input=…)` ("
    )


def test_a_later_yield_of_something_else_names_its_line(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(ping)
        yield 5

    past = turns([started(), scheduled(1, "ping")])
    failure = failure_of(bench.run(order, completed(1), past=past))

    line = order.__code__.co_firstlineno + 2
    assert "you yielded int; an orchestrator yields only tasks" in failure.errorMessage
    assert f"test_misuse.py:{line})" in failure.errorMessage
    assert "yield 5" in failure.stackTrace.value


def test_an_asynchronous_activity_called_directly_is_told_the_same(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield hello_later("Ann")

    assert "did you call `hello_later(ctx, …)` directly?" in message_of(bench, order)


def test_a_call_of_the_context_is_not_taken_for_an_activity(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.set_custom_status("x")

    assert message_of(bench, order).startswith("you yielded None; an orchestrator yields only")


def test_a_list_of_tasks_is_told_to_combine_them(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield [ctx.call_activity(ping)]

    assert "you yielded list; use `when_all([…])` or `when_any([…])`" in message_of(bench, order)


def test_a_value_yielded_by_a_helper_is_found_in_the_helper(bench: Bench):
    def helper() -> Any:
        yield hello("Ann")

    def order(ctx: OrchestrationContext) -> Any:
        yield from helper()

    message = message_of(bench, order)

    assert f"test_misuse.py:{helper.__code__.co_firstlineno + 1})" in message


def test_awaiting_the_value_of_an_activity_is_told_what_to_call(bench: Bench):
    async def order(ctx: OrchestrationContext) -> Any:
        return await hello("Ann")  # type: ignore[misc] # the mistake

    failure = failure_of(bench.run(order, started()))

    assert failure.errorType == "builtins.TypeError"
    assert "did you call `hello(ctx, …)` directly?" in failure.errorMessage


def test_the_mistake_can_be_caught_like_any_error(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        try:
            yield 5
        except OrchestratorError:
            yield ctx.call_activity(ping)

    assert described(bench.run(order, started())) == ["1 ping()"]


def test_a_task_of_another_orchestration_is_refused(bench: Bench):
    kept: list[Task[Any]] = []

    def keeps(ctx: OrchestrationContext) -> Any:
        kept.append(ctx.call_activity(ping))
        yield kept[0]

    def takes(ctx: OrchestrationContext) -> Any:
        yield kept[0]

    def combines(ctx: OrchestrationContext) -> Any:
        yield when_all([kept[0], ctx.call_activity(ping)])

    bench.run(keeps, started())

    assert "made by the context of another orchestration" in message_of(bench, takes)
    assert "belong to several orchestrations" in message_of(bench, combines)


# Combining and reading tasks


@pytest.mark.parametrize("combine", [when_all, when_any])
def test_only_tasks_can_be_combined(bench: Bench, combine: Callable[..., Any]):
    def order(ctx: OrchestrationContext) -> Any:
        yield combine([hello("Ann")])

    assert f"{combine.__name__} got str, which is not a task" in message_of(bench, order)


def test_any_of_nothing_is_refused(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield when_any([])

    assert "would wait for ever" in message_of(bench, order)


def test_one_task_alone_is_one_task(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        return list((yield when_all(ctx.call_activity("count"))))

    past = turns([started(), scheduled(1, "count")])

    assert result_of(bench.run(order, completed(1, 5), past=past)) == [5]


def test_a_result_that_is_not_there_is_refused(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        return ctx.call_activity(hello, input="Ann").get_result()

    assert message_of(bench, order) == (
        "The task for activity 'hello' is not complete. Wait for it first: `yield task` or "
        "`await task`."
    )


def test_an_exception_that_is_not_there_is_refused(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        ctx.call_activity(hello, input="Ann").get_exception()

    assert "has not failed" in message_of(bench, order)


def loops_over_it(task: Task[Any]) -> Any:
    for _ in task:
        pass


@pytest.mark.parametrize("iterate", [list, tuple, loops_over_it], ids=lambda f: f.__name__)
@pytest.mark.parametrize("is_complete", [False, True])
def test_iterating_a_task_is_refused(bench: Bench, iterate: Callable[..., Any], is_complete: bool):
    def order(ctx: OrchestrationContext) -> Any:
        task = ctx.call_activity(hello, input="Ann")
        if is_complete:
            yield task
        iterate(task)
        yield task

    past = turns([started(), scheduled(1, "hello")]) if is_complete else []
    new = completed(1, "x") if is_complete else started()

    assert "it with `yield task`, `yield from task` or `await task`" in (
        failure_of(bench.run(order, new, past=past)).errorMessage
    )


def test_a_task_shows_what_it_is(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        task = ctx.call_activity(hello, input="Ann")
        before = repr(task)
        yield task
        return [before, repr(task)]

    past = turns([started(), scheduled(1, "hello")])

    assert result_of(bench.run(order, completed(1, "x"), past=past)) == [
        "<Task: activity 'hello', waiting>",
        "<Task: activity 'hello', done>",
    ]


# Returning what has not run


def test_a_generator_that_returns_a_task_is_told_to_yield_it(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        return ctx.call_activity(ping)
        yield

    assert "the task for activity 'ping'; yield it first" in message_of(bench, order)


def test_a_plain_function_that_returns_a_task_is_told_to_yield_it(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        return ctx.call_activity(ping)

    assert "yield it first" in message_of(bench, order)


def test_a_coroutine_that_returns_a_task_is_told_to_await_it(bench: Bench):
    async def order(ctx: OrchestrationContext) -> Any:
        return ctx.call_activity(ping)

    assert "await it first" in message_of(bench, order)


def test_a_generator_that_returns_a_generator_is_told_to_run_it(bench: Bench):
    def inner(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(ping)

    def order(ctx: OrchestrationContext) -> Any:
        yield when_all([])
        return inner(ctx)

    assert "`return (yield from inner(…))`" in message_of(bench, order)


def test_a_coroutine_that_returns_a_coroutine_is_told_to_await_it(bench: Bench):
    async def inner(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(ping)

    async def order(ctx: OrchestrationContext) -> Any:
        return inner(ctx)

    assert "`return (await inner(…))`" in message_of(bench, order)


# Inputs


def test_a_missing_activity_input_is_refused_at_the_call(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(hello)  # type: ignore[call-overload] # the mistake

    turn = bench.run(order, started())

    assert "Activity 'hello' needs an input (str)" in failure_of(turn).errorMessage
    assert len(turn.actions) == 1


def test_an_activity_input_that_nobody_takes_is_refused_at_the_call(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(ping, input=5)  # type: ignore[call-overload] # the mistake

    assert "Activity 'ping' takes no input, but int was passed" in message_of(bench, order)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: None, "takes no input, but int .* Give the function a parameter for it"),
        (lambda x: None, "its only parameter is the context. .* annotate it with its type"),
    ],
)
def test_an_input_that_nobody_takes_is_told_how_to_take_it(bench: Bench, function: Any, words: str):
    bench.registry.add_activity(function, name="work")

    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(function, input=5)

    assert re.search(words, message_of(bench, order))


def test_an_input_that_a_child_does_not_take_is_told_how_to_take_it(bench: Bench):
    def child(ctx: OrchestrationContext) -> None: ...

    bench.registry.add_orchestrator(child)

    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_sub_orchestrator(child, input=5)  # type: ignore[call-overload] # the mistake

    assert "Give the function a second parameter for it" in message_of(bench, order)


def test_an_input_given_by_position_is_told_the_keyword(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(hello, "Tokyo")  # type: ignore[call-overload] # the mistake

    def plain(ctx: OrchestrationContext) -> Any:
        return ctx.send_event("a2", "go", 5)  # type: ignore[call-arg] # the mistake

    by_keyword = "give what comes after that by keyword: "
    for function, call in [
        (order, "call_activity(…, input=…)"),
        (plain, "send_event(…, name=value)"),
    ]:
        failure = failure_of(bench.run(function, started()))
        assert f"{by_keyword}`ctx.{call}`" in failure.errorMessage


def test_an_input_of_the_wrong_type_is_refused_at_the_call(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(hello, input=5)  # type: ignore[arg-type] # the mistake

    turn = bench.run(order, started())

    assert failure_of(turn).errorType == "durableflow.errors.ConversionError"
    assert "input of activity 'hello'" in failure_of(turn).errorMessage
    assert len(turn.actions) == 1


def test_a_function_that_is_not_registered_is_told_how(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity(lambda: None)

    failure = failure_of(bench.run(order, started()))

    assert failure.errorType == "durableflow.errors.NotRegisteredError"


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda ctx: ctx.call_activity(ping, retry_policy=3), "retry_policy=3: give a RetryPolicy"),
    (lambda ctx: ctx.call_activity(ping, tags={"a": 1}), "tags= takes a mapping of text"),
    (lambda ctx: ctx.call_activity(ping, tags=["a"]), "tags= takes a mapping of text"),
    (lambda ctx: ctx.map(hello, ["a"], limit=0), "limit=0: give a whole number of at least 1"),
    (lambda ctx: ctx.map(hello, ["a"], limit=True), "limit=True: give"),
    (lambda ctx: ctx.map(hello, ["a"], limit="2"), "limit='2': give"),
    (lambda ctx: ctx.map(hello, ["a"], tags=5), "tags= takes a mapping of text"),
    (lambda ctx: ctx.map(hello, ctx.call_activity(ping)), "A task is not a sequence"),
    (lambda ctx: ctx.call_sub_orchestrator("x", instance_id=5), "instance_id=5: give text"),
    (lambda ctx: ctx.call_sub_orchestrator("x", instance_id="\udce9"), "instance_id="),
    (lambda ctx: ctx.call_sub_orchestrator("x", version=2.0), "version=2.0: give text"),
    (lambda ctx: ctx.call_sub_orchestrator("x", retry_policy="no"), "retry_policy='no': give"),
    (lambda ctx: ctx.send_event(5, "go"), "instance_id=5: give text"),
    (lambda ctx: ctx.send_event("", "go"), "instance_id='': give text"),
    (lambda ctx: ctx.send_event("b2", None), "event_name=None: give text"),
    (lambda ctx: ctx.wait_for_external_event(5), "name=5: give text"),
    (lambda ctx: ctx.wait_for_external_event("a", timeout=True), "True is no time to wait"),
    (lambda ctx: ctx.create_timer(True), "True is no time to wait"),
    (lambda ctx: ctx.create_timer("5"), "'5' is no time to wait"),
    (lambda ctx: ctx.continue_as_new(save_events="no"), "save_events='no': give True or False"),
    (lambda ctx: ctx.create_replay_safe_logger("shop"), "logger='shop': give a logger"),
]


@pytest.mark.parametrize(
    ("use", "words"), WRONG, ids=[f"{n} {w}" for n, (_, w) in enumerate(WRONG)]
)
def test_an_argument_of_another_type_is_refused_at_the_call(
    bench: Bench, use: Callable[[Any], Any], words: str
):
    def order(ctx: OrchestrationContext) -> None:
        use(ctx)

    turn = bench.run(order, started())

    assert words in failure_of(turn).errorMessage
    assert failure_of(turn).errorType == "durableflow.errors.OrchestratorError"
    assert [action.WhichOneof("orchestratorActionType") for action in turn.actions][-1:] == [
        "completeOrchestration"
    ]


def test_what_no_message_can_carry_fails_the_orchestration_and_spares_the_rest(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        ctx.call_activity(ping)
        yield ctx.call_activity(ping, tags={"place": "caf\udce9"})

    turn = bench.run(order, started())

    line = order.__code__.co_firstlineno + 2
    assert described(turn)[0] == "1 ping()"
    assert f"test_misuse.py:{line}), which cannot be sent" in failure_of(turn).errorMessage
    assert turn.finished


def test_names_keep_their_capitals_at_the_beginning_of_a_message(bench: Bench):
    bench.registry.add_activity(lambda text: None, name="SendMail")

    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity("SendMail")

    past = turns([started(), scheduled(1, "SendMail")])

    assert "Activity 'SendMail' failed" in (
        failure_of(bench.run(order, failed(1), past=past)).errorMessage
    )


# Loops


def test_a_loop_that_never_waits_is_stopped(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        while True:
            yield when_all([])

    message = message_of(bench, order)

    assert "yields in a loop" in message
    assert f"test_misuse.py:{order.__code__.co_firstlineno + 2}" in message


def test_a_loop_that_awaits_a_complete_task_is_stopped(bench: Bench):
    async def order(ctx: OrchestrationContext) -> None:
        task = ctx.call_activity(ping)
        while True:
            await task

    past = turns([started(), scheduled(1, "ping")])

    assert "yields in a loop" in failure_of(bench.run(order, completed(1), past=past)).errorMessage


def test_a_loop_that_catches_everything_is_stopped(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        while True:
            with contextlib.suppress(OrchestratorError):
                yield 5

    assert "yields in a loop" in message_of(bench, order)


# Forgotten tasks


def test_only_the_task_that_was_used_as_its_result_is_named(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        ctx.create_timer(5)
        greeting: Any = ctx.call_activity(hello, input="Ann")
        return greeting.upper()

    message = failure_of(bench.run(order, started())).errorMessage

    line = order.__code__.co_firstlineno + 2
    assert "did you forget `yield` before `ctx.call_activity(…)`" in message
    assert f"test_misuse.py:{line})?" in message
    assert "create_timer" not in message


def test_a_task_made_where_the_source_does_not_show_it_is_named_by_what_it_is(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        return [ctx.call_activity][0](hello, input="Ann") + "!"  # type: ignore[call-overload]

    message = failure_of(bench.run(order, started())).errorMessage

    assert "did you forget `yield` before the task for activity 'hello' (" in message


def test_an_error_about_other_values_names_no_task(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        ctx.call_activity(hello, input="Ann")
        return "a" + 1  # type: ignore[operator]

    assert "did you forget" not in failure_of(bench.run(order, started())).errorMessage


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_tasks_that_nobody_waited_for_are_warned_about_with_their_lines(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    def order(ctx: OrchestrationContext) -> Any:
        ctx.call_activity(hello, input="Ann")
        ctx.create_timer(5)
        when_all([ctx.call_activity(ping)])
        yield when_all([])

    bench.run(order, started())

    first = order.__code__.co_firstlineno
    (warning,) = warnings_of(caplog)
    assert "'order', instance 'a1', finished without waiting for" in warning
    for what, line in [("activity 'hello'", 1), ("a timer", 2), ("all of 1 tasks", 3)]:
        assert any(
            part.startswith(what) and f"test_misuse.py:{first + line})" in part
            for part in warning.partition("for: ")[2].split("; ")
        ), warning
    assert "activity 'ping'" not in warning


def test_tasks_that_were_used_in_other_ways_are_not_warned_about(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    def order(ctx: OrchestrationContext) -> Any:
        event, timer = ctx.wait_for_external_event("go"), ctx.create_timer(5)
        timer.cancel()
        task = ctx.call_activity(ping)
        yield when_any([task, event])
        with contextlib.suppress(TaskFailedError):
            task.get_result()

    turn = bench.run(order, started(), completed(2))

    assert described(turn)[-1] == "completed"
    assert warnings_of(caplog) == []


def test_calls_that_were_refused_are_not_warned_about(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    def order(ctx: OrchestrationContext) -> Any:
        for refused in (
            lambda: ctx.call_activity(hello, input=5),  # type: ignore[arg-type] # the mistake
            lambda: ctx.create_timer(float("nan")),
            lambda: ctx.wait_for_external_event("go", timeout=float("nan")),
        ):
            with contextlib.suppress(ValueError, OrchestratorError):
                refused()
        yield when_all([])

    assert described(bench.run(order, started())) == ["completed"]
    assert warnings_of(caplog) == []


def test_a_failed_orchestration_is_not_warned_about(bench: Bench, caplog: pytest.LogCaptureFixture):
    def order(ctx: OrchestrationContext) -> Any:
        ctx.call_activity(ping)
        raise ValueError

    bench.run(order, started())

    assert warnings_of(caplog) == []


# The context outside its turn


@pytest.mark.parametrize(
    "use",
    [
        lambda ctx: ctx.call_activity("x"),
        lambda ctx: ctx.create_timer(1),
        lambda ctx: ctx.wait_for_external_event("x"),
        lambda ctx: ctx.set_custom_status("x"),
        lambda ctx: ctx.new_uuid(),
        lambda ctx: ctx.map("x", []),
        lambda ctx: ctx.call_sub_orchestrator("x"),
        lambda ctx: ctx.send_event("b2", "x"),
        lambda ctx: ctx.continue_as_new(),
    ],
    ids=["activity", "timer", "event", "status", "uuid", "map", "child", "send", "continue"],
)
def test_the_context_is_refused_between_turns(bench: Bench, use: Callable[[Any], Any]):
    kept = []

    def order(ctx: OrchestrationContext) -> Any:
        kept.append(ctx)
        yield ctx.call_activity(ping)

    session = bench.session(order)
    session.turn([], [turn_started(), started()])

    with pytest.raises(OrchestratorError, match="outside its orchestrator's turn"):
        use(kept[0])
