"""What people get wrong on their first day, and the words that they get for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import frozen

from durableflow import (
    ActivityContext,
    App,
    Client,
    ConversionError,
    NotRegisteredError,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationNotCompletedError,
    RegistrationError,
    UsageError,
    when_all,
)

SECONDS = 20

app = App("beginner", task_hub="sqlite://")


@frozen
class Order:
    product: str
    quantity: int


@app.activity
def hello(ctx: ActivityContext, name: str) -> str:
    return f"Hello {name}!"


@app.activity
def place(order: Order) -> str:
    return order.product


@app.orchestrator
def calls_an_activity_directly(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield hello(ctx, "Ann"))  # type: ignore[arg-type,misc] # the mistake


@app.orchestrator
async def awaits_an_activity_directly(ctx: OrchestrationContext) -> str:
    return await hello(ctx, "Ann")  # type: ignore[arg-type,misc] # the mistake


@app.orchestrator
def yields_a_list(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    return (yield [ctx.call_activity(hello, input="Ann")])  # type: ignore[misc] # the mistake


@app.orchestrator
async def awaits_the_clock(ctx: OrchestrationContext) -> None:
    await asyncio.sleep(1)


@app.orchestrator
def returns_a_task(ctx: OrchestrationContext) -> Any:
    return ctx.call_activity(hello, input="Ann")


@app.orchestrator
def forgets_a_task(ctx: OrchestrationContext) -> str:
    ctx.call_activity(hello, input="Ann")
    return "done"


@app.orchestrator
def forgets_the_input(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(hello))  # type: ignore[call-overload] # the mistake


@app.orchestrator
def sends_the_wrong_type(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(place, input={"product": "pen", "quantity": "many"}))


@app.activity
def makes_a_lock() -> Any:
    return threading.Lock()


@app.orchestrator
def yields_a_number(ctx: Any) -> Any:
    yield 5


@app.orchestrator
def calls_its_helper_wrongly(ctx: OrchestrationContext) -> Orchestration[str]:
    return helper(ctx)  # type: ignore[return-value] # the mistake
    yield


def helper(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(hello, input="Ann"))


@app.orchestrator
def returns_another_type(ctx: OrchestrationContext) -> int:
    return "many"  # type: ignore[return-value] # the mistake


@app.orchestrator
def gets_what_cannot_travel(ctx: OrchestrationContext) -> Orchestration[Any]:
    return (yield ctx.call_activity(makes_a_lock))


@app.orchestrator
def forgets_to_yield(ctx: OrchestrationContext) -> str:
    return ctx.call_activity(hello, input="Ann") + "!"  # type: ignore[operator,no-any-return] # the mistake


@app.orchestrator
async def forgets_to_await(ctx: OrchestrationContext) -> str:
    await ctx.create_timer(0)
    greeting = ctx.call_activity(hello, input="Ann")
    return greeting.upper()  # type: ignore[attr-defined,no-any-return] # the mistake


@app.orchestrator
def passes_a_task_on(ctx: OrchestrationContext) -> Orchestration[str]:
    greetings = ctx.map(hello, ["Ann"])
    return (yield ctx.call_activity(hello, input=greetings))  # type: ignore[call-overload] # the mistake


@app.orchestrator
def yields_its_helper(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield helper(ctx))  # type: ignore[misc] # the mistake


@app.orchestrator
async def awaits_a_generator(ctx: OrchestrationContext) -> str:
    return await helper(ctx)  # type: ignore[misc] # the mistake


@app.orchestrator
def calls_an_orchestrator(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(forgets_a_task))  # type: ignore[call-overload] # the mistake


@app.orchestrator
def names_an_activity_by_another_case(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity("Hello", input="Ann"))


@app.orchestrator
def misspells_an_activity(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity("helo", input="Ann"))


@app.orchestrator
def calls_what_is_not_registered(ctx: OrchestrationContext) -> Orchestration[str]:
    return (yield ctx.call_activity(not_registered, input="Ann"))


def not_registered(ctx: ActivityContext, name: str) -> str:
    return name


@app.orchestrator
def uses_a_client(ctx: OrchestrationContext) -> str:
    with app.client() as client:
        return client.schedule_new_orchestration(forgets_a_task)


@app.orchestrator
def takes_an_order(ctx: OrchestrationContext, order: Order) -> str:
    return order.product


@app.orchestrator
def waits_for_ever(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.wait_for_external_event("never")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with app.running() as client:
        yield client


@pytest.mark.parametrize(
    ("orchestrator", "words"),
    [
        (
            calls_an_activity_directly,
            "you yielded str; did you call `hello(ctx, …)` directly? "
            "use `ctx.call_activity(hello, input=…)`",
        ),
        (awaits_an_activity_directly, "str"),
        (yields_a_list, "you yielded list; use `when_all([…])`"),
        (awaits_the_clock, "use `await ctx.create_timer(…)`"),
        (returns_a_task, "yield it first"),
        (yields_a_number, "you yielded int; an orchestrator yields only tasks"),
        (calls_its_helper_wrongly, "Use `return (yield from helper(…))`"),
        (returns_another_type, "output of orchestrator 'returns_another_type': expected int"),
        (gets_what_cannot_travel, "result of activity 'makes_a_lock': lock has no JSON form"),
        (
            forgets_to_yield,
            "unsupported operand type(s) for +: 'Task' and 'str'\nA task is not its result; "
            "did you forget `yield` before `ctx.call_activity(…)` (",
        ),
        (
            forgets_to_await,
            "'Task' object has no attribute 'upper'\nA task is not its result; "
            "did you forget `await` before `ctx.call_activity(…)` (",
        ),
        (
            passes_a_task_on,
            "expected str, got Task.\nA task is not its result; "
            "did you forget `yield` before `ctx.map(…)` (",
        ),
        (
            yields_its_helper,
            "you yielded generator; use `yield from helper(…)` to run it as a part of this "
            "orchestrator, or `yield ctx.call_sub_orchestrator(helper, …)`",
        ),
        (awaits_a_generator, "`helper(…)` is a generator, which cannot be awaited"),
        (calls_an_orchestrator, "is registered as an orchestrator, not as an activity"),
        (names_an_activity_by_another_case, "Did you mean 'hello'?"),
        (forgets_the_input, "Pass input="),
        (sends_the_wrong_type, "quantity"),
        (
            misspells_an_activity,
            "This app has no activity 'helo', and nothing else can serve sqlite://. "
            "Did you mean 'hello'?",
        ),
        (calls_what_is_not_registered, "@app.activity"),
        (uses_a_client, "call the client in an activity"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_orchestrators_mistake_fails_it_with_words_that_help(
    client: Client, orchestrator: Callable[..., Any], words: str
):
    with pytest.raises(OrchestrationFailedError) as caught:
        client.run_orchestration(orchestrator, timeout=SECONDS)

    assert words in str(caught.value).replace("`input=…`", "input=")


def test_tasks_that_nobody_waited_for_are_warned_about_with_their_lines(
    client: Client, caplog: pytest.LogCaptureFixture
):
    assert client.run_orchestration(forgets_a_task, timeout=SECONDS) == "done"

    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any("hello" in w and "test_beginners_mistakes.py:" in w for w in warnings), warnings
    assert any("run all the same, and nobody learns" in w for w in warnings), warnings


def test_an_input_of_the_wrong_type_is_refused_before_anything_is_sent(client: Client):
    with pytest.raises(ConversionError, match="quantity"):
        client.schedule_new_orchestration(
            takes_an_order,
            input={"product": "pen", "quantity": "many"},  # type: ignore[arg-type] # the mistake
        )


def test_an_input_that_is_missing_is_refused_before_anything_is_sent(client: Client):
    with pytest.raises(UsageError, match="Order"):
        client.schedule_new_orchestration(takes_an_order)  # type: ignore[call-overload] # the mistake


def test_an_input_that_nobody_takes_is_refused(client: Client):
    with pytest.raises(UsageError, match="takes no input"):
        client.schedule_new_orchestration(
            forgets_a_task,
            input="x",  # type: ignore[call-overload] # the mistake
        )


def test_a_misspelt_orchestrator_is_refused_with_what_was_probably_meant(client: Client):
    with pytest.raises(NotRegisteredError, match="forgets_a_task"):
        client.schedule_new_orchestration("forget_a_task")


def test_an_activity_is_no_orchestrator(client: Client):
    with pytest.raises(NotRegisteredError, match="activity"):
        client.schedule_new_orchestration(hello, input="Ann")  # type: ignore[call-overload] # the mistake


def test_the_output_of_an_unfinished_instance_is_refused_with_what_to_call(client: Client):
    instance_id = client.schedule_new_orchestration(waits_for_ever)
    state = client.get_orchestration_state(instance_id)

    assert state is not None
    with pytest.raises(OrchestrationNotCompletedError, match="wait_for_orchestration_completion"):
        state.get_output()


def test_a_closed_client_says_how_to_get_another(client: Client):
    with app.client() as other:
        pass

    with pytest.raises(UsageError, match=r"app\.client\(\)"):
        other.get_orchestration_state("x")


def test_three_parameters_are_refused_with_what_to_do():
    with pytest.raises(RegistrationError, match="Group them in an attrs class"):

        @App("x").activity  # type: ignore[arg-type] # the mistake
        def add(ctx: ActivityContext, a: int, b: int) -> int:
            return a + b


def test_a_positional_version_is_refused_with_the_keyword():
    with pytest.raises(RegistrationError, match=r"version='1\.0'"):
        App("x").orchestrator("1.0")  # type: ignore[call-overload] # the mistake


def test_an_async_generator_is_refused_with_what_to_write():
    with pytest.raises(RegistrationError, match="await"):

        @App("x").orchestrator
        async def orchestrate(ctx: OrchestrationContext) -> Any:
            yield ctx.call_activity(hello, input="Ann")


def test_an_activity_that_yields_is_told_what_it_is():
    with pytest.raises(RegistrationError, match=r"@app\.orchestrator"):

        @App("x").activity
        def orchestrate(ctx: ActivityContext) -> Any:
            yield 1


def test_two_functions_of_one_name_are_named_with_their_lines():
    other = App("x")
    other.add_activity(hello)

    with pytest.raises(RegistrationError) as caught:
        other.add_activity(place, name="hello")

    assert str(caught.value).count("test_beginners_mistakes.py:") == 2


def test_iterating_a_task_says_how_to_wait_for_it(client: Client):
    other = App("iterating", task_hub="sqlite://")
    other.add_activity(hello)

    @other.orchestrator
    def iterates(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        return [x for x in when_all([ctx.call_activity(hello, input="Ann")])]  # type: ignore[misc] # noqa: C416 # the mistake
        yield

    with (
        other.running() as running,
        pytest.raises(OrchestrationFailedError, match="yield from task"),
    ):
        running.run_orchestration(iterates, timeout=SECONDS)
