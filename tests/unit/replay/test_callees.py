"""Activities called by a name that the app does not have."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest

from durableflow import NotRegisteredError
from durableflow.replay import Orchestration, OrchestrationContext, Turn
from tests.unit.replay.histories import (
    Bench,
    completed,
    described,
    failure_of,
    scheduled,
    started,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import charge, hello

PRIVATE = "sqlite://"


def calls(name: str) -> Any:
    """Make an orchestrator that calls an activity by name, and says when it is refused."""

    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        try:
            return (yield ctx.call_activity(name, input="Ann"))
        except NotRegisteredError as error:
            return f"refused: {error}"

    return order


def test_a_name_that_differs_in_case_and_separators_only_is_refused_at_the_call(bench: Bench):
    turn = bench.run(calls("Hel_lo"), started())

    assert described(turn) == [
        "completed \"refused: This app has no activity 'Hel_lo', but it has 'hello', "
        'which is probably meant. Correct the name."'
    ]


def test_an_unknown_name_is_refused_where_nobody_else_can_serve_the_hub():
    bench = Bench(charge, hello, private_hub=PRIVATE)

    turn = bench.run(calls("helo"), started())

    assert described(turn) == [
        "completed \"refused: This app has no activity 'helo', and nothing else can serve "
        "sqlite://. Did you mean 'hello'? Register it with @app.activity, or import the module "
        'that does."'
    ]


def test_a_name_with_other_versions_only_is_refused_where_nobody_else_can_serve_the_hub():
    bench = Bench(private_hub=PRIVATE)
    bench.registry.add_activity(hello, version="2.0.0")

    turn = bench.run(calls("hello"), started())

    assert "has activity 'hello' with version '2.0.0', but not without one." in described(turn)[0]
    assert "call it by its function" in described(turn)[0]


def test_a_name_with_other_versions_only_may_live_elsewhere_and_the_version_is_told(
    caplog: pytest.LogCaptureFixture,
):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity("hello", version="3.0.0"))

    bench = Bench()
    bench.registry.add_activity(hello, version="2.0.0")
    bench.run(order, started())

    assert [record.getMessage() for record in caplog.records] == [
        "Orchestrator 'order', instance 'a1', calls activity 'hello' version '3.0.0', which this "
        "app does not run; such calls wait for another worker that does."
    ]


def test_the_refusal_fails_the_instance_for_good_and_shows_the_line(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity("Hello")

    failure = failure_of(bench.run(order, started()))

    assert failure.errorType == "durableflow.errors.NotRegisteredError"
    assert failure.isNonRetriable
    assert 'ctx.call_activity("Hello")' in failure.stackTrace.value


def test_another_name_may_live_elsewhere_and_is_warned_about_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    made = [described(bench.run(calls("helo"), started())) for _ in range(2)]

    assert made == [['1 helo("Ann")']] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "Orchestrator 'order', instance 'a1', calls activity 'helo', which this app does not "
        "run; such calls wait for another worker that does. Was 'hello' meant?"
    ]


def test_a_replayed_call_is_not_warned_about_again(bench: Bench, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    past = turns([started(), scheduled(1, "elsewhere", "Ann")])

    turn = bench.run(calls("elsewhere"), completed(1, "done"), past=past)

    assert described(turn) == ['completed "done"']
    assert caplog.records == []


@pytest.mark.parametrize("private_hub", [PRIVATE, None])
def test_a_call_that_was_taken_on_once_stands(private_hub: str | None):
    bench = Bench(hello, private_hub=private_hub)
    past = turns([started(), scheduled(1, "Hello", "Ann")])

    turn = bench.run(calls("Hello"), completed(1, "done"), past=past)

    assert described(turn) == ['completed "done"']


def test_a_call_that_was_refused_once_is_refused_again_in_each_replay(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        with contextlib.suppress(NotRegisteredError):
            yield ctx.call_activity("Hello")
        first = yield ctx.call_activity(hello, input="Ann")
        second = yield ctx.call_activity(hello, input=first)
        return second

    new = [turn_started(), started()]
    session = bench.session(order)
    first = session.turn([], new)
    kept = session.turn([], [turn_started(1), completed(1, "A")])
    past = turns([started(), scheduled(1, "hello", "Ann")])
    replayed = bench.session(order).turn(past, [turn_started(1), completed(1, "A")])

    assert isinstance(first, Turn)
    assert isinstance(kept, Turn)
    assert isinstance(replayed, Turn)
    assert described(first) == ['1 hello("Ann")']
    assert described(kept) == described(replayed) == ['2 hello("A")']
