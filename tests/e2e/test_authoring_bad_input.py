"""Bad input of all sorts: it is told in words, and harms nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    App,
    Client,
    DurableFlowError,
    NonDeterminismError,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationQuery,
    OrchestratorError,
    when_all,
    when_any,
)
from tests.e2e.watching import SECONDS, output, until

pytestmark = pytest.mark.e2e

app = App("authoring_bad_input", turn_timeout_seconds=1.0)
Ask = Callable[[Any], Any]


@app.activity
def echo(n: int) -> int:
    return n


ASKS: dict[str, tuple[Ask, str]] = {
    "no activity": (lambda ctx: ctx.call_activity(None), "by its function or by its name"),
    "a number as activity": (lambda ctx: ctx.call_activity(5), "by its function or by its name"),
    "a class as activity": (lambda ctx: ctx.call_activity(int, input=5), "@app.activity"),
    "an object as input": (lambda ctx: ctx.call_activity("echo", input=object()), "no JSON form"),
    "a wrong input": (lambda ctx: ctx.call_activity(echo, input="x"), "expected int, got str"),
    "the context as input": (lambda ctx: ctx.call_activity(echo, input=ctx), "expected int"),
    "no policy": (lambda ctx: ctx.call_activity(echo, input=1, retry_policy=3), "retry_policy=3"),
    "no tags": (lambda ctx: ctx.call_activity(echo, input=1, tags={1: 2}), "text to text"),
    "a wrong item": (lambda ctx: ctx.map(echo, [1, "x"]), "item 1"),
    "no items": (lambda ctx: ctx.map(echo, 5), "items=5"),
    "no limit": (lambda ctx: ctx.map(echo, [1], limit=0), "limit=0"),
    "no event name": (lambda ctx: ctx.wait_for_external_event(5), "name=5"),
    "no timeout": (lambda ctx: ctx.wait_for_external_event("x", timeout="soon"), "'soon'"),
    "nobody to tell": (lambda ctx: ctx.send_event(None, "x"), "instance_id=None"),
    "an event of objects": (lambda ctx: ctx.send_event("x", "y", data=object()), "no JSON form"),
    "a number as child": (lambda ctx: ctx.call_sub_orchestrator(5), "by its function or by"),
    "a number as id": (
        lambda ctx: ctx.call_sub_orchestrator("anything_else", instance_id=5),
        "instance_id=5",
    ),
    "an object as status": (lambda ctx: ctx.set_custom_status(object()), "no JSON form"),
    "not a number as status": (lambda ctx: ctx.set_custom_status(float("nan")), "JSON has no NaN"),
    "all of a number": (lambda ctx: when_all(5), "not a task"),  # type: ignore[call-overload]
    "all of a text": (lambda ctx: when_all("text"), "not a task"),  # type: ignore[arg-type]
    "any of nothing": (lambda ctx: when_any([]), "wait for ever"),
    "any of nobody": (lambda ctx: when_any(None), "not a task"),  # type: ignore[call-overload]
}


@app.orchestrator
def asks(ctx: OrchestrationContext, what: str) -> Orchestration[Any]:
    return (yield ASKS[what][0](ctx))


@app.orchestrator
def interrupts(ctx: OrchestrationContext) -> Orchestration[None]:
    raise KeyboardInterrupt("typed by nobody")
    yield ctx.create_timer(0)


@app.orchestrator
def swallows_everything(ctx: OrchestrationContext) -> Orchestration[Any]:
    """Catches what nobody should, again and again."""
    for _ in range(3):
        try:
            yield "no task"  # type: ignore[misc] # the mistake
        except BaseException as error:  # noqa: BLE001 -- the mistake
            ctx.set_custom_status(type(error).__name__)
    while True:
        try:
            return (yield ctx.wait_for_external_event("go"))
        except BaseException:  # noqa: BLE001 -- the mistake
            pass


@app.orchestrator
async def swallows_everything_for_ever(ctx: OrchestrationContext) -> None:
    while True:
        try:
            await ctx.call_activity(echo, input="no number")  # type: ignore[call-overload]
        except BaseException:  # noqa: BLE001 -- the mistake
            pass
        finally:
            await ctx.call_activity("echo", input=1)


@app.orchestrator
def yields_in_a_loop(ctx: OrchestrationContext) -> Orchestration[None]:
    timer = ctx.create_timer(0)
    while True:
        yield timer


released = threading.Event()


@app.orchestrator
def never_yields(ctx: OrchestrationContext) -> str:
    while not released.is_set():
        pass
    return "released"


@app.orchestrator
def returns_a_generator(ctx: OrchestrationContext) -> Orchestration[Any]:
    yield ctx.create_timer(0)
    return (n for n in range(3))


@app.orchestrator
def returns_an_orchestrator_call(ctx: OrchestrationContext) -> Any:
    return [yields_in_a_loop(ctx)]


@app.orchestrator
def returns_an_object(ctx: OrchestrationContext) -> Any:
    return threading.Lock()


@app.orchestrator
def yields_first_what_is_complete(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    nothing = yield when_all([])
    timer = ctx.create_timer(60)
    timer.cancel()
    winner = yield when_any([timer])
    return [nothing, winner is timer]


contexts: list[OrchestrationContext] = []


@app.orchestrator
async def lends_its_context(ctx: OrchestrationContext) -> None:
    contexts.append(ctx)
    await ctx.wait_for_external_event("go")


@app.orchestrator
async def awaits_anything(ctx: OrchestrationContext) -> None:
    class Anything:
        def __await__(self) -> Iterator[Any]:
            yield 5

    await Anything()


@app.orchestrator
async def fine(ctx: OrchestrationContext) -> int:
    return await ctx.call_activity(echo, input=1)


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


@pytest.mark.parametrize("what", ASKS)
def test_wrong_types_in_every_position_are_told_in_words(client: Client, what: str):
    with pytest.raises(OrchestrationFailedError) as caught:
        client.run_orchestration(asks, input=what, timeout=SECONDS)

    assert ASKS[what][1] in str(caught.value)
    assert caught.value.details is not None
    assert caught.value.details.error_type.startswith("durableflow.")
    assert caught.value.details.is_non_retriable


def test_code_that_swallows_everything_goes_on_with_what_it_waits_for(client: Client):
    instance = client.schedule_new_orchestration(swallows_everything)
    state = until(client, instance, lambda state: state.serialized_custom_status)
    client.raise_orchestration_event(instance, "go", data="on")

    assert state.get_custom_status() == "OrchestratorError"
    assert output(client, instance) == "on"


def test_code_that_swallows_everything_for_ever_can_be_terminated(client: Client):
    instance = client.schedule_new_orchestration(swallows_everything_for_ever)
    client.wait_for_orchestration_start(instance, timeout=SECONDS)
    client.terminate_orchestration(instance, output="enough")

    with pytest.raises(OrchestrationFailedError, match="terminated"):
        output(client, instance)
    assert client.run_orchestration(fine, timeout=SECONDS) == 1


@pytest.mark.parametrize(
    ("orchestrator", "words"),
    [
        (yields_in_a_loop, "yields in a loop"),
        (returns_a_generator, "has not run"),
        (returns_an_orchestrator_call, "generator"),
        (returns_an_object, "lock"),
        (awaits_anything, "int"),
    ],
)
def test_what_an_orchestrator_must_not_do_fails_it_in_words(
    client: Client, orchestrator: Any, words: str
):
    with pytest.raises(OrchestrationFailedError, match=words):
        client.run_orchestration(orchestrator, timeout=SECONDS)


def test_the_first_yield_may_be_of_what_is_complete(client: Client):
    outputs = client.run_orchestration(yields_first_what_is_complete, timeout=SECONDS)

    assert outputs == [[], True]


def test_a_turn_that_does_not_end_holds_up_no_other_instance(client: Client):
    released.clear()
    endless = client.schedule_new_orchestration(never_yields)

    assert client.run_orchestration(fine, timeout=SECONDS) == 1

    released.set()
    assert output(client, endless) == "released"


def test_a_context_serves_only_its_own_orchestrator_while_that_runs(client: Client):
    contexts.clear()
    instance = client.schedule_new_orchestration(lends_its_context)
    client.wait_for_orchestration_start(instance, timeout=SECONDS)

    with pytest.raises(OrchestratorError, match="outside its orchestrator's turn"):
        contexts[0].create_timer(0)

    client.raise_orchestration_event(instance, "go")
    assert output(client, instance) is None


CALLS: dict[str, Callable[[Client, str], Any]] = {
    "no orchestrator": lambda c, i: c.schedule_new_orchestration(None),  # type: ignore[call-overload]
    "a number as orchestrator": lambda c, i: c.schedule_new_orchestration(5),  # type: ignore[call-overload]
    "a number as id": lambda c, i: c.schedule_new_orchestration(fine, instance_id=5),  # type: ignore[call-overload]
    "a number as version": lambda c, i: c.schedule_new_orchestration(fine, version=5),  # type: ignore[call-overload]
    "a start without a zone": lambda c, i: c.schedule_new_orchestration(
        fine,
        start_at=datetime(2030, 1, 1),  # noqa: DTZ001 -- the mistake
    ),
    "no tags": lambda c, i: c.schedule_new_orchestration(fine, tags={1: 2}),  # type: ignore[call-overload]
    "an object as input": lambda c, i: c.schedule_new_orchestration("anything", input=object()),
    "an input too many": lambda c, i: c.schedule_new_orchestration(fine, input=5),  # type: ignore[call-overload]
    "no event name": lambda c, i: c.raise_orchestration_event(i, ""),
    "a number as event name": lambda c, i: c.raise_orchestration_event(i, 5),  # type: ignore[arg-type]
    "half a character as name": lambda c, i: c.raise_orchestration_event(i, "\ud800"),
    "an object as data": lambda c, i: c.raise_orchestration_event(i, "x", data=object()),
    "no id": lambda c, i: c.get_orchestration_state(None),  # type: ignore[call-overload]
    "an empty id": lambda c, i: c.get_orchestration_state(""),
    "half a character as id": lambda c, i: c.get_orchestration_state("\ud800"),
    "no timeout": lambda c, i: c.wait_for_orchestration_completion(i, timeout="soon"),  # type: ignore[call-overload]
    "a timeout in the past": lambda c, i: c.wait_for_orchestration_completion(i, timeout=-1),
    "a number as reason": lambda c, i: c.suspend_orchestration(i, reason=5),  # type: ignore[arg-type]
    "an object as output": lambda c, i: c.terminate_orchestration(i, output=object()),
    "no instance": lambda c, i: c.get_orchestration_history("nobody at all"),
    "no query": lambda c, i: c.get_all_orchestration_states("x"),  # type: ignore[arg-type]
    "text as status": lambda c, i: OrchestrationQuery(runtime_status="RUNNING"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", CALLS)
def test_wrong_calls_of_clients_are_told_in_words(client: Client, what: str):
    with pytest.raises(DurableFlowError) as caught:
        CALLS[what](client, "an instance")

    assert len(str(caught.value)) > 20


def test_an_activity_that_hangs_holds_up_the_end_for_as_long_as_was_set(tmp_path: Path):
    other = App("hanging", task_hub=f"sqlite:///{tmp_path / 'hub.db'}", drain_timeout_seconds=0.3)
    running, release = threading.Event(), threading.Event()

    @other.activity
    def hang() -> None:
        running.set()
        release.wait(SECONDS)

    @other.orchestrator
    async def orchestrate(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(hang)

    with other.running() as client:
        client.schedule_new_orchestration(orchestrate)
        assert running.wait(SECONDS)
        before = time.monotonic()

    assert time.monotonic() - before < 5
    release.set()


def changed(version: int) -> App:
    """Make what one deployment runs."""
    deployed = App("deployed")
    deployed.add_activity(echo)
    deployed.add_activity(echo, name="other")

    @deployed.orchestrator
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        yield ctx.call_activity("echo" if version == 1 else "other", input=1)
        return (yield ctx.wait_for_external_event("go"))

    return deployed


def test_an_interrupt_that_an_orchestrator_raises_sets_its_instance_aside_and_says_so(
    client: Client,
):
    instance = client.schedule_new_orchestration(interrupts)

    parked = until(client, instance, lambda state: state.parked).parked
    client.terminate_orchestration(instance)

    assert parked is not None
    assert "KeyboardInterrupt: typed by nobody" in parked.message


def test_code_that_left_its_history_is_parked_with_a_diagnosis_until_it_fits_again(task_hub: str):
    with changed(1).running(task_hub=task_hub) as client:
        instance = client.schedule_new_orchestration("order")
        until(client, instance, lambda _: len(client.get_orchestration_history(instance)) > 6)

    with changed(2).running(task_hub=task_hub) as client:
        client.raise_orchestration_event(instance, "go", data="on")
        parked = until(client, instance, lambda state: state.parked).parked

    with changed(1).running(task_hub=task_hub) as client:
        assert output(client, instance) == "on"
    assert parked is not None
    for words in ["history event 3", "'echo'", "'other'", Path(__file__).name, "Restore the old"]:
        assert words in parked.message


def test_code_that_left_its_history_fails_where_that_is_set(task_hub: str):
    with changed(1).running(task_hub=task_hub) as client:
        instance = client.schedule_new_orchestration("order")
        until(client, instance, lambda _: len(client.get_orchestration_history(instance)) > 6)

    strict = App("strict", on_nondeterminism="fail")
    strict.add_activity(echo, name="other")

    @strict.orchestrator
    def order(ctx: OrchestrationContext) -> Orchestration[Any]:
        return (yield ctx.call_activity("other", input=1))

    with strict.running(task_hub=task_hub) as client:
        client.raise_orchestration_event(instance, "go", data="on")

        with pytest.raises(OrchestrationFailedError) as caught:
            output(client, instance)

    assert caught.value.details is not None
    assert caught.value.details.is_caused_by(NonDeterminismError)


@pytest.mark.parametrize("guards", ["raise", "off"])
def test_guards_refuse_the_clock_where_that_is_set(task_hub: str, guards: Any):
    guarded = App("guarded", determinism_guards=guards)

    @guarded.orchestrator
    def looks_at_the_clock(ctx: OrchestrationContext) -> float:
        return time.time()

    with guarded.running(task_hub=task_hub) as client:
        instance = client.schedule_new_orchestration(looks_at_the_clock)
        if guards == "raise":
            with pytest.raises(OrchestrationFailedError, match="current_utc_datetime"):
                output(client, instance)
        else:
            assert output(client, instance) > 0
